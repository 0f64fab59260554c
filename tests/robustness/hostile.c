/* hostile.c - a system that fails now and then: preloaded into a server, it makes calls return what a kernel may return
 *             but seldom does.
 *
 *      LD_PRELOAD=build/plain/hostile.so HOSTILE=7 bin/03-epoll               by plan 7
 *      HOSTILE=7,recv_short=500,accept_exhausted=0                           with other rates: of a thousand calls
 *      HOSTILE_COUNTS=FILE                                                   adds up what was done, see hostile_plan.h
 *
 * Honesty.    A server can only be asked to bear what may happen. For each kind there has to be a history of the network
 *             and of signals in which a kernel, keeping its promises, gives these answers in this order:
 *
 *  EINTR      A signal came before anything was done: nothing is done, and the call fails. POSIX lets each of these calls
 *             fail so; that Linux does not where the call would not wait, is no promise of recv(2) or send(2). One caller
 *             is spared: libevent tells of signals by one write to its own pipe, which Linux does not interrupt and
 *             libevent does not repeat. close(2) fails after the descriptor is closed, as Linux has it.
 *  short      The bytes behind the cut came later (read), or there was no room for them yet (write). Of a pipe the
 *             cut is at a multiple of 8 bytes: what was written in one piece, up to PIPE_BUF, is not torn apart. An
 *             eventfd is never cut.
 *  EAGAIN     Nothing had come yet, although the wait said so (select(2), BUGS), or there was no room: for sockets that do
 *             not wait, or wait up to SO_SNDTIMEO only. For a pipe that is written to only while something is in it, so
 *             that a reader will make room; never for an eventfd, whose count cannot be full.
 *  edges      Where a descriptor is watched edge-triggered, EAGAIN and a short count promise an edge: what came later, or
 *             the room, is a change (epoll(7)). The shim keeps the promise by EPOLL_CTL_MOD with the mask that is
 *             registered, right after the fault: if the descriptor is ready, and here it is, that is a new event.
 *  a stop     After SIGTERM a server reads each socket until it is empty (L-7), and the suite knows what had come: it was
 *             sent over the loopback, which has no "later". So once the listener is closed or shut, nothing is kept from
 *             a reader.
 *  accept     ECONNABORTED: one more client had come and gone (accept(2)). EMFILE, ENFILE, ENOBUFS, ENOMEM: what the
 *             system had was in use, for two calls in a row. The client is still in the queue, and readiness is told
 *             again: listeners are level-triggered, or wait.
 *  waiting    epoll_wait(2) returns one event of several: the others became ready a moment later. A condition variable
 *             wakes without a reason (pthread_cond_wait(3)).
 *
 * Regular files are left alone: their faults are the business of tests/unit/test_store_faults.c.
 * Threads.    Any. What is kept of a descriptor belongs to who owns the descriptor.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include "hostile_plan.h"

/* The C library names parameters otherwise. NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

enum { DESCRIPTORS_MAX = 65536, PIECES_MAX = 128, EXHAUSTED_CALLS = 2, ATOMIC_BYTES = 8 };

static atomic_bool stopping; /* the listener is closed */
static atomic_int exhausted; /* calls of accept4() still to fail */

/* How a descriptor is watched edge-triggered; `epoll` 0: it is not. */
static struct {
    int epoll;
    struct epoll_event event;
} edges[DESCRIPTORS_MAX];

/* ---- what a descriptor is ---- */

static bool waits_not(int fd, int flags)
{
    return (flags & MSG_DONTWAIT) != 0 || (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
}

/* Also true where a send waits for some time only. */
static bool may_be_full(int fd, int flags)
{
    struct timeval timeout = {0};
    socklen_t length = sizeof timeout;

    return waits_not(fd, flags) || (getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, &length) == 0 &&
                                    (timeout.tv_sec != 0 || timeout.tv_usec != 0));
}

