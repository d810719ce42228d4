/* The pool under faults and crowds, with a stub for a database. tests/fault-cases.md numbers the
 * cases. */
#include "tests/support/pool_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void pause_until(int64_t at_ns)
{
    while (clock_now_ns() < at_ns)
        clock_sleep_until(at_ns);
}

/* Six customers with equal hold times, two connections: none is served before its pair's turn. */
static void test_six_customers_on_two_connections(void **state)
{
    enum { CUSTOMERS = 6, SIZE = 2, HOLD_MS = 50 };
    struct fixture fixture;
    struct customer customers[CUSTOMERS] = {0};
    (void)state;
    open_pool(&fixture, SIZE, SIZE, 100);
    struct db_slot *first = checkout(&fixture);
    struct db_slot *second = checkout(&fixture);
    for (unsigned i = 0; i < CUSTOMERS; i++) {
        customers[i].hold_ms = HOLD_MS;
        queue_up(&customers[i], &fixture, i + 1);
    }
    db_pool_checkin(fixture.pool, &first);
    db_pool_checkin(fixture.pool, &second);
    for (int i = 0; i < CUSTOMERS; i++) {
        leave(&customers[i]);
        assert_true(customers[i].served > 0);
        assert_true(customers[i].waited_ns >= i / SIZE * HOLD_MS * CLOCK_NS_PER_MS);
    }
    assert_int_equal(stub_made(&fixture.stub), SIZE);
    close_pool(&fixture);
}

/* How long a checkout from an empty pool takes to time out, in a thread that holds nothing. */
static int64_t time_out(struct fixture *fixture, int64_t deadline_ns)
{
    struct customer customer = {.request = in_time()};
    int64_t from_ns = clock_now_ns();
    customer.request.deadline_ns = from_ns + deadline_ns;
    start_customer(&customer, fixture);
    leave(&customer);
    assert_int_equal(customer.served, -1);
    assert_int_equal(customer.failure.kind, FAILURE_CHECKOUT_TIMEOUT);
    return clock_now_ns() - from_ns;
}

/* A timeout is never early. It is late by less than half of its length, except on a busy machine,
 * so one punctual timeout of 50 is enough. */
static void check_punctual(struct fixture *fixture, int64_t deadline_ns, int64_t expected_ns)
{
    int64_t took_ns = INT64_MAX;
    for (int i = 0; i < 50 && took_ns >= expected_ns * 3 / 2; i++) {
        took_ns = time_out(fixture, deadline_ns);
        assert_true(took_ns >= expected_ns);
    }
    assert_true(took_ns < expected_ns * 3 / 2);
}

static void test_timeouts_are_punctual(void **state)
{
    struct fixture fixture;
    (void)state;
    stub_init(&fixture.stub);
    struct db_pool_config config = make_config(&fixture.stub, 1, 1);
    config.wait_queue_timeout_ns = 100 * CLOCK_NS_PER_MS;
    open_with(&fixture, &config);
    struct db_slot *slot = checkout(&fixture);
    check_punctual(&fixture, CLOCK_NS_PER_S, 100 * CLOCK_NS_PER_MS); /* the pool's own timeout */
    check_punctual(&fixture, 40 * CLOCK_NS_PER_MS, 40 * CLOCK_NS_PER_MS);
    db_pool_checkin(fixture.pool, &slot);
    close_pool(&fixture);
}

static void test_a_deadline_that_has_passed_is_an_error_at_once(void **state)
{
    struct fixture fixture;
    (void)state;
    open_pool(&fixture, 1, 1, 100);
    struct db_slot *slot = checkout(&fixture);
    int64_t least_ns = INT64_MAX;
    /* the quickest counts, as a busy machine may be slow fifty times in a row */
    int64_t give_up_ns = clock_now_ns() + TEST_PATIENCE_NS;
    for (int i = 0; i < 50 || (least_ns >= CLOCK_NS_PER_MS && clock_now_ns() < give_up_ns); i++) {
        int64_t took_ns = time_out(&fixture, i % 2 == 0 ? 0 : -CLOCK_NS_PER_S);
        least_ns = took_ns < least_ns ? took_ns : least_ns;
    }
    assert_true(least_ns < CLOCK_NS_PER_MS);
    db_pool_checkin(fixture.pool, &slot);
    (void)time_out(&fixture, -1); /* even with an idle connection, which stays idle */
    assert_int_equal(db_pool_count(fixture.pool).idle, 1);
    close_pool(&fixture);
}

