/* The pool with a stub for a database: order, bounds, deadlines, hand-over, draining, failing
 * connects, closing. */
#include "tests/unit/support.h"

#include "service/db_pool.h"
#include "service/variants/admission.h"
#include "tests/unit/stub_connector.h"

#include <stdatomic.h>

struct fixture {
    struct stub stub;
    struct db_pool *pool;
};

static void open_pool(struct fixture *fixture, unsigned max_size, unsigned max_connecting,
                      int64_t drain_ms)
{
    struct failure failure;
    stub_init(&fixture->stub);
    const struct db_pool_config config = {.max_size = max_size,
                                          .max_connecting = max_connecting,
                                          .connect_timeout_ns = CLOCK_NS_PER_S,
                                          .drain_timeout_ns = drain_ms * CLOCK_NS_PER_MS,
                                          .connector = stub_connector(&fixture->stub)};
    fixture->pool = db_pool_open(&config, &failure);
    assert_non_null(fixture->pool);
}

/* Every test ends here: nothing checked out, nothing open. */
static void close_pool(struct fixture *fixture)
{
    assert_true(db_pool_close(fixture->pool));
    assert_int_equal(fixture->stub.open, 0);
}

static struct db_checkout in_time(void)
{
    return (struct db_checkout){.deadline_ns = clock_now_ns() + TEST_PATIENCE_NS,
                                .admit = admission_deadline.admit,
                                .call_site = "test",
                                .query = "none"};
}

static struct db_lease *checkout(struct fixture *fixture)
{
    struct db_lease *lease;
    struct failure failure;
    struct db_checkout request = in_time();
    if (!db_pool_checkout(fixture->pool, &request, &lease, &failure))
        fail_msg("checkout: %s", failure.message);
    return lease;
}

/* A thread that checks out, and holds until it is told to go on. */
struct customer {
    struct fixture *fixture;
    struct db_checkout request;
    pthread_t thread;
    _Atomic int served; /* 0 waiting, otherwise its turn from 1, or -1: failed */
    _Atomic bool give_back;
    struct failure failure;
    int64_t waited_ns;
};

static _Atomic int turns;

static void *customer_main(void *argument)
{
    struct customer *customer = argument;
    struct db_lease *lease;
    int64_t from_ns = clock_now_ns();
    bool ok =
        db_pool_checkout(customer->fixture->pool, &customer->request, &lease, &customer->failure);
    customer->waited_ns = clock_now_ns() - from_ns;
    atomic_store(&customer->served, ok ? atomic_fetch_add(&turns, 1) + 1 : -1);
    if (ok) {
        while (!atomic_load(&customer->give_back))
            clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS / 5);
        db_pool_checkin(customer->fixture->pool, &lease);
    }
    return NULL;
}

/* Starts a customer and returns when it stands in the queue as the `place`th. */
static void queue_up(struct customer *customer, struct fixture *fixture, unsigned place)
{
    customer->fixture = fixture;
    if (!customer->request.admit)
        customer->request = in_time();
    CHECK_PTHREAD(pthread_create(&customer->thread, NULL, customer_main, customer));
    wait_until(db_pool_count(fixture->pool).waiting == place);
}

static void leave(struct customer *customer)
{
    atomic_store(&customer->give_back, true);
    CHECK_PTHREAD(pthread_join(customer->thread, NULL));
}

static void test_first_come_first_served(void **state)
{
    enum { CUSTOMERS = 5 };
    struct fixture fixture;
    struct customer customers[CUSTOMERS] = {0};
    (void)state;
    open_pool(&fixture, 1, 2, 100);
    struct db_lease *lease = checkout(&fixture);
    atomic_store(&turns, 0);
    for (unsigned i = 0; i < CUSTOMERS; i++)
        queue_up(&customers[i], &fixture, i + 1);
    db_pool_checkin(fixture.pool, &lease);
    assert_null(lease);
    for (int i = 0; i < CUSTOMERS; i++) {
        wait_until(atomic_load(&customers[i].served) != 0);
        assert_int_equal(customers[i].served, i + 1);
        leave(&customers[i]);
    }
    assert_int_equal(stub_made(&fixture.stub), 1);
    close_pool(&fixture);
}

static void test_checkout_times_out_by_its_deadline(void **state)
{
    struct fixture fixture;
    struct failure failure;
    struct db_lease *other;
    struct db_checkout request = in_time();
    (void)state;
    open_pool(&fixture, 1, 1, 100);
    struct db_lease *lease = checkout(&fixture);
    request.deadline_ns = clock_now_ns() + 50 * CLOCK_NS_PER_MS;
    assert_false(db_pool_checkout(fixture.pool, &request, &other, &failure));
    assert_null(other);
    assert_true(clock_now_ns() >= request.deadline_ns);
    assert_int_equal(failure.kind, FAILURE_CHECKOUT_TIMEOUT);
    assert_string_equal(failure.message,
                        "timed out while checking out a connection from connection pool");
    assert_int_equal(db_pool_count(fixture.pool).waiting, 0);
    db_pool_checkin(fixture.pool, &lease);
    assert_int_equal(db_pool_count(fixture.pool).idle, 1);
    close_pool(&fixture);
}

