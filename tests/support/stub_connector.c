#include "tests/support/stub_connector.h"

#include "common/check.h"
#include "common/clock.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void lock(struct stub *stub)
{
    CHECK_PTHREAD(pthread_mutex_lock(&stub->lock));
}

static void unlock(struct stub *stub)
{
    CHECK_PTHREAD(pthread_cond_broadcast(&stub->changed));
    CHECK_PTHREAD(pthread_mutex_unlock(&stub->lock));
}

/* Lock held, and released meanwhile. True if the connect is to be given up. */
static bool wait_a_moment(struct stub *stub, int interrupt_fd)
{
    struct pollfd interrupt = {.fd = interrupt_fd, .events = POLLIN};
    unlock(stub);
    bool given_up = poll(&interrupt, 1, 1) > 0;
    lock(stub);
    return given_up;
}

static struct stub_connection *make(struct stub *stub)
{
    struct stub_connection *connection = calloc(1, sizeof *connection);
    assert(connection);
    connection->stub = stub;
    connection->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    connection->id = ++stub->made;
    if (++stub->open > stub->most_open)
        stub->most_open = stub->open;
    return connection;
}

static void *stub_connect(void *context, int64_t deadline_ns, int interrupt_fd,
                          struct failure *failure)
{
    struct stub *stub = context;
    struct stub_connection *connection = NULL;
    bool given_up = false;
    lock(stub);
    stub->connecting++;
    if (stub->connecting > stub->most_connecting)
        stub->most_connecting = stub->connecting;
    int64_t ready_ns = clock_now_ns() + stub->connect_ns;
    while ((stub->gate_closed || clock_now_ns() < ready_ns) && clock_now_ns() < deadline_ns &&
           !given_up)
        given_up = wait_a_moment(stub, interrupt_fd);
    stub->connecting--;
    if (given_up) {
        stub->given_up++;
        failure_set(failure, FAILURE_UNAVAILABLE, "connect to stub failed: given up");
    } else if (clock_now_ns() >= deadline_ns) {
        failure_set(failure, FAILURE_UNAVAILABLE, "connect to stub failed: no answer in time");
    } else if (stub->fail_connects > 0) {
        stub->fail_connects--;
        failure_set(failure, FAILURE_UNAVAILABLE, "connect to stub failed: told to");
        memcpy(failure->sqlstate, stub->sqlstate, sizeof failure->sqlstate);
    } else {
        connection = make(stub);
    }
    unlock(stub);
    return connection;
}

/* The server lets go at once, or when it stops clinging. */
static int stub_close(void *argument)
{
    struct stub_connection *connection = argument;
    struct stub *stub = connection->stub;
    int fds[2] = {-1, -1};
    lock(stub);
    stub->open--;
    stub->closed++;
    if (stub->clings) {
        int failed = pipe2(fds, O_CLOEXEC | O_NONBLOCK);
        assert(!failed && stub->clinging < STUB_MAX_CLINGING);
        stub->servers[stub->clinging++] = fds[1];
    }
    unlock(stub);
    close(connection->fd);
    free(connection);
    return fds[0];
}

static void stub_interrupt(void *argument)
{
    struct stub_connection *connection = argument;
    atomic_store(&connection->state, DB_CONN_BROKEN);
    atomic_store(&connection->next_state, DB_CONN_BROKEN);
    atomic_store(&connection->interrupted, true);
}

static enum db_conn_state stub_state(void *argument)
{
    struct stub_connection *connection = argument;
    return atomic_load(&connection->state);
}

static enum db_conn_state stub_consume(void *argument)
{
    struct stub_connection *connection = argument;
    atomic_store(&connection->state, atomic_load(&connection->next_state));
    return atomic_load(&connection->state);
}

static bool stub_prove(void *argument, int64_t deadline_ns)
{
    struct stub_connection *connection = argument;
    (void)deadline_ns;
    atomic_fetch_add(&connection->stub->proofs, 1);
    return !atomic_load(&connection->stub->proofs_fail);
}

