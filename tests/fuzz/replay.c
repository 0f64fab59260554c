/* replay.c - runs a fuzz target on files: each file named, each file of a folder named, or standard input.
 *
 * It makes of a corpus a test that needs no fuzzer, and is the program that AFL++ runs.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

enum { INPUT_MAX_BYTES = 1 << 20 };

static void run(const char *name, FILE *file)
{
    static uint8_t bytes[INPUT_MAX_BYTES];
    uint8_t *input;
    size_t length;

    if (!file) {
        perror(name);
        exit(1);
    }
    length = fread(bytes, 1, sizeof bytes, file);
    input = malloc(length + !length); /* of exactly that size: a look beyond it is a sanitizer's find */
    if (!input)
        exit(1);
    memcpy(input, bytes, length);
    fprintf(stderr, "%s\n", name); /* of one that crashes, the last line */
    LLVMFuzzerTestOneInput(input, length);
    free(input);
}

static unsigned run_path(const char *path);

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static unsigned run_folder(const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, is_visible, alphasort);
    unsigned runs = 0;

    for (int i = 0; i < count; i++) {
        char name[4096];

        snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        runs += run_path(name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return runs;
}

static unsigned run_path(const char *path)
{
    struct stat status;
    FILE *file;

    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return run_folder(path);
    file = fopen(path, "rb");
    run(path, file);
    fclose(file);
    return 1;
}

int main(int argc, char **argv)
{
    unsigned runs = 0;

    LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++)
        runs += run_path(argv[i]);
    if (argc == 1)
        run("standard input", stdin);
    else
        printf("%u inputs\n", runs);
    return 0;
}