static bool never(int64_t deadline_ns, int64_t now_ns)
{
    (void)deadline_ns, (void)now_ns;
    return false;
}

/* The first in the queue may not have it any more: `deadline` gives it to the second, `blind` to
 * the first. */
static void hand_over_past_a_late_waiter(db_pool_admit *late_admit, bool first_is_served)
{
    struct fixture fixture;
    struct customer first = {0};
    struct customer second = {0};
    open_pool(&fixture, 1, 1, 100);
    struct db_lease *lease = checkout(&fixture);
    first.request = in_time();
    first.request.admit = late_admit;
    first.request.deadline_ns = clock_now_ns() + 2 * CLOCK_NS_PER_S;
    atomic_store(&turns, 0);
    queue_up(&first, &fixture, 1);
    queue_up(&second, &fixture, 2);
    db_pool_checkin(fixture.pool, &lease);
    struct customer *served = first_is_served ? &first : &second;
    wait_until(atomic_load(&served->served) == 1);
    leave(served);
    leave(first_is_served ? &second : &first);
    assert_int_equal(first_is_served ? second.served : first.served, first_is_served ? 2 : -1);
    close_pool(&fixture);
}

static void test_admission_deadline_passes_the_late_by(void **state)
{
    (void)state;
    assert_false(admission_deadline.admit(100, 100));
    assert_true(admission_deadline.admit(101, 100));
    hand_over_past_a_late_waiter(never, false);
}

static void test_admission_blind_serves_the_late(void **state)
{
    (void)state;
    assert_true(admission_blind.admit(100, 200));
    hand_over_past_a_late_waiter(admission_blind.admit, true);
}

static void test_busy_connection_is_drained_and_reused(void **state)
{
    struct fixture fixture;
    struct customer next = {0};
    (void)state;
    open_pool(&fixture, 1, 1, 10000);
    struct db_lease *lease = checkout(&fixture);
    struct stub_connection *connection = db_lease_connection(lease);
    atomic_store(&connection->state, DB_CONN_BUSY);
    atomic_store(&connection->next_state, DB_CONN_BUSY);
    queue_up(&next, &fixture, 1);
    db_pool_checkin(fixture.pool, &lease);
    assert_int_equal(db_pool_count(fixture.pool).draining, 1);
    assert_int_equal(atomic_load(&next.served), 0);
    stub_answer(connection, DB_CONN_IDLE);
    wait_until(atomic_load(&next.served) > 0);
    leave(&next);
    assert_int_equal(stub_made(&fixture.stub), 1);
    close_pool(&fixture);
}

static void test_connection_that_does_not_drain_is_replaced(void **state)
{
    struct fixture fixture;
    struct customer next = {0};
    (void)state;
    open_pool(&fixture, 1, 1, 30);
    struct db_lease *lease = checkout(&fixture);
    struct stub_connection *connection = db_lease_connection(lease);
    atomic_store(&connection->state, DB_CONN_BUSY);
    atomic_store(&connection->next_state, DB_CONN_BUSY);
    queue_up(&next, &fixture, 1);
    db_pool_checkin(fixture.pool, &lease);
    wait_until(atomic_load(&next.served) > 0);
    leave(&next);
    assert_int_equal(stub_made(&fixture.stub), 2);
    assert_int_equal(stub_closed(&fixture.stub), 1);
    assert_int_equal(fixture.stub.most_open, 1);
    close_pool(&fixture);
}

static void test_broken_connections_are_replaced(void **state)
{
    struct fixture fixture;
    (void)state;
    open_pool(&fixture, 2, 1, 100);
    struct db_lease *lease = checkout(&fixture);
    struct stub_connection *connection = db_lease_connection(lease);
    atomic_store(&connection->state, DB_CONN_BROKEN); /* it broke in use */
    db_pool_checkin(fixture.pool, &lease);
    assert_int_equal(stub_closed(&fixture.stub), 1);
    lease = checkout(&fixture);
    connection = db_lease_connection(lease);
    db_pool_checkin(fixture.pool, &lease);
    stub_answer(connection, DB_CONN_BROKEN); /* it died while it lay idle */
    lease = checkout(&fixture);
    assert_int_equal(stub_closed(&fixture.stub), 2);
    assert_int_equal(stub_made(&fixture.stub), 3);
    db_pool_checkin(fixture.pool, &lease);
    close_pool(&fixture);
}

