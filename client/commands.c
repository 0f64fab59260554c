/* commands.c - what the user may type: one table, and what the replies show.
 *
 * Idea.       Most commands are a request with fields taken from the line, word by word: the table says which. The
 *             others have a function of their own.
 * Threads.    The main thread.
 */
#include "wire/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client.h"
#include "client_limits.h"
#include "replies.h"
#include "text.h"

struct verb {
    const char *name;  /* "/msg", "/friend add" */
    const char *usage; /* its words; "": none   */
    const char *help;
    void (*run)(struct client *client, const struct verb *verb, char *words);
    bool offline; /* needs no connection */

    /* Of verbs that run_request() runs: */
    uint16_t cmd;
    const char
        *fields; /* "group user": a word each; one that ends in '*' takes the rest of the line, if there is any */
    reply_handler replied;
};

/* The next word of `*words`, which goes on behind it. NULL: no more. */
static char *next_word(char **words)
{
    char *word = *words + strspn(*words, " ");

    if (*word == '\0')
        return NULL;
    *words = word + strcspn(word, " ");
    if (**words != '\0')
        *(*words)++ = '\0';
    return word;
}

/* What is left of the line; NULL: nothing. */
static char *rest_of(char *words)
{
    words += strspn(words, " ");
    return *words == '\0' ? NULL : words;
}

static void fail_usage(struct client *client, const struct verb *verb)
{
    client_fail(client, "usage", "usage: %s %s", verb->name, verb->usage);
}

/* The conversation that a word names, or the one that was chosen. False: none; it was said. */
static bool find_peer(struct client *client, const char *word, char peer[PEER_SIZE])
{
    if (word == NULL)
        word = client->state.chosen;
    if (word[0] == '\0' || strlen(word) >= PEER_SIZE) {
        client_fail(client, "usage",
                    word[0] == '\0' ? "which conversation? /to NAME or /to #group chooses one"
                                    : "a name has at most 32 characters");
        return false;
    }
    snprintf(peer, PEER_SIZE, "%s", word);
    return true;
}

/* ---- requests that the table describes ---- */

static bool take_field(json_t *request, const char *field, char **words)
{
    bool rest = field[strlen(field) - 1] == '*';
    char *value = rest ? rest_of(*words) : next_word(words);
    char key[32];

    snprintf(key, sizeof(key), "%.*s", (int)(strlen(field) - rest), field);
    if (rest)
        *words += strlen(*words);
    if (value == NULL)
        return rest; /* what takes the rest is optional */
    if (strcmp(key, "group") == 0 && value[0] == '#')
        value++;
    return json_object_set_new(request, key, json_string(value)) == 0;
}

static json_t *take_fields(const struct verb *verb, char *words)
{
    char fields[64], *at = fields, *field;
    json_t *request = json_object();

    snprintf(fields, sizeof(fields), "%s", verb->fields);
    while (request != NULL && (field = next_word(&at)) != NULL) {
        if (!take_field(request, field, &words)) {
            json_decref(request);
            request = NULL;
        }
    }
    if (request != NULL && rest_of(words) != NULL) { /* more words than fields */
        json_decref(request);
        request = NULL;
    }
    return request;
}

static void run_request(struct client *client, const struct verb *verb, char *words)
{
    json_t *request = take_fields(verb, words);

    if (request == NULL)
        fail_usage(client, verb);
    else
        client_request(client, verb->cmd, request, verb->replied);
}

static void run_answer(struct client *client, const struct verb *verb, char *words)
{
    json_t *request = take_fields(verb, words);

    if (request == NULL) {
        fail_usage(client, verb);
        return;
    }
    json_object_set_new(request, "accept", json_boolean(strcmp(verb->name, "/friend accept") == 0));
    client_request(client, verb->cmd, request, verb->replied);
}

/* ---- accounts ---- */

static void run_login(struct client *client, const struct verb *verb, char *words)
{
    char *user = next_word(&words), password[SECRET_SIZE];

    if (user == NULL || rest_of(words) != NULL)
        fail_usage(client, verb);
    else if (accounts_password(client, "Password: ", client->secrets->given, password))
        accounts_login(client, user, password);
    secret_wipe(password);
}

/* Asked twice where it is typed: nobody sees what a slip made of it. */
static bool ask_new_password(struct client *client, const char *given, char password[SECRET_SIZE])
{
    char again[SECRET_SIZE];
    bool same;

    if (!accounts_password(client, "New password: ", given, password))
        return false;
    if (given[0] != '\0')
        return true;
    same = accounts_password(client, "New password again: ", given, again) && strcmp(password, again) == 0;
    if (!same)
        client_fail(client, "no_password", "these are two different passwords");
    secret_wipe(again);
    return same;
}

