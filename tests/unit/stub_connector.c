#include "tests/unit/stub_connector.h"

#include "common/check.h"
#include "common/clock.h"

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

static void *stub_connect(void *context, int64_t deadline_ns, struct failure *failure)
{
    struct stub *stub = context;
    (void)deadline_ns;
    lock(stub);
    stub->connecting++;
    if (stub->connecting > stub->most_connecting)
        stub->most_connecting = stub->connecting;
    CHECK_PTHREAD(pthread_cond_broadcast(&stub->changed));
    while (stub->gate_closed)
        CHECK_PTHREAD(pthread_cond_wait(&stub->changed, &stub->lock));
    stub->connecting--;
    struct stub_connection *connection = NULL;
    if (stub->fail_connects > 0) {
        stub->fail_connects--;
        failure_set(failure, FAILURE_UNAVAILABLE, "connect to stub failed: told to");
    } else {
        connection = calloc(1, sizeof *connection);
        assert(connection);
        connection->stub = stub;
        connection->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        connection->id = ++stub->made;
        if (++stub->open > stub->most_open)
            stub->most_open = stub->open;
    }
    unlock(stub);
    return connection;
}

static void stub_close(void *argument)
{
    struct stub_connection *connection = argument;
    struct stub *stub = connection->stub;
    lock(stub);
    stub->open--;
    stub->closed++;
    unlock(stub);
    close(connection->fd);
    free(connection);
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
    return (struct db_connector){stub,         stub_connect, stub_close,      stub_state,
                                 stub_consume, stub_socket,  stub_backend_pid};
}

void stub_set_gate(struct stub *stub, bool closed)
{
    lock(stub);
    stub->gate_closed = closed;
    unlock(stub);
}

void stub_fail_connects(struct stub *stub, unsigned count)
{
    lock(stub);
    stub->fail_connects = count;
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

unsigned stub_made(struct stub *stub)
{
    return read_locked(stub, &stub->made);
}

void stub_answer(struct stub_connection *connection, enum db_conn_state state)
{
    uint64_t one = 1;
    atomic_store(&connection->next_state, state);
    ssize_t written = write(connection->fd, &one, sizeof one);
    assert(written == (ssize_t)sizeof one);
}
