#include "chat/lockout.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct lockout_entry {
    struct hash_node node;
    struct link resting; /* in lockout->resting while nothing is in CHECK */
    uint32_t user;
    struct peer_address address;
    unsigned checking;
    unsigned failure_first; /* ring: the oldest failure stands here */
    unsigned failure_count;
    uint64_t failures_ms[PASSWORD_FAILURES_MAX];
    struct lockout_attempt *waiting, *waiting_last; /* in the order of their coming */
};

bool lockout_init(struct lockout *lockout, uint64_t window_ms, size_t entries_max)
{
    *lockout = (struct lockout){.window_ms = window_ms, .resting_max = entries_max};
    links_init(&lockout->resting);
    randombytes_buf(&lockout->key, sizeof lockout->key);
    return hash_index_init(&lockout->entries);
}

void lockout_fini(struct lockout *lockout)
{
    if (lockout->entries.bucket_count == 0)
        return;
    for (struct hash_node *node = hash_index_walk(&lockout->entries, NULL), *next = NULL; node != NULL; node = next) {
        next = hash_index_walk(&lockout->entries, node);
        free(HASH_NODE_OWNER(node, struct lockout_entry, node));
    }
    hash_index_fini(&lockout->entries);
}

/* Addresses are the peers' to choose, within what they own, so the hash is keyed. */
static uint64_t hash_key(const struct lockout *lockout, uint32_t user, const struct peer_address *address)
{
    unsigned char key[crypto_shorthash_KEYBYTES] = {0};
    unsigned char bytes[sizeof user + sizeof address->bytes];
    uint64_t hash;

    memcpy(key, &lockout->key, sizeof lockout->key);
    memcpy(bytes, &user, sizeof user);
    memcpy(bytes + sizeof user, address->bytes, sizeof address->bytes);
    crypto_shorthash((unsigned char *)&hash, bytes, sizeof bytes, key);
    return hash;
}

static struct lockout_entry *entry_find(const struct lockout *lockout, uint64_t hash, uint32_t user,
                                        const struct peer_address *address)
{
    struct hash_node *node = hash_index_find(&lockout->entries, hash);

    for (; node != NULL; node = hash_index_find_next(node)) {
        struct lockout_entry *entry = HASH_NODE_OWNER(node, struct lockout_entry, node);

        if (entry->user == user && memcmp(&entry->address, address, sizeof *address) == 0)
            return entry;
    }
    return NULL;
}

/* An entry with one attempt in CHECK, so that I3 holds for it. */
static struct lockout_entry *entry_add(struct lockout *lockout, uint64_t hash, uint32_t user,
                                       const struct peer_address *address)
{
    struct lockout_entry *entry = calloc(1, sizeof *entry);

    if (entry == NULL)
        return NULL;
    entry->user = user;
    entry->address = *address;
    entry->checking = 1;
    hash_index_add(&lockout->entries, &entry->node, hash);
    return entry;
}

static void entry_wake(struct lockout *lockout, struct lockout_entry *entry)
{
    if (!link_in_ring(&entry->resting))
        return;
    link_remove(&entry->resting);
    lockout->resting_count--;
}

static void entry_drop(struct lockout *lockout, struct lockout_entry *entry)
{
    entry_wake(lockout, entry);
    hash_index_remove(&lockout->entries, &entry->node);
    free(entry);
}

/* Failures that are as old as the window do not count any more. */
static void failures_expire(const struct lockout *lockout, struct lockout_entry *entry, uint64_t now_ms)
{
    while (entry->failure_count > 0 && now_ms - entry->failures_ms[entry->failure_first] >= lockout->window_ms) {
        entry->failure_first = (entry->failure_first + 1) % PASSWORD_FAILURES_MAX;
        entry->failure_count--;
    }
}

static void failure_add(struct lockout_entry *entry, uint64_t now_ms)
{
    assert(entry->failure_count < PASSWORD_FAILURES_MAX); /* I1 */
    entry->failures_ms[(entry->failure_first + entry->failure_count) % PASSWORD_FAILURES_MAX] = now_ms;
    entry->failure_count++;
}

static struct lockout_entry *oldest_resting(const struct lockout *lockout)
{
    return links_empty(&lockout->resting) ? NULL : LINK_OWNER(lockout->resting.next, struct lockout_entry, resting);
}