static void test_a_dead_waiter_costs_nothing(void **state)
{
    enum { CUSTOMERS = 3, DEAD = 1 };
    struct fixture fixture;
    struct customer customers[CUSTOMERS] = {0};
    (void)state;
    open_pool(&fixture, 1, 1, 100);
    struct db_slot *slot = checkout(&fixture);
    for (unsigned i = 0; i < CUSTOMERS; i++) {
        customers[i].request = in_time();
        if (i == DEAD)
            customers[i].request.deadline_ns = clock_now_ns() + CLOCK_NS_PER_S / 2;
        queue_up(&customers[i], &fixture, i + 1);
    }
    wait_until(atomic_load(&customers[DEAD].served) == -1);
    assert_int_equal(db_pool_count(fixture.pool).waiting, CUSTOMERS - 1);
    db_pool_checkin(fixture.pool, &slot);
    for (unsigned i = 0; i < CUSTOMERS; i++) {
        leave(&customers[i]);
        assert_true(i == DEAD || customers[i].served > 0);
    }
    assert_int_equal(stub_made(&fixture.stub), 1);
    close_pool(&fixture);
}

/* The caller gives up during the connect. The connection is still made, for the next caller. */
static void test_an_abandoned_connect_is_not_lost(void **state)
{
    struct fixture fixture;
    (void)state;
    open_pool(&fixture, 2, 1, 100);
    stub_set_gate(&fixture.stub, true);
    (void)time_out(&fixture, CLOCK_NS_PER_S); /* long enough for the connect to begin */
    wait_until(stub_connecting(&fixture.stub) == 1);
    stub_set_gate(&fixture.stub, false);
    wait_until(db_pool_count(fixture.pool).idle == 1);
    struct db_slot *slot = checkout(&fixture);
    assert_int_equal(stub_made(&fixture.stub), 1);
    db_pool_checkin(fixture.pool, &slot);
    close_pool(&fixture);
}

static void test_close_in_the_middle_of_a_connect(void **state)
{
    struct fixture fixture;
    struct customer customer = {0};
    (void)state;
    open_pool(&fixture, 2, 1, 100);
    stub_set_gate(&fixture.stub, true);
    queue_up(&customer, &fixture, 1);
    wait_until(stub_connecting(&fixture.stub) == 1);
    db_pool_close(fixture.pool);
    assert_int_equal(fixture.stub.given_up, 1);
    leave(&customer);
    assert_int_equal(customer.served, -1);
    assert_non_null(strstr(customer.failure.message, "closed connection pool"));
    assert_int_equal(stub_made(&fixture.stub), 0);
    db_pool_close(fixture.pool);
    close_pool(&fixture);
}

/* ---- crowds ---- */

enum { CROWD = 300 };

static struct customer crowd[CROWD];

/* Starts the whole crowd at once, with one deadline for all. */
static void start_crowd(struct fixture *fixture, int64_t deadline_ns, int64_t hold_ms)
{
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = (struct customer){.hold_ms = hold_ms, .request = in_time()};
        crowd[i].request.deadline_ns = deadline_ns;
        start_customer(&crowd[i], fixture);
    }
}

/* Joins them all, and returns how many were served. */
static int end_crowd(void)
{
    int served = 0;
    for (int i = 0; i < CROWD; i++) {
        leave(&crowd[i]);
        served += crowd[i].served > 0;
        assert_true(crowd[i].served > 0 || crowd[i].failure.kind == FAILURE_CHECKOUT_TIMEOUT);
    }
    return served;
}

/* All customers time out together and come again, while half of the connections turn out broken.
 * Neither the connects at a time nor the connections exceed their limits. */
