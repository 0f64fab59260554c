/* listener.h - open the socket that clients connect to; alike in every stage, so it stands here.
 */
#ifndef CHAT_LISTENER_H
#define CHAT_LISTENER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Listen on `host` (a name or a numeric address, IPv4 or IPv6) and `port` (0: any free one), with SO_REUSEADDR,
 * close-on-exec, and non-blocking (a connection may be gone again between readiness and accept(2)). Returns the
 * descriptor, which the caller owns, or -1 with the reason logged (getaddrinfo(3), bind(2), listen(2)). */
int listener_open(const char *host, uint16_t port);

/* Print `listening on HOST:PORT` (S-2), the numeric address bound, IPv6 in brackets (S-5), and flush it.
 * Returns 0, or -1 with the reason logged: standard output is closed or full. */
int listener_announce(int listener);

#endif
