/* client_limits.h - the numbers of the client that are choices, each with its reason. */
#ifndef CHAT_CLIENT_LIMITS_H
#define CHAT_CLIENT_LIMITS_H

/* Output that the system has not taken. One message is under way at a time (unsent.h), so that this holds a largest
 * request (64 KiB) and many small ones; past it, a command is refused. Fixed, so that no password is left behind by
 * a realloc. */
#define OUTPUT_BYTES 131072

/* Requests that wait for their replies. People and scripts have one or two. */
#define PENDING_MAX 64

/* How long an address may take to be connected to, before the next one is tried. */
#define CONNECT_MS 10000

/* Quiet for so long, the client pings: well within the idle timeout of 120 s (L-2). A shorter one is kept by the
 * heartbeats (L-1), each of which is answered by a ping. */
#define PING_MS 30000

/* Nothing came for so long while a reply is due: the connection is dead, whatever TCP still hopes. Longer than a
 * full queue of passwords takes to hash (15 s). */
#define ANSWER_MS 30000

/* Reconnecting: the first delay, doubled each time up to the last. Each is shortened at random by up to half, so
 * that the clients of a server that was restarted do not come back in one instant. */
#define RETRY_FIRST_MS 500
#define RETRY_LAST_MS 30000

/* A script without a terminal gives up when it was without connection for this long (--retry). */
#define RETRY_SCRIPT_SECONDS 60

/* Messages that wait to be acknowledged. Past it a line is refused; typed by hand it is never reached. */
#define UNSENT_MAX 1000

/* How long a refused message waits when the server names no retry_ms. */
#define RESUME_MS 1000

/* Missed messages of one conversation that are shown after a reconnect, before it says where to read on. */
#define CATCH_UP_MAX 1000

/* Most that /history shows; the server gives 100 a page. */
#define HISTORY_MAX 1000
#define HISTORY_DEFAULT 20
#define HISTORY_PAGE 100

/* Pushes that a script has not waited for yet; the oldest are forgotten. */
#define EVENTS_MAX 1024

/* /wait without a time. */
#define WAIT_SECONDS 10

/* A line of a script. A message has 8 KiB at most; this leaves room to say so instead of cutting it. */
#define SCRIPT_LINE_BYTES 65536

/* Lines that the arrow keys bring back. */
#define LINES_KEPT 500

/* A password has 4 to 128 bytes (C-1), a name 1 to 32; a conversation is a name, or '#' and a name. */
#define PASSWORD_MAX_BYTES 128
#define NAME_MAX_BYTES 32
#define PEER_SIZE (1 + NAME_MAX_BYTES + 1)

#endif