static mode_t type_of(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 ? status.st_mode & S_IFMT : 0;
}

/* `fd` is about to be closed, or shut. */
static void note_stop(int fd)
{
    int listens = 0, error = errno;
    socklen_t length = sizeof listens;

    if (active && getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && listens != 0)
        atomic_store(&stopping, true);
    errno = error;
}

/* The edge that a fault has promised. */
static void give_edge(int fd)
{
    int error = errno;

    if (fd < DESCRIPTORS_MAX && edges[fd].epoll != 0)
        REAL(epoll_ctl)(edges[fd].epoll, EPOLL_CTL_MOD, fd, &edges[fd].event);
    errno = error;
}

/* writev(2) and its like take no const, and change nothing. */
static void *without_const(const void *bytes)
{
    union {
        const void *in;
        void *out;
    } pointer = {bytes};

    return pointer.out;
}

static size_t total(const struct iovec *iov, size_t count)
{
    size_t length = 0;

    for (size_t i = 0; i < count; i++)
        length += iov[i].iov_len;
    return length;
}

/* The first `length` bytes of what `iov` names; returns the number of pieces. */
static size_t cut_pieces(struct iovec *out, const struct iovec *iov, size_t length)
{
    size_t count = 0;

    while (length > 0 && count < PIECES_MAX) {
        out[count] = iov[count];
        if (out[count].iov_len > length)
            out[count].iov_len = length;
        length -= out[count++].iov_len;
    }
    return count;
}

/* ---- reading from sockets ---- */

/* True: the call has failed. */
static bool recv_fails(int fd, int flags)
{
    uint64_t random;

    if (atomic_load(&stopping))
        return false;
    if (is_due(recv_eintr, &random))
        return fail(recv_eintr, EINTR);
    if (!is_due(recv_again, &random) || !waits_not(fd, flags))
        return false;
    fail(recv_again, EAGAIN);
    give_edge(fd);
    return true;
}

/* How much to ask for. */
static size_t recv_length(size_t length)
{
    uint64_t random;

    return length > 1 && !atomic_load(&stopping) && is_due(recv_short, &random) ? cut(length, random) : length;
}

/* `result` bytes came, `length` of `wanted` were asked for. */
static ssize_t recv_ends(int fd, ssize_t result, size_t length, size_t wanted)
{
    if (length < wanted && result == (ssize_t)length) {
        count_fault(recv_short);
        give_edge(fd);
    }
    return result;
}

ssize_t recvfrom(int fd, void *restrict buffer, size_t wanted, int flags, struct sockaddr *restrict from,
                 socklen_t *restrict from_length)
{
    size_t length;

    if (recv_fails(fd, flags))
        return -1;
    length = recv_length(wanted);
    return recv_ends(fd, REAL(recvfrom)(fd, buffer, length, flags, from, from_length), length, wanted);
}

ssize_t recv(int fd, void *buffer, size_t wanted, int flags)
{
    return recvfrom(fd, buffer, wanted, flags, NULL, NULL);
}

static ssize_t receive_pieces(int fd, const struct iovec *iov, int count)
{
    struct iovec pieces[PIECES_MAX];
    size_t wanted = total(iov, (size_t)count), length;

    if (recv_fails(fd, 0))
        return -1;
    length = recv_length(wanted);
    return recv_ends(fd, REAL(readv)(fd, pieces, (int)cut_pieces(pieces, iov, length)), length, wanted);
}

/* ---- writing to sockets ---- */