static void replied_register(void *arg, json_t *reply, json_t *request)
{
    struct client *client = arg;
    const char *user = string_of(request, "user");

    if (client_succeeded(client, reply))
        screen_say(client->screen, SCREEN_NOTICE, "* there is an account %s now; /login %s uses it", user, user);
}

static void run_register(struct client *client, const struct verb *verb, char *words)
{
    char *user = next_word(&words), password[SECRET_SIZE];
    json_t *request;

    if (user == NULL || rest_of(words) != NULL) {
        fail_usage(client, verb);
    } else if (ask_new_password(client, client->secrets->given, password)) {
        request = json_pack("{ssss}", "user", user, "passwd", password);
        client_request(client, CMD_REGISTER, request, replied_register);
    }
    secret_wipe(password);
}

static void replied_passwd(void *arg, json_t *reply, json_t *request)
{
    struct client *client = arg;
    struct secrets *secrets = client->secrets;

    if (strcmp(string_of(reply, "result"), "success") == 0 && secrets->kept[0] != '\0')
        snprintf(secrets->kept, SECRET_SIZE, "%s", string_of(request, "new"));
    replied_done(arg, reply, request);
}

static void run_passwd(struct client *client, const struct verb *verb, char *words)
{
    char old[SECRET_SIZE], new[SECRET_SIZE];

    if (rest_of(words) != NULL)
        fail_usage(client, verb);
    else if (accounts_password(client, "Old password: ", client->secrets->given, old) &&
             ask_new_password(client, client->secrets->given_new, new))
        client_request(client, CMD_PASSWD, json_pack("{ssss}", "old", old, "new", new), replied_passwd);
    secret_wipe(old);
    secret_wipe(new);
}

static void run_profile(struct client *client, const struct verb *verb, char *words)
{
    char *user = next_word(&words);

    if (rest_of(words) != NULL)
        fail_usage(client, verb);
    else
        client_request(client, CMD_PROFILE_GET, json_pack("{ss}", "user", user ? user : client->state.user),
                       replied_fields);
}

static void run_set(struct client *client, const struct verb *verb, char *words)
{
    char *field = next_word(&words), *value = rest_of(words), *end = value;
    json_t *request = json_object();
    long age;

    if (field == NULL) {
        json_decref(request);
        fail_usage(client, verb);
        return;
    }
    if (value == NULL)
        value = end = "";
    age = strtol(value, &end, 10);
    if (strcmp(field, "age") == 0 && end != value && *end == '\0')
        json_object_set_new(request, field, json_integer(age));
    else
        json_object_set_new(request, field, json_string(value));
    client_request(client, CMD_PROFILE_SET, request, replied_done);
}

/* ---- messages ---- */

static void run_message(struct client *client, const struct verb *verb, char *words)
{
    char *word = next_word(&words), *text = rest_of(words), peer[PEER_SIZE];

    if (text == NULL)
        fail_usage(client, verb);
    else if (find_peer(client, word, peer))
        messages_send(client, peer, text);
}

static void run_to(struct client *client, const struct verb *verb, char *words)
{
    char *word = next_word(&words), peer[PEER_SIZE];

    if (word == NULL || rest_of(words) != NULL)
        fail_usage(client, verb);
    else if (find_peer(client, word, peer))
        messages_choose(client, peer);
}

/* "/history", "/history 50", "/history bob", "/history bob 50". A lone number is a number: a user of that name is
 * asked for with both. */
static void run_history(struct client *client, const struct verb *verb, char *words)
{
    char *first = next_word(&words), *second = next_word(&words), peer[PEER_SIZE], *end = NULL;
    bool alone = first != NULL && second == NULL && first[strspn(first, "0123456789")] == '\0';
    const char *number = alone ? first : second;
    long count = number == NULL ? HISTORY_DEFAULT : strtol(number, &end, 10);

    if (rest_of(words) != NULL || (end != NULL && *end != '\0') || count < 1 || count > HISTORY_MAX)
        fail_usage(client, verb);
    else if (find_peer(client, alone ? NULL : first, peer))
        messages_history(client, peer, count);
}

static void run_read(struct client *client, const struct verb *verb, char *words)
{
    char *word = next_word(&words), peer[PEER_SIZE];

    if (rest_of(words) != NULL)
        fail_usage(client, verb);
    else if (find_peer(client, word, peer))
        messages_read(client, peer);
}