/* The first in the queue is handed a connection that has died: it queues again, behind the second,
 * and both are served. */
static void test_dead_on_hand_over(void **state)
{
    struct fixture fixture;
    struct customer first = {0};
    struct customer second = {0};
    (void)state;
    open_pool(&fixture, 1, 1, 100);
    struct db_lease *lease = checkout(&fixture);
    struct stub_connection *connection = db_lease_connection(lease);
    atomic_store(&turns, 0);
    queue_up(&first, &fixture, 1);
    queue_up(&second, &fixture, 2);
    atomic_store(&connection->next_state, DB_CONN_BROKEN);
    db_pool_checkin(fixture.pool, &lease);
    wait_until(atomic_load(&second.served) == 1);
    leave(&second);
    wait_until(atomic_load(&first.served) == 2);
    leave(&first);
    assert_int_equal(stub_made(&fixture.stub), 2);
    close_pool(&fixture);
}

static void test_connecting_blocks_nobody_and_is_bounded(void **state)
{
    enum { CUSTOMERS = 6 };
    struct fixture fixture;
    struct customer customers[CUSTOMERS] = {0};
    (void)state;
    open_pool(&fixture, 10, 2, 100);
    struct db_lease *lease = checkout(&fixture);
    stub_set_gate(&fixture.stub, true);
    for (unsigned i = 0; i < CUSTOMERS; i++)
        queue_up(&customers[i], &fixture, i + 1);
    wait_until(stub_connecting(&fixture.stub) == 2);
    /* with both connects stuck, a check-in still serves the first in the queue */
    db_pool_checkin(fixture.pool, &lease);
    wait_until(atomic_load(&customers[0].served) > 0);
    stub_set_gate(&fixture.stub, false);
    for (unsigned i = 0; i < CUSTOMERS; i++) {
        wait_until(atomic_load(&customers[i].served) > 0);
        leave(&customers[i]);
    }
    assert_int_equal(fixture.stub.most_connecting, 2);
    close_pool(&fixture);
}

static void test_failed_connect_refuses_waiters_and_recovers(void **state)
{
    struct fixture fixture;
    struct failure failure;
    struct db_lease *lease;
    struct db_checkout request = in_time();
    (void)state;
    open_pool(&fixture, 3, 2, 100);
    stub_fail_connects(&fixture.stub, 3);
    assert_false(db_pool_checkout(fixture.pool, &request, &lease, &failure));
    assert_int_equal(failure.kind, FAILURE_UNAVAILABLE);
    assert_string_equal(failure.message, "connect to stub failed: told to");
    /* nobody asks, and yet it goes on trying until the database is back */
    wait_until(db_pool_count(fixture.pool).idle == 1);
    lease = checkout(&fixture);
    db_pool_checkin(fixture.pool, &lease);
    close_pool(&fixture);
}

static void test_failed_connect_lets_waiters_hope_for_a_check_in(void **state)
{
    struct fixture fixture;
    struct customer customer = {0};
    (void)state;
    open_pool(&fixture, 2, 1, 100);
    struct db_lease *lease = checkout(&fixture);
    stub_fail_connects(&fixture.stub, 1000);
    queue_up(&customer, &fixture, 1);
    wait_until(stub_failures_left(&fixture.stub) < 999);
    assert_int_equal(atomic_load(&customer.served), 0);
    db_pool_checkin(fixture.pool, &lease);
    wait_until(atomic_load(&customer.served) > 0);
    stub_fail_connects(&fixture.stub, 0);
    leave(&customer);
    close_pool(&fixture);
}

static void test_close_turns_waiters_away(void **state)
{
    struct fixture fixture;
    struct customer customer = {0};
    (void)state;
    open_pool(&fixture, 1, 1, 100);
    struct db_lease *lease = checkout(&fixture);
    queue_up(&customer, &fixture, 1);
    assert_false(db_pool_close(fixture.pool)); /* one is still out */
    wait_until(atomic_load(&customer.served) == -1);
    leave(&customer);
    assert_int_equal(customer.failure.kind, FAILURE_UNAVAILABLE);
    assert_string_equal(customer.failure.message,
                        "attempted to check out a connection from closed connection pool");
    db_pool_checkin(fixture.pool, &lease); /* closed on its return */
    assert_int_equal(stub_closed(&fixture.stub), 1);
    close_pool(&fixture);
}

static void test_holders_are_named(void **state)
{
    struct fixture fixture;
    struct db_holder holders[2];
    (void)state;
    open_pool(&fixture, 2, 1, 100);
    struct db_lease *lease = checkout(&fixture);
    assert_int_equal(db_pool_holders(fixture.pool, holders, 2), 1);
    assert_int_equal(holders[0].connection_id, 1);
    assert_int_equal(holders[0].backend_pid, 1);
    assert_string_equal(holders[0].call_site, "test");
    assert_true(holders[0].tid > 0);
    db_pool_checkin(fixture.pool, &lease);
    assert_int_equal(db_pool_holders(fixture.pool, holders, 2), 0);
    close_pool(&fixture);
}