static void stub_rollback(void *argument)
{
    struct stub_connection *connection = argument;
    atomic_fetch_add(&connection->stub->rollbacks, 1);
    atomic_store(&connection->state, DB_CONN_BUSY);
    stub_answer(connection, DB_CONN_IDLE);
}

/* A prepared cancel. It outlives its connection. */
struct stub_cancel {
    struct stub *stub;
};

static void *stub_cancel_prepare(void *argument)
{
    const struct stub_connection *connection = argument;
    struct stub_cancel *cancel = calloc(1, sizeof *cancel);
    assert(cancel);
    cancel->stub = connection->stub;
    return atomic_load(&connection->stub->cancels) == STUB_NO_CANCEL ? (free(cancel), NULL)
                                                                     : cancel;
}

static bool stub_cancel_send(void *argument)
{
    struct stub_cancel *cancel = argument;
    struct stub *stub = cancel->stub;
    free(cancel);
    atomic_fetch_add(&stub->cancels_begun, 1);
    while (atomic_load(&stub->cancels) == STUB_CANCEL_BLOCKS)
        clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS / 5);
    return atomic_load(&stub->cancels) == STUB_CANCEL_WORKS;
}

static void stub_cancel_drop(void *argument)
{
    free(argument);
}

static int stub_socket(void *argument)
{
    const struct stub_connection *connection = argument;
    return connection->fd;
}

static int stub_backend_pid(void *argument)
{
    const struct stub_connection *connection = argument;
    return (int)connection->id;
}

void stub_init(struct stub *stub)
{
    *stub = (struct stub){0};
    CHECK_PTHREAD(pthread_mutex_init(&stub->lock, NULL));
    CHECK_PTHREAD(pthread_cond_init(&stub->changed, NULL));
}

struct db_connector stub_connector(struct stub *stub)
{
    return (struct db_connector){.context = stub,
                                 .connect = stub_connect,
                                 .close = stub_close,
                                 .interrupt = stub_interrupt,
                                 .state = stub_state,
                                 .consume = stub_consume,
                                 .prove = stub_prove,
                                 .rollback = stub_rollback,
                                 .cancel_prepare = stub_cancel_prepare,
                                 .cancel_send = stub_cancel_send,
                                 .cancel_drop = stub_cancel_drop,
                                 .socket = stub_socket,
                                 .backend_pid = stub_backend_pid};
}

void stub_set_gate(struct stub *stub, bool closed)
{
    lock(stub);
    stub->gate_closed = closed;
    unlock(stub);
}

void stub_set_clinging(struct stub *stub, bool clings)
{
    lock(stub);
    stub->clings = clings;
    while (!clings && stub->clinging > 0)
        close(stub->servers[--stub->clinging]);
    unlock(stub);
}

void stub_fail_connects(struct stub *stub, unsigned count)
{
    lock(stub);
    stub->fail_connects = count;
    unlock(stub);
}

void stub_set_sqlstate(struct stub *stub, const char *sqlstate)
{
    lock(stub);
    snprintf(stub->sqlstate, sizeof stub->sqlstate, "%s", sqlstate);
    unlock(stub);
}

static unsigned read_locked(struct stub *stub, const unsigned *field)
{
    lock(stub);
    unsigned value = *field;
    unlock(stub);
    return value;
}

unsigned stub_failures_left(struct stub *stub)
{
    return read_locked(stub, &stub->fail_connects);
}

unsigned stub_connecting(struct stub *stub)
{
    return read_locked(stub, &stub->connecting);
}

unsigned stub_closed(struct stub *stub)
{
    return read_locked(stub, &stub->closed);
}

unsigned stub_given_up(struct stub *stub)
{
    return read_locked(stub, &stub->given_up);
}

unsigned stub_made(struct stub *stub)
{
    return read_locked(stub, &stub->made);
}

void stub_answer(struct stub_connection *connection, enum db_conn_state state)
{
    struct stub *stub = connection->stub;
    uint64_t one = 1;
    lock(stub); /* so that nobody who learns of the answer closes the connection meanwhile */
    atomic_store(&connection->next_state, state);
    ssize_t written = write(connection->fd, &one, sizeof one);
    assert(written == (ssize_t)sizeof one);
    unlock(stub);
}