static void run_typing(struct client *client, const struct verb *verb, char *words)
{
    char *word = next_word(&words), peer[PEER_SIZE];

    if (rest_of(words) != NULL)
        fail_usage(client, verb);
    else if (find_peer(client, word, peer))
        client_request(client, CMD_TYPING, peer_object(peer), replied_done);
}

/* ---- the client's own ---- */

static void run_help(struct client *client, const struct verb *verb, char *words);

static void run_quit(struct client *client, const struct verb *verb, char *words)
{
    (void)verb;
    (void)words;
    client->quit = true;
}

static void run_script_only(struct client *client, const struct verb *verb, char *words)
{
    (void)words;
    client_fail(client, "usage", "%s is for scripts (--script, or a pipe)", verb->name);
}

static const struct verb verbs[] = {
    {"/help",          "[COMMAND]",              "this list",                                           run_help,        true,  0,                 NULL,         NULL              },
    {"/register",      "NAME",                   "make an account",                                     run_register,    false, 0,                 NULL,         NULL              },
    {"/login",         "NAME",                   "log in",                                              run_login,       false, 0,                 NULL,         NULL              },
    {"/logout",        "",                       "log out, and forget the password",                    run_request,     false, CMD_LOGOUT,        "",           replied_logout    },
    {"/passwd",        "",                       "change the password",                                 run_passwd,      false, 0,                 NULL,         NULL              },
    {"/profile",       "[NAME]",                 "show a profile, or your own",                         run_profile,     false, 0,                 NULL,         NULL              },
    {"/set",           "FIELD VALUE",            "change your profile: name, sex, age, address, email", run_set,         false, 0,                 NULL,         NULL              },
    {"/friends",       "",                       "your friends, and who is online",                     run_request,     false, CMD_FRIEND_LIST,   "",           replied_friends   },
    {"/friend add",    "NAME [TEXT]",            "ask somebody to be your friend",                      run_request,     false, CMD_FRIEND_ADD,    "user text*",
     replied_done                                                                                                                                                                  },
    {"/friend accept", "NAME",                   "accept a friend request",                             run_answer,      false, CMD_FRIEND_ANSWER, "user",       replied_answer    },
    {"/friend reject", "NAME",                   "reject a friend request",                             run_answer,      false, CMD_FRIEND_ANSWER, "user",       replied_answer    },
    {"/friend remove", "NAME",                   "end a friendship",                                    run_request,     false, CMD_FRIEND_REMOVE, "user",       replied_unfriended},
    {"/groups",        "",                       "your groups",                                         run_request,     false, CMD_GROUP_LIST,    "",           replied_groups    },
    {"/group create",  "GROUP [TITLE]",          "make a group, its owner being you",                   run_request,     false, CMD_GROUP_CREATE,
     "group title*",                                                                                                                                             replied_entered   },
    {"/group join",    "GROUP",                  "join a group",                                        run_request,     false, CMD_GROUP_JOIN,    "group",      replied_entered   },
    {"/group leave",   "GROUP",                  "leave a group",                                       run_request,     false, CMD_GROUP_LEAVE,   "group",      replied_left      },
    {"/group info",    "GROUP",                  "title, owner and members",                            run_request,     false, CMD_GROUP_INFO,    "group",      replied_members   },
    {"/group kick",    "GROUP NAME",             "remove a member from your group",                     run_request,     false, CMD_GROUP_KICK,    "group user",
     replied_done                                                                                                                                                                  },
    {"/group dismiss", "GROUP",                  "end your group, and its history",                     run_request,     false, CMD_GROUP_DISMISS, "group",
     replied_left                                                                                                                                                                  },
    {"/to",            "NAME|#GROUP",            "what you type goes there from now on",                run_to,          true,  0,                 NULL,         NULL              },
    {"/msg",           "NAME|#GROUP TEXT",       "send one message there",                              run_message,     true,  0,                 NULL,         NULL              },
    {"/history",       "[NAME|#GROUP] [N]",      "the last N messages (20; at most 1000)",              run_history,     false, 0,                 NULL,         NULL              },
    {"/unread",        "",                       "conversations with unread messages",                  run_request,     false, CMD_UNREAD,        "",           replied_unread    },
    {"/read",          "[NAME|#GROUP]",          "mark all as read",                                    run_read,        false, 0,                 NULL,         NULL              },
    {"/typing",        "[NAME|#GROUP]",          "tell that you are typing",                            run_typing,      false, 0,                 NULL,         NULL              },
    {"/ping",          "",                       "ask the server for its time",                         run_request,     false, CMD_PING,          "",           replied_fields    },
    {"/stats",         "",                       "the server's counters",                               run_request,     false, CMD_STATS,         "",           replied_fields    },
    {"/wait",          "EVENT [SECONDS] [TEXT]", "in scripts: wait for a push, with TEXT in it",        run_script_only, true,  0,                 NULL,
     NULL                                                                                                                                                                          },
    {"/expect",        "RESULT LINE",            "in scripts: run LINE, which is to come to RESULT",    run_script_only, true,  0,                 NULL,
     NULL                                                                                                                                                                          },
    {"/quit",          "",                       "leave",                                               run_quit,        true,  0,                 NULL,         NULL              },
};