static bool send_fails(int fd, int flags)
{
    uint64_t random;

    if (is_due(send_eintr, &random))
        return fail(send_eintr, EINTR);
    if (!is_due(send_again, &random) || !may_be_full(fd, flags))
        return false;
    fail(send_again, EAGAIN);
    give_edge(fd);
    return true;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct iovec pieces[PIECES_MAX];
    struct msghdr part = *message;
    size_t wanted = total(message->msg_iov, message->msg_iovlen), length = wanted;
    uint64_t random;
    ssize_t result;

    if (send_fails(fd, flags))
        return -1;
    if (wanted > 1 && message->msg_iovlen <= PIECES_MAX && is_due(send_short, &random)) {
        length = cut(wanted, random);
        part.msg_iov = pieces;
        part.msg_iovlen = cut_pieces(pieces, message->msg_iov, length);
    }
    result = REAL(sendmsg)(fd, &part, flags);
    if (length < wanted && result == (ssize_t)length) {
        count_fault(send_short);
        give_edge(fd);
    }
    return result;
}

static ssize_t send_pieces(int fd, const struct iovec *iov, size_t count, int flags)
{
    struct msghdr message = {.msg_iov = without_const(iov), .msg_iovlen = count};

    return sendmsg(fd, &message, flags);
}

ssize_t send(int fd, const void *bytes, size_t length, int flags)
{
    struct iovec piece = {without_const(bytes), length};

    return send_pieces(fd, &piece, 1, flags);
}

/* ---- read and write: sockets, pipes, eventfds and signalfds ---- */

ssize_t readv(int fd, const struct iovec *iov, int count)
{
    if (!active || type_of(fd) != S_IFSOCK || count > PIECES_MAX)
        return REAL(readv)(fd, iov, count);
    return receive_pieces(fd, iov, count);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
    if (!active || type_of(fd) != S_IFSOCK)
        return REAL(writev)(fd, iov, count);
    return send_pieces(fd, iov, (size_t)count, MSG_NOSIGNAL);
}

static ssize_t read_pipe(int fd, void *buffer, size_t wanted)
{
    uint64_t random;
    size_t length = wanted;
    ssize_t result;

    if (wanted > ATOMIC_BYTES && is_due(read_short, &random))
        length = ATOMIC_BYTES * (1 + (size_t)(random >> 10) % ((wanted - 1) / ATOMIC_BYTES));
    result = REAL(read)(fd, buffer, length);
    if (length < wanted && result == (ssize_t)length)
        count_fault(read_short);
    return result;
}

ssize_t read(int fd, void *buf, size_t nbytes)
{
    struct iovec piece = {buf, nbytes};
    mode_t type = active ? type_of(fd) : S_IFREG;
    uint64_t random;

    if (type == S_IFSOCK)
        return receive_pieces(fd, &piece, 1);
    if (type != S_IFIFO && type != 0) /* 0: what has no file, as an eventfd */
        return REAL(read)(fd, buf, nbytes);
    if (is_due(read_eintr, &random))
        return fail(read_eintr, EINTR);
    return type == S_IFIFO ? read_pipe(fd, buf, nbytes) : REAL(read)(fd, buf, nbytes);
}

static bool holds_something(int fd)
{
    int length = 0;

    return ioctl(fd, FIONREAD, &length) == 0 && length > 0;
}

/* See EINTR above. */
static bool is_of_libevent(const void *caller)
{
    Dl_info object;

    return dladdr(caller, &object) != 0 && object.dli_fname != NULL && strstr(object.dli_fname, "libevent") != NULL;
}

ssize_t write(int fd, const void *buf, size_t n)
{
    struct iovec piece = {without_const(buf), n};
    mode_t type = active && fd > STDERR_FILENO ? type_of(fd) : S_IFREG;
    uint64_t random;

    if (type == S_IFSOCK)
        return send_pieces(fd, &piece, 1, MSG_NOSIGNAL);
    if ((type != S_IFIFO && type != 0) || is_of_libevent(__builtin_return_address(0)))
        return REAL(write)(fd, buf, n);
    if (is_due(write_eintr, &random))
        return fail(write_eintr, EINTR);
    if (type == S_IFIFO && is_due(write_again, &random) && waits_not(fd, 0) && holds_something(fd))
        return fail(write_again, EAGAIN);
    return REAL(write)(fd, buf, n);
}

