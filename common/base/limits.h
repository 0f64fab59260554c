/* limits.h - the numbers that are choices, each with its reason. Numbers of the protocol stand in docs/protocol.md
 *            and are named here once; numbers that an option sets stand in base/options.h.
 */
#ifndef CHAT_LIMITS_H
#define CHAT_LIMITS_H

/* Frames (F-2). The server may send more than it takes: a page of history is larger than any message in it. */
#define REQUEST_PAYLOAD_MAX_BYTES 65536
#define REPLY_PAYLOAD_MAX_BYTES 262144

/* One read. It is also the fairness budget: a connection gets one read of this size a turn, however fast its peer
 * sends. Large enough that a burst of small requests costs one system call. */
#define READ_BUFFER_BYTES 65536

/* Blocks that outboxes share: what a turn writes for many sessions is encoded once into one of these. Large enough
 * that a burst of 512 small messages is one range, small enough to stay in the second-level cache. */
#define BLOCK_BYTES 65536

/* An outbox that lags pins the blocks its ranges lie in. Past so many blocks, ranges that use less than half of what
 * they pin are copied into a block of their own, so a slow reader costs about what waits for it. */
#define OUTBOX_PINNED_BLOCKS_MAX 4

/* Short pieces, up to this total, are gathered into one buffer before a write: to copy so few bytes is cheaper than a
 * second send, and one contiguous send(2) is cheaper than a sendmsg(2) of pieces. 02, 03 and 05 write until the system is
 * full. 01 and 04 write once a turn, and gather more: what a turn has encoded has to leave with it. */
#define OUTPUT_GATHER_BYTES 16384

/* Most that one session_output() hands out: bounds the time that one write may take. */
#define OUTPUT_MAX_BYTES 262144

/* What the kernel may hold unsent for one peer (tcp(7), TCP_NOTSENT_LOWAT): without it, sockets of peers that do not
 * read take megabytes each, out of reach of the outbox limit (L-3). */
#define NOT_SENT_LOW_WATER_BYTES 262144

/* Engine queue and hub inbox. At the first, hubs take up nothing; at the second, the engine waits. */
#define ENGINE_QUEUE_MAX_BYTES (64u << 20)
#define HUB_INBOX_MAX_BYTES (64u << 20)

/* A hub hands its requests over at the end of its turn, or when it has gathered this much. */
#define HUB_BATCH_MAX_BYTES (256u << 10)

/* Pushes over the outbox limit that are kept while it is not known whether the system took what was given to it last: a
 * blocking send tells only when it returns. Past them the session is a slow consumer all the same (L-3). */
#define OUTBOX_OVERSHOOT_BYTES (1u << 20)

/* What a hub encodes in one turn before the stage gets to write: no outbox may pass its limit for the only reason that
 * a burst came at once. */
#define HUB_TURN_ENCODE_BYTES (256u << 10)

/* How soon a hub tries again what could not be had: memory, or room in the engine's queue. */
#define HUB_RETRY_MS 10

/* What a turn with a message or two needs of memory for its requests, and for their effects: each is had with one
 * malloc(3), of the largest size that glibc serves from the thread's own cache (tcache). */
#define BATCH_FIRST_BYTES 1024

/* One store transaction. What is larger is cut, so that no batch holds back its first reply for long, and the memory
 * of its effects stays small. */
#define ENGINE_BATCH_MAX_REQUESTS 4096
#define ENGINE_BATCH_MAX_EFFECT_BYTES (4u << 20)

/* Refused connections that stay until their `bye` is read (L-6). */
#define REFUSED_CONNECTIONS_MAX 64

/* After the last byte was written: how long the peer's bytes are read and discarded, so that the close is a FIN and
 * not a reset that would overtake the last frame (L-9). */
#define LINGER_MS 2000

/* How long the rest of a slow consumer's outbox may take (L-3). */
#define SLOW_CONSUMER_FLUSH_MS 5000

/* A stop is over within 5 s (L-7): after SHUTDOWN_BYE_MS the byes go out, whatever is still unanswered; after SHUTDOWN_MS
 * what is left is reset; the rest is for joining threads and closing the store. */
#define SHUTDOWN_MS 4500
#define SHUTDOWN_BYE_MS 2500

/* What is read of one connection after a stop was asked for, if its socket does not become empty before: a peer that
 * never stops sending must not hold up the stop. */
#define SHUTDOWN_READ_MAX_BYTES (4u << 20)

/* Text before HTTP is told apart (F-1). */
#define HTTP_HEAD_MAX_BYTES 8192

/* JSON (F-5): the payload's own object is level 1. */
#define JSON_DEPTH_MAX 8

/* Accounts. */
#define PASSWORD_FAILURES_MAX 10
#define LOCKOUT_ENTRIES_MAX 65536
#define USER_SESSIONS_MAX 8
#define USER_FRIENDS_MAX 256
#define USER_GROUPS_MAX 256
#define USER_REQUESTS_MAX 64
#define GROUP_MEMBERS_MAX 10000

/* Lists in replies (G-6, M-8, M-9). */
#define GROUP_INFO_MEMBERS_MAX 1000
#define HISTORY_LIMIT_DEFAULT 50
#define HISTORY_LIMIT_MAX 100
#define UNREAD_MAX 256

/* The memory store keeps the newest of each conversation, and of all (S-1). */
#define MEMORY_CONVERSATION_MESSAGES_MAX 10000
#define MEMORY_STORE_MAX_BYTES (256u << 20)

/* The SQLite store settles its newest messages when they use so much memory, some 16,000 short ones; a slice of them
 * whenever so much was added, some 400. When they cannot be settled, it takes further ones up to the last limit. */
#define RECENT_MESSAGES_BYTES (4u << 20)
#define SETTLE_AFTER_BYTES (64u << 10)
#define RECENT_MESSAGES_MAX_BYTES (64u << 20)

/* Passwords that wait for a worker. At about 60 ms each and one worker this is 15 s of work. */
#define WORKER_QUEUE_MAX 256
#define WORKER_RETRY_MS 1000

/* Hubs that one engine serves: a set of them is a bit each. */
#define HUBS_MAX 64

#endif