/* Nothing of the entry is in CHECK any more: it goes, or rests behind those that failed before it (I3). */
static void entry_rest(struct lockout *lockout, struct lockout_entry *entry, uint64_t now_ms)
{
    struct lockout_entry *oldest;

    assert(entry->waiting == NULL); /* I2 */
    if (entry->failure_count == 0) {
        entry_drop(lockout, entry);
        return;
    }
    link_insert_after(&entry->resting, lockout->resting.previous);
    lockout->resting_count++;
    if (lockout->resting_count > lockout->resting_max) {
        oldest = oldest_resting(lockout);
        assert(oldest != NULL); /* this one, if no other */
        entry_drop(lockout, oldest);
    }
    /* And those go that nobody asks for any more: two at most, so that this is no sweep. */
    for (int i = 0; i < 2 && (oldest = oldest_resting(lockout)) != NULL; i++) {
        failures_expire(lockout, oldest, now_ms);
        if (oldest->failure_count > 0)
            return;
        entry_drop(lockout, oldest);
    }
}

static void wait_behind(struct lockout_entry *entry, struct lockout_attempt *attempt)
{
    attempt->next = NULL;
    if (entry->waiting == NULL)
        entry->waiting = attempt;
    else
        entry->waiting_last->next = attempt;
    entry->waiting_last = attempt;
}

static enum lockout_verdict judge(struct lockout_entry *entry)
{
    if (entry->failure_count >= PASSWORD_FAILURES_MAX)
        return LOCKOUT_REFUSED;
    if (entry->failure_count + entry->checking >= PASSWORD_FAILURES_MAX)
        return LOCKOUT_WAIT;
    return LOCKOUT_CHECK;
}

enum lockout_verdict lockout_begin(struct lockout *lockout, struct lockout_attempt *attempt, uint32_t user,
                                   const struct peer_address *address, uint64_t now_ms)
{
    uint64_t hash = hash_key(lockout, user, address);
    struct lockout_entry *entry = entry_find(lockout, hash, user, address);

    *attempt = (struct lockout_attempt){.verdict = LOCKOUT_CHECK};
    if (entry == NULL) {
        attempt->entry = entry_add(lockout, hash, user, address);
        return attempt->verdict = attempt->entry != NULL ? LOCKOUT_CHECK : LOCKOUT_NO_MEMORY;
    }
    failures_expire(lockout, entry, now_ms);
    /* Nobody overtakes those that wait. */
    attempt->verdict = entry->waiting != NULL ? LOCKOUT_WAIT : judge(entry);
    if (attempt->verdict == LOCKOUT_REFUSED)
        return LOCKOUT_REFUSED;
    attempt->entry = entry;
    if (attempt->verdict == LOCKOUT_WAIT) {
        wait_behind(entry, attempt);
    } else {
        entry_wake(lockout, entry);
        entry->checking++;
    }
    return attempt->verdict;
}

/* Take out of the waiting all that need wait no longer. */
static struct lockout_attempt *release(struct lockout_entry *entry)
{
    struct lockout_attempt *released = entry->waiting, *last = NULL, *attempt;

    for (attempt = entry->waiting; attempt != NULL; attempt = attempt->next) {
        enum lockout_verdict verdict = judge(entry);

        if (verdict == LOCKOUT_WAIT)
            break;
        attempt->verdict = verdict;
        if (verdict == LOCKOUT_CHECK)
            entry->checking++;
        else
            attempt->entry = NULL;
        last = attempt;
    }
    if (last == NULL)
        return NULL;
    last->next = NULL;
    entry->waiting = attempt;
    return released;
}

struct lockout_attempt *lockout_settle(struct lockout *lockout, struct lockout_attempt *attempt,
                                       enum lockout_result result, uint64_t now_ms)
{
    struct lockout_entry *entry = attempt->entry;
    struct lockout_attempt *released;

    assert(attempt->verdict == LOCKOUT_CHECK && entry->checking > 0);
    attempt->entry = NULL;
    entry->checking--;
    failures_expire(lockout, entry, now_ms);
    if (result == LOCKOUT_RIGHT)
        entry->failure_count = 0;
    else if (result == LOCKOUT_WRONG)
        failure_add(entry, now_ms);
    released = release(entry);
    if (entry->checking == 0)
        entry_rest(lockout, entry, now_ms);
    return released;
}

void lockout_abandon(struct lockout *lockout, struct lockout_attempt *attempt)
{
    struct lockout_entry *entry = attempt->entry;
    struct lockout_attempt *kept = NULL, *last = NULL, *next;

    (void)lockout;
    assert(attempt->verdict == LOCKOUT_WAIT);
    for (struct lockout_attempt *at = entry->waiting; at != NULL; at = next) {
        next = at->next;
        if (at == attempt)
            continue;
        at->next = NULL;
        if (last == NULL)
            kept = at;
        else
            last->next = at;
        last = at;
    }
    entry->waiting = kept;
    entry->waiting_last = last;
    attempt->entry = NULL;
}