/* Deadlines that fall together with hand-overs, again and again: nothing is lost, nothing is owned
 * twice. */
enum { RACERS = 8, RACES = 4000 };

struct racer {
    struct fixture *fixture;
    db_pool_admit *admit;
    unsigned seed;
    unsigned served, late;
    pthread_t thread;
};

static void *racer_main(void *argument)
{
    struct racer *racer = argument;
    for (unsigned i = 0; i < RACES; i++) {
        struct failure failure;
        struct db_lease *lease;
        struct db_checkout request = in_time();
        racer->seed = racer->seed * 1103515245U + 12345U;
        request.deadline_ns = clock_now_ns() + (racer->seed >> 16) % 60 * CLOCK_NS_PER_US;
        request.admit = racer->admit;
        if (!db_pool_checkout(racer->fixture->pool, &request, &lease, &failure)) {
            assert(failure.kind == FAILURE_CHECKOUT_TIMEOUT && !lease);
            racer->late++;
            continue;
        }
        struct stub_connection *connection = db_lease_connection(lease);
        unsigned owners = atomic_fetch_add(&connection->owners, 1);
        assert(owners == 0);
        racer->served++;
        atomic_fetch_sub(&connection->owners, 1);
        db_pool_checkin(racer->fixture->pool, &lease);
    }
    return NULL;
}

static void race(db_pool_admit *admit)
{
    struct fixture fixture;
    struct racer racers[RACERS] = {0};
    unsigned served = 0;
    unsigned late = 0;
    open_pool(&fixture, 2, 2, 100);
    for (unsigned i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.fixture = &fixture, .admit = admit, .seed = i + 1};
        CHECK_PTHREAD(pthread_create(&racers[i].thread, NULL, racer_main, &racers[i]));
    }
    for (unsigned i = 0; i < RACERS; i++) {
        CHECK_PTHREAD(pthread_join(racers[i].thread, NULL));
        served += racers[i].served;
        late += racers[i].late;
    }
    struct db_pool_counts counts = db_pool_count(fixture.pool);
    assert_int_equal(served + late, RACERS * RACES);
    assert_true(served > 0);
    assert_int_equal(counts.in_use, 0);
    assert_int_equal(counts.waiting, 0);
    wait_until(db_pool_count(fixture.pool).connecting == 0);
    assert_true(fixture.stub.most_open <= 2);
    close_pool(&fixture);
}

static void test_race_of_timeout_and_hand_over(void **state)
{
    (void)state;
    race(admission_deadline.admit);
    race(admission_blind.admit);
}

static void test_min_size_is_kept_open(void **state)
{
    struct fixture fixture;
    struct failure failure;
    (void)state;
    stub_init(&fixture.stub);
    const struct db_pool_config config = {.max_size = 5,
                                          .min_size = 3,
                                          .max_connecting = 2,
                                          .connect_timeout_ns = CLOCK_NS_PER_S,
                                          .drain_timeout_ns = CLOCK_NS_PER_S,
                                          .connector = stub_connector(&fixture.stub)};
    fixture.pool = db_pool_open(&config, &failure);
    assert_non_null(fixture.pool);
    wait_until(db_pool_count(fixture.pool).idle == 3);
    assert_int_equal(stub_made(&fixture.stub), 3);
    close_pool(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_come_first_served),
        cmocka_unit_test(test_checkout_times_out_by_its_deadline),
        cmocka_unit_test(test_admission_deadline_passes_the_late_by),
        cmocka_unit_test(test_admission_blind_serves_the_late),
        cmocka_unit_test(test_busy_connection_is_drained_and_reused),
        cmocka_unit_test(test_connection_that_does_not_drain_is_replaced),
        cmocka_unit_test(test_broken_connections_are_replaced),
        cmocka_unit_test(test_dead_on_hand_over),
        cmocka_unit_test(test_connecting_blocks_nobody_and_is_bounded),
        cmocka_unit_test(test_failed_connect_refuses_waiters_and_recovers),
        cmocka_unit_test(test_failed_connect_lets_waiters_hope_for_a_check_in),
        cmocka_unit_test(test_close_turns_waiters_away),
        cmocka_unit_test(test_holders_are_named),
        cmocka_unit_test(test_race_of_timeout_and_hand_over),
        cmocka_unit_test(test_min_size_is_kept_open),
    };
    return cmocka_run_group_tests_name("db_pool", tests, NULL, NULL);
}