/* ---- accepting ---- */

int accept4(int fd, struct sockaddr *restrict peer, socklen_t *restrict length, int flags)
{
    static const int reasons[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
    uint64_t random;

    if (is_due(accept_eintr, &random))
        return fail(accept_eintr, EINTR);
    if (is_due(accept_aborted, &random))
        return fail(accept_aborted, ECONNABORTED);
    if (is_due(accept_again, &random) && waits_not(fd, 0))
        return fail(accept_again, EAGAIN);
    if (is_due(accept_exhausted, &random))
        atomic_store(&exhausted, EXHAUSTED_CALLS);
    if (atomic_load(&exhausted) > 0 && !atomic_load(&stopping)) {
        atomic_fetch_sub(&exhausted, 1);
        return fail(accept_exhausted, reasons[(random >> 10) % 4]);
    }
    return REAL(accept4)(fd, peer, length, flags);
}

int accept(int fd, struct sockaddr *restrict peer, socklen_t *restrict length)
{
    return accept4(fd, peer, length, 0);
}

/* ---- waiting ---- */

int select(int count, fd_set *restrict reads, fd_set *restrict writes, fd_set *restrict others,
           struct timeval *restrict timeout)
{
    uint64_t random;

    if (is_due(wait_eintr, &random))
        return fail(wait_eintr, EINTR);
    return REAL(select)(count, reads, writes, others, timeout);
}

int poll(struct pollfd *descriptors, nfds_t count, int timeout)
{
    uint64_t random;

    if (is_due(wait_eintr, &random))
        return fail(wait_eintr, EINTR);
    return REAL(poll)(descriptors, count, timeout);
}

int epoll_wait(int epoll, struct epoll_event *events, int count, int timeout)
{
    uint64_t random;
    int found;

    /* Without waiting it looks for events only, not for signals. */
    if (timeout != 0 && is_due(wait_eintr, &random))
        return fail(wait_eintr, EINTR);
    if (count == 1 || !is_due(wait_few, &random))
        return REAL(epoll_wait)(epoll, events, count, timeout);
    found = REAL(epoll_wait)(epoll, events, 1, timeout);
    if (found == 1)
        count_fault(wait_few);
    return found;
}

int pthread_cond_wait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex)
{
    uint64_t random;

    if (!is_due(condition_wakes, &random))
        return REAL(pthread_cond_wait)(cond, mutex);
    count_fault(condition_wakes);
    pthread_mutex_unlock(mutex);
    sched_yield();
    return pthread_mutex_lock(mutex);
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict abstime)
{
    uint64_t random;

    if (!is_due(condition_wakes, &random))
        return REAL(pthread_cond_timedwait)(cond, mutex, abstime);
    count_fault(condition_wakes);
    pthread_mutex_unlock(mutex);
    sched_yield();
    return pthread_mutex_lock(mutex);
}

/* ---- what the shim has to know ---- */

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    int result = REAL(epoll_ctl)(epoll, operation, fd, event);

    if (result != 0 || fd >= DESCRIPTORS_MAX)
        return result;
    edges[fd].epoll = 0;
    if (operation != EPOLL_CTL_DEL && (event->events & EPOLLET) != 0) {
        edges[fd].event = *event;
        edges[fd].epoll = epoll;
    }
    return result;
}

int close(int fd)
{
    uint64_t random;
    bool interrupted = active && type_of(fd) == S_IFSOCK && is_due(close_eintr, &random);
    int result;

    note_stop(fd);
    if (fd >= 0 && fd < DESCRIPTORS_MAX)
        edges[fd].epoll = 0; /* before the number can be another's */
    result = REAL(close)(fd);
    return interrupted && result == 0 ? fail(close_eintr, EINTR) : result;
}

int shutdown(int fd, int how)
{
    note_stop(fd);
    return REAL(shutdown)(fd, how);
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
