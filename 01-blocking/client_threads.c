/* client_threads.c - see client_threads.h. */
#include "client_threads.h"

#include <signal.h>

#include "base/limits.h"

enum {
    SIGNAL_INTERRUPT = SIGUSR1,
    CLIENT_STACK_BYTES = 256 << 10 /* what is read or gathered, and what parsing and the engine need */
};

/* pthread_cond_wait(3), counted (S-7). */
static void wait_for(struct server *server, pthread_cond_t *condition)
{
    pthread_cond_wait(condition, &server->mutex);
    COUNTER_ADD(hub_counters(server->hub), wakeups_total, 1);
}

/* With the mutex, which a thread gives back last. */
static void thread_leaves(struct connection *connection)
{
    connection->left++;
    finish_if_left(connection);
    server_turn(connection->server);
}

/* ---- the reader ---- */

static void *reader_main(void *arg)
{
    struct connection *connection = arg;
    struct server *server = connection->server;
    char buffer[READ_BUFFER_BYTES];

    pthread_mutex_lock(&server->mutex);
    while (!connection->shut) {
        if (session_wants_read(connection->session)) {
            connection_read(connection, buffer);
            server_turn(server);
        } else {
            wait_for(server, &connection->may_read);
        }
    }
    thread_leaves(connection);
    pthread_mutex_unlock(&server->mutex);
    return NULL;
}

void call_reader(struct connection *connection)
{
    pthread_cond_signal(&connection->may_read);
}

static void ignore_signal(int number)
{
    (void)number;
}

/* Without SA_RESTART: the interrupted call is to return (signal(7)). */
void client_threads_prepare(void)
{
    struct sigaction action = {.sa_handler = ignore_signal};

    sigaction(SIGNAL_INTERRUPT, &action, NULL);
}

/* The handler does nothing. But a reader may have given the mutex back and not be in the call yet: then the signal comes
 * too early, and is lost. */
bool client_interrupt(struct connection *connection)
{
    if (connection->in_recv)
        pthread_kill(connection->threads[READER], SIGNAL_INTERRUPT);
    return connection->in_recv;
}

/* ---- the writer. Those that are coming to the mutex, from send(2) or from their wait, are counted (I5) ---- */

void writer_lock(struct server *server)
{
    atomic_fetch_add(&server->writers_coming, 1);
    pthread_mutex_lock(&server->mutex);
    atomic_fetch_sub(&server->writers_coming, 1);
}

static void writer_wait(struct connection *connection)
{
    struct server *server = connection->server;

    connection->writer_waits = true;
    server_turn(server);
    while (connection->writer_waits)
        wait_for(server, &connection->may_write);
    atomic_fetch_sub(&server->writers_coming, 1);
}

void call_writer(struct connection *connection)
{
    if (!connection->writer_waits)
        return; /* it comes by itself */
    connection->writer_waits = false;
    atomic_fetch_add(&connection->server->writers_coming, 1);
    pthread_cond_signal(&connection->may_write);
}

static void *writer_main(void *arg)
{
    struct connection *connection = arg;
    struct server *server = connection->server;
    char scratch[READ_BUFFER_BYTES]; /* as much as a reader takes in */

    writer_lock(server);
    while (!connection->shut) {
        if (session_has_output(connection->session))
            connection_write(connection, scratch);
        else
            writer_wait(connection);
    }
    thread_leaves(connection);
    pthread_mutex_unlock(&server->mutex);
    return NULL;
}

/* ---- from start to join ---- */

bool client_threads_start(struct connection *connection)
{
    static void *(*const run[])(void *) = {[WRITER] = writer_main, [READER] = reader_main};
    pthread_t *threads = connection->threads;
    pthread_attr_t attributes;
    int failure = 0;

    pthread_cond_init(&connection->may_read, NULL);
    pthread_cond_init(&connection->may_write, NULL);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, CLIENT_STACK_BYTES);
    while (failure == 0 && connection->started < THREADS_A_CLIENT) {
        failure = pthread_create(&threads[connection->started], &attributes, run[connection->started], connection);
        connection->started += failure == 0;
    }
    pthread_attr_destroy(&attributes);
    return failure == 0;
}

void finish_if_left(struct connection *connection)
{
    struct server *server = connection->server;

    if (connection->left < connection->started)
        return;
    SLIST_INSERT_HEAD(&server->finished, connection, finished);
    alarm_ring(&server->alarm);
}

void client_threads_join(struct connection *connection)
{
    for (int i = 0; i < connection->started; i++)
        pthread_join(connection->threads[i], NULL);
    pthread_cond_destroy(&connection->may_read);
    pthread_cond_destroy(&connection->may_write);
}