static void test_a_herd_times_out_and_comes_again(void **state)
{
    enum { SIZE = 20, CONNECTING = 2 };
    struct fixture fixture;
    struct db_slot *slots[SIZE];
    (void)state;
    stub_init(&fixture.stub);
    fixture.stub.connect_ns = 3 * CLOCK_NS_PER_MS;
    struct db_pool_config config = make_config(&fixture.stub, SIZE, CONNECTING);
    open_with(&fixture, &config);
    for (int i = 0; i < SIZE; i++)
        slots[i] = checkout(&fixture);
    start_crowd(&fixture, clock_now_ns() + CLOCK_NS_PER_S / 2, 1);
    assert_int_equal(end_crowd(), 0);
    assert_int_equal(db_pool_count(fixture.pool).waiting, 0);
    start_crowd(&fixture, clock_now_ns() + TEST_PATIENCE_NS, 1);
    for (int i = 0; i < SIZE; i++) {
        struct stub_connection *connection = db_slot_connection(slots[i]);
        if (i % 2 == 0)
            atomic_store(&connection->state, DB_CONN_BROKEN);
        db_pool_checkin(fixture.pool, &slots[i]);
    }
    assert_int_equal(end_crowd(), CROWD);
    wait_until(db_pool_count(fixture.pool).connecting == 0);
    assert_in_range(fixture.stub.most_connecting, 1, CONNECTING);
    assert_int_equal(fixture.stub.most_open, SIZE);
    close_pool(&fixture);
}

/* The CPU time of all threads but this one. */
static int64_t others_cpu_ns(void)
{
    struct rusage all;
    struct rusage own;
    getrusage(RUSAGE_SELF, &all);
    getrusage(RUSAGE_THREAD, &own);
    int64_t seconds =
        all.ru_utime.tv_sec + all.ru_stime.tv_sec - own.ru_utime.tv_sec - own.ru_stime.tv_sec;
    int64_t us =
        all.ru_utime.tv_usec + all.ru_stime.tv_usec - own.ru_utime.tv_usec - own.ru_stime.tv_usec;
    return seconds * CLOCK_NS_PER_S + us * CLOCK_NS_PER_US;
}

static void test_waiters_at_rest_burn_nothing(void **state)
{
    struct fixture fixture;
    const int64_t watched_ns = 2 * CLOCK_NS_PER_S;
    (void)state;
    open_pool(&fixture, 1, 1, 100);
    struct db_slot *slot = checkout(&fixture);
    start_crowd(&fixture, clock_now_ns() + TEST_PATIENCE_NS, 0);
    wait_until(db_pool_count(fixture.pool).waiting == CROWD);
    int64_t before_ns = others_cpu_ns();
    pause_until(clock_now_ns() + watched_ns);
    int64_t burnt_ns = others_cpu_ns() - before_ns;
#ifdef __SANITIZE_THREAD__
    enum { ONE_IN = 20 }; /* the sanitizer has a thread of its own */
#else
    enum { ONE_IN = 100 };
#endif
    if (burnt_ns >= watched_ns / ONE_IN)
        fail_msg("%lld us of CPU in 2 s", (long long)(burnt_ns / CLOCK_NS_PER_US));
    for (int i = 0; i < CROWD; i++)
        atomic_store(&crowd[i].give_back, true);
    db_pool_checkin(fixture.pool, &slot);
    assert_int_equal(end_crowd(), CROWD);
    close_pool(&fixture);
}

/* ---- more load than the pool can bear, and less again ---- */

struct worker {
    struct fixture *fixture;
    pthread_t thread;
    _Atomic bool stop;
};

static _Atomic unsigned served_in_a_row, late;
static _Atomic int64_t held_ns;

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    while (!atomic_load(&worker->stop)) {
        struct failure failure;
        struct db_slot *slot;
        struct db_checkout request = in_time();
        request.deadline_ns = clock_now_ns() + 100 * CLOCK_NS_PER_MS;
        if (!db_pool_checkout(worker->fixture->pool, &request, &slot, &failure)) {
            assert(failure.kind == FAILURE_CHECKOUT_TIMEOUT);
            atomic_store(&served_in_a_row, 0);
            atomic_fetch_add(&late, 1);
            continue;
        }
        int64_t from_ns = clock_now_ns();
        pause_until(from_ns + 10 * CLOCK_NS_PER_MS);
        atomic_fetch_add(&held_ns, clock_now_ns() - from_ns);
        db_pool_checkin(worker->fixture->pool, &slot);
        atomic_fetch_add(&served_in_a_row, 1);
    }
    return NULL;
}

