/* A connect to a name with several addresses, all of them on loopback: it tries what the name has,
 * and begins with the address that was reached last. */
#include "loadtest/engine/connection.h"

#include "tests/support/support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <unistd.h>

static int listen_on(const char *host, uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(inet_pton(AF_INET, host, &address.sin_addr), 1);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static struct target make_target(uint16_t port, unsigned count)
{
    struct target target;
    char why[128];
    assert_true(target_parse(&target, "http://name/", why, sizeof why));
    target.address_count = count;
    for (unsigned i = 0; i < count; i++) { /* 127.0.0.1, 127.0.0.2 … */
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons(port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK + i)};
        memcpy(&target.addresses[i].socket, &address, sizeof address);
        target.addresses[i].size_bytes = sizeof address;
    }
    return target;
}

/* Goes on until the request is sent (PENDING, and a listener has it), or the connect has failed. */
static enum connection_result connect_to(struct connection *connection, const struct target *target)
{
    char buffer[256];
    enum connection_result result =
        connection_start(connection, target, 1, 1000, RESPONSE_EXCESS_BREAKS);
    while (result == CONNECTION_PENDING && connection->state == CONNECTION_CONNECTING) {
        struct epoll_event event;
        assert_int_equal(epoll_wait(connection->epoll_fd, &event, 1, 10000), 1);
        result = connection_step(connection, buffer, sizeof buffer);
    }
    return result;
}

static void test_each_connect_tries_what_the_name_has(void **state)
{
    struct connection connection;
    uint16_t port = 0;
    (void)state;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    connection_init(&connection, epoll_fd, NULL);
    int third = listen_on("127.0.0.3", &port);
    const struct target target = make_target(port, 3);
    assert_int_equal(connect_to(&connection, &target), CONNECTION_PENDING);
    assert_int_equal(connection.address, 2);
    connection_close(&connection);
    /* the one that was reached last is tried first */
    int first = listen_on("127.0.0.1", &port);
    assert_int_equal(connect_to(&connection, &target), CONNECTION_PENDING);
    assert_int_equal(connection.address, 2);
    connection_close(&connection);
    /* it goes away, and another one is there */
    close(third);
    assert_int_equal(connect_to(&connection, &target), CONNECTION_PENDING);
    assert_int_equal(connection.address, 0);
    connection_close(&connection);
    close(first);
    assert_int_equal(connect_to(&connection, &target), CONNECTION_CONNECT_FAILED);
    assert_int_equal(connection.error, ECONNREFUSED);
    connection_destroy(&connection);
    close(epoll_fd);
}

/* When none is there, the one that is tried first says why: a local port that is not to be had must
 * not look like the other address's refusal. */
static void test_the_first_address_says_why(void **state)
{
    struct connection connection;
    uint16_t port = 0;
    (void)state;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    connection_init(&connection, epoll_fd, NULL);
    close(listen_on("127.0.0.2", &port));
    struct target target = make_target(port, 2);
    const struct sockaddr_un nowhere = {.sun_family = AF_UNIX, .sun_path = "/nowhere/at/all"};
    memcpy(&target.addresses[0].socket, &nowhere, sizeof nowhere);
    target.addresses[0].size_bytes = sizeof nowhere;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(connect_to(&connection, &target), CONNECTION_CONNECT_FAILED);
        assert_int_equal(connection.error, ENOENT);
    }
    connection_destroy(&connection);
    close(epoll_fd);
}

static void test_one_address_is_as_ever(void **state)
{
    struct connection connection;
    uint16_t port = 0;
    (void)state;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    connection_init(&connection, epoll_fd, NULL);
    int first = listen_on("127.0.0.1", &port);
    const struct target target = make_target(port, 1);
    assert_int_equal(connect_to(&connection, &target), CONNECTION_PENDING);
    connection_close(&connection);
    close(first);
    assert_int_equal(connect_to(&connection, &target), CONNECTION_CONNECT_FAILED);
    connection_destroy(&connection);
    close(epoll_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_connect_tries_what_the_name_has),
        cmocka_unit_test(test_the_first_address_says_why),
        cmocka_unit_test(test_one_address_is_as_ever),
    };
    return cmocka_run_group_tests_name("connection", tests, NULL, NULL);
}
