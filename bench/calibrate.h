/* calibrate.h - how fast this machine sends just now: a fixed loop, the same every time.
 *
 * Idea.       What a server does most is send(2) of small pieces over loopback. A minute in which that is slower than
 *             usual is a minute in which nothing may be compared.
 */
#ifndef CHAT_BENCH_CALIBRATE_H
#define CHAT_BENCH_CALIBRATE_H

/* Nanoseconds of CPU for one send of 100 bytes and the recv of it, the best of several loops; below 0: errno. */
double calibrate_send_ns(void);

#endif