/* Timeouts begin and end with the overload. Meanwhile the connections stay in use. */
static void test_overload_comes_and_goes(void **state)
{
    enum { SIZE = 2, MANY = 60 };
    static struct worker workers[MANY];
    struct fixture fixture;
    (void)state;
    open_pool(&fixture, SIZE, 1, 100);
    for (int i = 0; i < MANY; i++) {
        if (i == SIZE)
            wait_until(atomic_load(&served_in_a_row) >= 20);
        workers[i].fixture = &fixture;
        atomic_store(&workers[i].stop, false);
        CHECK_PTHREAD(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]));
    }
    wait_until(atomic_load(&late) > MANY);
    int64_t from_ns = clock_now_ns();
    atomic_store(&held_ns, 0);
    pause_until(from_ns + CLOCK_NS_PER_S / 2);
    int64_t used_ns = atomic_load(&held_ns);
    assert_true(used_ns > SIZE * (clock_now_ns() - from_ns) / 2);
    for (int i = SIZE; i < MANY; i++)
        atomic_store(&workers[i].stop, true);
    for (int i = SIZE; i < MANY; i++)
        CHECK_PTHREAD(pthread_join(workers[i].thread, NULL));
    atomic_store(&served_in_a_row, 0);
    wait_until(atomic_load(&served_in_a_row) >= 50);
    for (int i = 0; i < SIZE; i++)
        atomic_store(&workers[i].stop, true);
    for (int i = 0; i < SIZE; i++)
        CHECK_PTHREAD(pthread_join(workers[i].thread, NULL));
    assert_int_equal(stub_made(&fixture.stub), SIZE);
    close_pool(&fixture);
}

/* ---- misuse ---- */

typedef void misuse(struct db_pool *pool, struct db_pool *other);

static void check_in_twice(struct db_pool *pool, struct db_pool *other)
{
    struct db_slot *slot;
    struct failure failure;
    struct db_checkout request = in_time();
    (void)other;
    if (!db_pool_checkout(pool, &request, &slot, &failure))
        _exit(1);
    struct db_slot *again = slot;
    db_pool_checkin(pool, &slot);
    db_pool_checkin(pool, &again);
}

static void check_in_elsewhere(struct db_pool *pool, struct db_pool *other)
{
    struct db_slot *slot;
    struct failure failure;
    struct db_checkout request = in_time();
    if (!db_pool_checkout(pool, &request, &slot, &failure))
        _exit(1);
    db_pool_checkin(other, &slot);
}

static void free_while_open(struct db_pool *pool, struct db_pool *other)
{
    (void)other;
    (void)db_pool_free(pool);
}

/* The wait status of a child that runs `act`. The child has this thread alone, so it needs an idle
 * connection. */
static int status_of(misuse *act, struct db_pool *pool, struct db_pool *other)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
        act(pool, other);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void test_misuse_ends_the_process(void **state)
{
    misuse *const kinds[] = {check_in_twice, check_in_elsewhere, free_while_open};
    struct fixture fixture;
    struct fixture other;
    (void)state;
    open_pool(&fixture, 1, 1, 100);
    open_pool(&other, 1, 1, 100);
    struct db_slot *slot = checkout(&fixture);
    db_pool_checkin(fixture.pool, &slot);
    assert_null(slot); /* so that it cannot be used after its return */
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        int status = status_of(kinds[i], fixture.pool, other.pool);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
    }
    close_pool(&other);
    close_pool(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_six_customers_on_two_connections),
        cmocka_unit_test(test_timeouts_are_punctual),
        cmocka_unit_test(test_a_deadline_that_has_passed_is_an_error_at_once),
        cmocka_unit_test(test_a_dead_waiter_costs_nothing),
        cmocka_unit_test(test_an_abandoned_connect_is_not_lost),
        cmocka_unit_test(test_close_in_the_middle_of_a_connect),
        cmocka_unit_test(test_a_herd_times_out_and_comes_again),
        cmocka_unit_test(test_waiters_at_rest_burn_nothing),
        cmocka_unit_test(test_overload_comes_and_goes),
        cmocka_unit_test(test_misuse_ends_the_process),
    };
    return cmocka_run_group_tests_name("db_pool_faults", tests, NULL, NULL);
}