#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void run_help(struct client *client, const struct verb *verb, char *words)
{
    char *prefix = rest_of(words), usage[64];

    (void)verb;
    if (prefix != NULL && prefix[0] == '/')
        prefix++;
    for (size_t i = 0; i < VERBS; i++) {
        if (prefix != NULL && strncmp(verbs[i].name + 1, prefix, strlen(prefix)) != 0)
            continue;
        snprintf(usage, sizeof(usage), "%s %s", verbs[i].name, verbs[i].usage);
        screen_say(client->screen, SCREEN_PLAIN, "  %-32s %s", usage, verbs[i].help);
    }
    if (prefix == NULL) {
        screen_say(client->screen, SCREEN_PLAIN,
                   "Other lines are messages to the conversation chosen by /to; // at the "
                   "beginning sends one that begins with /.");
        screen_say(client->screen, SCREEN_PLAIN,
                   "The password is kept in locked memory until /logout, to log in again "
                   "when the connection was lost.");
    }
}

/* The verb that `line` begins with; of "/friend" and "/friend add" the longer one. `*words`: behind it. */
static const struct verb *find_verb(char *line, char **words)
{
    const struct verb *found = NULL;
    size_t longest = 0;

    for (size_t i = 0; i < VERBS; i++) {
        size_t length = strlen(verbs[i].name);

        if (length <= longest || strncmp(line, verbs[i].name, length) != 0 ||
            (line[length] != ' ' && line[length] != '\0'))
            continue;
        found = &verbs[i];
        longest = length;
        *words = line + length;
    }
    return found;
}

static void run_command(struct client *client, char *line)
{
    char *words;
    const struct verb *verb = find_verb(line, &words);

    if (verb == NULL)
        client_fail(client, "usage", "there is no command %s; /help lists them", line);
    else if (verb->offline || client_wait_ready(client))
        verb->run(client, verb, words);
}

static void run_plain(struct client *client, const char *text)
{
    char peer[PEER_SIZE];

    if (find_peer(client, NULL, peer))
        messages_send(client, peer, text);
}

void commands_run(struct client *client, const char *line)
{
    char *copy = strndup(line, strcspn(line, "\r\n"));

    if (copy == NULL)
        client_fail(client, "no_memory", "no memory");
    else if (copy[0] == '/' && copy[1] != '/')
        run_command(client, copy);
    else if (rest_of(copy) != NULL)
        run_plain(client, copy + (copy[0] == '/'));
    free(copy);
}

/* ---- completion ---- */

static void add_unique(json_t *names, const char *name, size_t length)
{
    const char *last = json_string_value(json_array_get(names, json_array_size(names) - 1));

    if (last == NULL || strlen(last) != length || strncmp(last, name, length) != 0)
        json_array_append_new(names, json_stringn(name, length));
}

/* The word of verbs that `before` ends in; those with the same beginning stand together in the table. */
static json_t *complete_verb(const char *before)
{
    json_t *names = json_array();
    const char *space = strrchr(before, ' ');
    size_t at = space == NULL ? 0 : (size_t)(space + 1 - before);

    for (size_t i = 0; i < VERBS; i++)
        if (strncmp(verbs[i].name, before, strlen(before)) == 0)
            add_unique(names, verbs[i].name + at, strcspn(verbs[i].name + at, " "));
    return names;
}

static json_t *complete_field(const char *prefix)
{
    static const char *const fields[] = {"name", "sex", "age", "address", "email"};
    json_t *names = json_array();

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (strncmp(fields[i], prefix, strlen(prefix)) == 0)
            json_array_append_new(names, json_string(fields[i]));
    return names;
}

json_t *commands_complete(struct client *client, const char *before)
{
    const char *space = strrchr(before, ' ');
    json_t *names = before[0] == '/' ? complete_verb(before) : NULL;

    if (json_array_size(names) > 0)
        return names;
    json_decref(names);
    if (before[0] == '/' && space == NULL)
        return json_array();
    if (strncmp(before, "/set ", 5) == 0)
        return complete_field(before + 5);
    return state_names(&client->state, space == NULL ? before : space + 1);
}
