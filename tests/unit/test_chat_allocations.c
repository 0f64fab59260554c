/* test_chat_allocations.c - memory runs out at every place where it is asked for: in our code, in zlib, libsodium and
 *                           SQLite. Once, and for a while. What may come of it stands in support_life.h.
 *
 * Only what is asked for while code of the server runs is counted, and fails.
 */
#include "support_faulty_vfs.h"
#include "support_life.h"
#include "support_store.h"

#include <stdio.h>
#include <stdlib.h>

/* Where memory comes from. A sanitizer's allocator looks at what it is asked for, and finds leaks, also here. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDERLYING(name) __interceptor_##name
#else
#define UNDERLYING(name) __libc_##name
#endif

void *UNDERLYING(malloc)(size_t size);
void *UNDERLYING(calloc)(size_t count, size_t size);
void *UNDERLYING(realloc)(void *memory, size_t size);

static bool counting;
static long allocations; /* counted so far */
static long fail_at;     /* this one fails; 0: none */
static bool lasting;     /* and those that follow */
static long failed;
static char directory[SUPPORT_PATH_BYTES];

static bool allocation_fails(void)
{
    if (!counting)
        return false;
    allocations++;
    if (fail_at == 0 || allocations < fail_at || (allocations > fail_at && !lasting))
        return false;
    failed++;
    return true;
}

void *malloc(size_t size)
{
    return allocation_fails() ? NULL : UNDERLYING(malloc)(size);
}

void *calloc(size_t nmemb, size_t size)
{
    return allocation_fails() ? NULL : UNDERLYING(calloc)(nmemb, size);
}

void *realloc(void *ptr, size_t size)
{
    return allocation_fails() ? NULL : UNDERLYING(realloc)(ptr, size);
}

/* ---- a life ---- */

static long first;

static void begin(void)
{
    allocations = 0;
    fail_at = first;
}

static void heal(void)
{
    if (allocations >= fail_at)
        fail_at = 0;
}

static void end(void)
{
    fail_at = 0;
}

static void inside(bool running)
{
    counting = running;
}

static const struct life_faults faults = {.begin = begin, .heal = heal, .end = end, .inside = inside};

static struct options options_of(enum option_store store)
{
    struct options options = stage_options();

    options.store = store;
    options.durability = OPTION_DURABILITY_FULL;
    options.data = directory;
    return options;
}

/* Lives with the n-th allocation failing, for each n, until there is no n-th. */
static void tell_lives(const char *what, enum option_store store, bool for_a_while)
{
    struct options options = options_of(store);
    struct life_outcome sum = {0};
    long before, lives = 0;

    failed = 0;
    lasting = for_a_while;
    support_directory_make(directory);
    life_learn(&options);
    support_directory_remove(directory);
    first = 0;
    do {
        struct life_outcome outcome;

        before = failed;
        first++;
        support_directory_make(directory);
        outcome = life_tell(&options, &faults);
        support_directory_remove(directory);
        sum.refused += outcome.refused;
        sum.cut += outcome.cut;
        lives++;
    } while (failed > before);
    life_forget();
    assert_true(lives > 100 && sum.refused > 0 && sum.cut > 0);
    print_message("%s: lives %ld, failed %ld, refusals %u, connections cut %u\n", what, lives, failed, sum.refused,
                  sum.cut);
}

static void test_memory_store_once(void **state)
{
    (void)state;
    tell_lives("memory store, once", OPTION_STORE_MEMORY, false);
}

static void test_memory_store_for_a_while(void **state)
{
    (void)state;
    tell_lives("memory store, for a while", OPTION_STORE_MEMORY, true);
}

static void test_sqlite_once(void **state)
{
    (void)state;
    tell_lives("SQLite, once", OPTION_STORE_SQLITE, false);
}

static void test_sqlite_for_a_while(void **state)
{
    (void)state;
    tell_lives("SQLite, for a while", OPTION_STORE_SQLITE, true);
}

/* ---- the start ---- */

static void no_wake(void *arg)
{
    (void)arg;
}

/* Start a chat, and let it go; false: it said that it cannot. */
static bool start(const struct options *options)
{
    struct chat *chat;
    struct hub *hub = NULL;
    bool started;

    counting = true;
    chat = chat_new_with(options, 0);
    if (chat != NULL)
        hub = hub_new(chat, no_wake, NULL);
    started = hub != NULL && chat_start(chat);
    counting = false;
    if (chat != NULL)
        chat_stop(chat);
    if (hub != NULL)
        hub_free(hub);
    if (chat != NULL)
        chat_free(chat);
    return started;
}

/* It starts, or says that it cannot; and the next one does, whatever is left of the former. */
static void start_at_each(const char *what, const struct options *options)
{
    long refused = 0, before, n = 0;

    failed = 0;
    lasting = false;
    support_directory_make(directory);
    do {
        before = failed;
        allocations = 0;
        fail_at = ++n;
        refused += !start(options);
        fail_at = 0;
    } while (failed > before);
    assert_true(start(options));
    support_directory_remove(directory);
    assert_true(refused > 0);
    print_message("%s: failed %ld, starts refused %ld\n", what, failed, refused);
}

static void test_starts(void **state)
{
    struct options memory = options_of(OPTION_STORE_MEMORY), sqlite = options_of(OPTION_STORE_SQLITE);

    (void)state;
    start_at_each("start, memory store", &memory);
    start_at_each("start, SQLite", &sqlite);
}

static int set_up(void **state)
{
    (void)state;
    return faulty_vfs_begin(true); /* which never fails here, and flushes nothing */
}

static int tear_down(void **state)
{
    (void)state;
    return faulty_vfs_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_store_once),
        cmocka_unit_test(test_memory_store_for_a_while),
        cmocka_unit_test(test_sqlite_once),
        cmocka_unit_test(test_sqlite_for_a_while),
        cmocka_unit_test(test_starts),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
