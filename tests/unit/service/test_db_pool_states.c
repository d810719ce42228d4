/* The pool's states and a connection's end: clear and generations, interruption, age, proof of
 * life, rollback, cancelling, closing; with a stub for a database. */
#include "tests/support/pool_fixture.h"

static const struct failure broken = {.kind = FAILURE_DATABASE, .message = "the network is down"};

/* Expects a checkout to fail at once. */
static struct failure refused(struct fixture *fixture)
{
    struct db_slot *slot;
    struct failure failure = {0};
    struct db_checkout request = in_time();
    assert_false(db_pool_checkout(fixture->pool, &request, &slot, &failure));
    assert_null(slot);
    return failure;
}

static void test_paused_until_ready(void **state)
{
    struct fixture fixture;
    struct failure failure;
    (void)state;
    stub_init(&fixture.stub);
    struct db_pool_config config = make_config(&fixture.stub, 3, 2);
    config.min_size = 2;
    fixture.pool = db_pool_open(&config, &failure);
    assert_int_equal(db_pool_count(fixture.pool).state, DB_POOL_PAUSED);
    failure = refused(&fixture);
    assert_int_equal(failure.kind, FAILURE_UNAVAILABLE);
    assert_non_null(strstr(failure.message, "it has not been ready yet"));
    assert_int_equal(stub_made(&fixture.stub), 0);
    db_pool_ready(fixture.pool);
    wait_until(db_pool_count(fixture.pool).idle == 2);
    close_pool(&fixture);
}

/* Connections of the old generation end when they come back. The pool then finds the database by
 * itself, without a monitor that calls ready(). */
static void test_clear_and_recovery(void **state)
{
    struct fixture fixture;
    struct customer customer = {0};
    (void)state;
    open_pool(&fixture, 2, 1, 100);
    struct db_slot *first = checkout(&fixture);
    struct db_slot *second = checkout(&fixture);
    queue_up(&customer, &fixture, 1);
    stub_set_gate(&fixture.stub, true);
    db_pool_clear(fixture.pool, &broken, false);
    leave(&customer);
    assert_int_equal(customer.served, -1);
    assert_string_equal(customer.failure.message,
                        "connection pool for stub:1 was cleared because another operation failed "
                        "with: the network is down");
    assert_int_equal(db_pool_count(fixture.pool).state, DB_POOL_PAUSED);
    assert_non_null(strstr(refused(&fixture).message, "the network is down"));
    db_pool_checkin(fixture.pool, &first);
    db_pool_checkin(fixture.pool, &second);
    wait_until(stub_closed(&fixture.stub) == 2);
    wait_until(stub_connecting(&fixture.stub) == 1); /* a slot is free, so the prober tries */
    stub_set_gate(&fixture.stub, false);
    wait_until(db_pool_count(fixture.pool).state == DB_POOL_READY);
    assert_int_equal(db_pool_count(fixture.pool).generation, 1);
    first = checkout(&fixture);
    db_pool_checkin(fixture.pool, &first);
    close_pool(&fixture);
}

static void test_clear_with_interrupt(void **state)
{
    struct fixture fixture;
    struct customer customer = {0};
    (void)state;
    open_pool(&fixture, 2, 1, 100);
    struct db_slot *slot = checkout(&fixture);
    struct stub_connection *connection = db_slot_connection(slot);
    stub_set_gate(&fixture.stub, true);
    queue_up(&customer, &fixture, 1);
    wait_until(stub_connecting(&fixture.stub) == 1);
    db_pool_clear(fixture.pool, &broken, true);
    assert_true(atomic_load(&connection->interrupted));
    wait_until(stub_given_up(&fixture.stub) >= 1);
    leave(&customer);
    assert_int_equal(customer.served, -1);
    db_pool_checkin(fixture.pool, &slot);
    wait_until(stub_closed(&fixture.stub) == 1);
    stub_set_gate(&fixture.stub, false);
    wait_until(db_pool_count(fixture.pool).state == DB_POOL_READY);
    close_pool(&fixture);
}

static void give_back_outdated(struct fixture *fixture, struct db_slot **slot)
{
    struct stub_connection *connection = db_slot_connection(*slot);
    atomic_store(&connection->state, DB_CONN_OUTDATED);
    db_pool_checkin(fixture->pool, slot);
}

/* One such error replaces all connections once. The pool stays ready, and its waiters get new ones.
 */
static void test_an_outdated_connection_replaces_all(void **state)
{
    struct fixture fixture;
    struct customer customer = {0};
    (void)state;
    open_pool(&fixture, 3, 1, 100);
    struct db_slot *slots[] = {checkout(&fixture), checkout(&fixture), checkout(&fixture)};
    queue_up(&customer, &fixture, 1);
    give_back_outdated(&fixture, &slots[0]);
    wait_until(atomic_load(&customer.served) > 0);
    assert_int_equal(stub_made(&fixture.stub), 4);
    assert_int_equal(db_pool_count(fixture.pool).state, DB_POOL_READY);
    assert_int_equal(db_pool_count(fixture.pool).generation, 1);
    give_back_outdated(&fixture, &slots[1]); /* of the generation before: nothing new */
    db_pool_checkin(fixture.pool, &slots[2]);
    wait_until(stub_closed(&fixture.stub) == 3);
    assert_int_equal(db_pool_count(fixture.pool).generation, 1);
    leave(&customer);
    struct db_slot *again = checkout(&fixture);
    assert_int_equal(stub_made(&fixture.stub), 4);
    db_pool_checkin(fixture.pool, &again);
    close_pool(&fixture);
}

static void test_age_ends_connections(void **state)
{
    struct fixture fixture;
    (void)state;
    for (int by_lifetime = 0; by_lifetime < 2; by_lifetime++) {
        stub_init(&fixture.stub);
        struct db_pool_config config = make_config(&fixture.stub, 2, 1);
        config.background_interval_ns = 5 * CLOCK_NS_PER_MS;
        *(by_lifetime ? &config.max_lifetime_ns : &config.max_idle_ns) = 30 * CLOCK_NS_PER_MS;
        open_with(&fixture, &config);
        struct db_slot *slot = checkout(&fixture);
        db_pool_checkin(fixture.pool, &slot);
        wait_until(stub_closed(&fixture.stub) == 1);
        close_pool(&fixture);
    }
}

/* Connections that are made together do not all end together. */
static void test_lifetimes_differ(void **state)
{
    enum { MANY = 40 };
    struct fixture fixture;
    (void)state;
    stub_init(&fixture.stub);
    struct db_pool_config config = make_config(&fixture.stub, MANY, 10);
    config.min_size = MANY;
    config.background_interval_ns = CLOCK_NS_PER_MS;
    config.max_lifetime_ns = 2 * CLOCK_NS_PER_S;
    open_with(&fixture, &config);
    wait_until(stub_made(&fixture.stub) >= MANY);
    wait_until(stub_closed(&fixture.stub) >= 1);
    int64_t first_ns = clock_now_ns();
    wait_until(stub_closed(&fixture.stub) >= MANY);
    assert_true(clock_now_ns() - first_ns > 100 * CLOCK_NS_PER_MS);
    close_pool(&fixture);
}

static void test_proved_after_long_idle(void **state)
{
    struct fixture fixture;
    (void)state;
    stub_init(&fixture.stub);
    struct db_pool_config config = make_config(&fixture.stub, 2, 1);
    config.prove_after_idle_ns = 10 * CLOCK_NS_PER_MS;
    open_with(&fixture, &config);
    struct db_slot *slot = checkout(&fixture);
    db_pool_checkin(fixture.pool, &slot);
    int64_t back_ns = clock_now_ns();
    wait_until(clock_now_ns() > back_ns + 20 * CLOCK_NS_PER_MS);
    slot = checkout(&fixture);
    assert_int_equal(fixture.stub.proofs, 1);
    assert_int_equal(stub_made(&fixture.stub), 1);
    db_pool_checkin(fixture.pool, &slot);
    atomic_store(&fixture.stub.proofs_fail, true);
    back_ns = clock_now_ns();
    wait_until(clock_now_ns() > back_ns + 20 * CLOCK_NS_PER_MS);
    slot = checkout(&fixture);
    assert_int_equal(stub_made(&fixture.stub), 2);
    db_pool_checkin(fixture.pool, &slot);
    close_pool(&fixture);
}

static void test_rolled_back_before_the_next(void **state)
{
    struct fixture fixture;
    (void)state;
    open_pool(&fixture, 1, 1, 10000);
    struct db_slot *slot = checkout(&fixture);
    struct stub_connection *connection = db_slot_connection(slot);
    atomic_store(&connection->state, DB_CONN_IN_TRANSACTION);
    atomic_store(&connection->next_state, DB_CONN_IN_TRANSACTION);
    db_pool_checkin(fixture.pool, &slot);
    slot = checkout(&fixture);
    assert_int_equal(fixture.stub.rollbacks, 1);
    assert_int_equal(stub_made(&fixture.stub), 1);
    assert_int_equal(atomic_load(&connection->state), DB_CONN_IDLE);
    db_pool_checkin(fixture.pool, &slot);
    close_pool(&fixture);
}

/* Checks in a connection in the middle of an answer, and waits until its cancel begins. */
static struct stub_connection *give_back_busy(struct fixture *fixture)
{
    struct db_slot *slot = checkout(fixture);
    struct stub_connection *connection = db_slot_connection(slot);
    atomic_store(&connection->state, DB_CONN_BUSY);
    atomic_store(&connection->next_state, DB_CONN_BUSY);
    db_pool_checkin(fixture->pool, &slot);
    wait_until(atomic_load(&fixture->stub.cancels_begun) == 1);
    return connection;
}

static void open_for_cancels(struct fixture *fixture, enum stub_cancels cancels, int64_t cancel_ns)
{
    stub_init(&fixture->stub);
    struct db_pool_config config = make_config(&fixture->stub, 1, 1);
    config.drain_timeout_ns = 10 * CLOCK_NS_PER_MS;
    config.cancel_timeout_ns = cancel_ns;
    atomic_store(&fixture->stub.cancels, cancels);
    open_with(fixture, &config);
}

static void test_cancelled_drained_and_reused(void **state)
{
    struct fixture fixture;
    (void)state;
    open_for_cancels(&fixture, STUB_CANCEL_WORKS, TEST_PATIENCE_NS);
    stub_answer(give_back_busy(&fixture), DB_CONN_IDLE);
    struct db_slot *slot = checkout(&fixture);
    assert_int_equal(stub_made(&fixture.stub), 1);
    db_pool_checkin(fixture.pool, &slot);
    close_pool(&fixture);
}

/* The answer is over, but the cancel is still on its way, so the connection is not handed out. */
static void test_nobody_is_hit_by_a_late_cancel(void **state)
{
    struct fixture fixture;
    struct customer customer = {0};
    (void)state;
    open_for_cancels(&fixture, STUB_CANCEL_BLOCKS, TEST_PATIENCE_NS);
    struct stub_connection *connection = give_back_busy(&fixture);
    queue_up(&customer, &fixture, 1);
    stub_answer(connection, DB_CONN_IDLE);
    wait_until(atomic_load(&connection->state) == DB_CONN_IDLE);
    assert_int_equal(atomic_load(&customer.served), 0);
    assert_int_equal(db_pool_count(fixture.pool).draining, 1);
    atomic_store(&fixture.stub.cancels, STUB_CANCEL_WORKS);
    wait_until(atomic_load(&customer.served) > 0);
    leave(&customer);
    assert_int_equal(stub_made(&fixture.stub), 1);
    close_pool(&fixture);
}

static void test_cancel_that_fails_ends_the_connection(void **state)
{
    static const enum stub_cancels kinds[] = {STUB_CANCEL_FAILS, STUB_CANCEL_BLOCKS};
    struct fixture fixture;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        open_for_cancels(&fixture, kinds[i],
                         kinds[i] == STUB_CANCEL_FAILS ? TEST_PATIENCE_NS : 30 * CLOCK_NS_PER_MS);
        give_back_busy(&fixture);
        struct db_slot *slot = checkout(&fixture);
        assert_int_equal(stub_made(&fixture.stub), 2);
        db_pool_checkin(fixture.pool, &slot);
        atomic_store(&fixture.stub.cancels, STUB_CANCEL_WORKS);
        close_pool(&fixture);
    }
}

/* A server that accepts a cancel and stays silent delays the end of the pool only for a moment. */
static void test_the_end_does_not_wait_for_a_cancel(void **state)
{
    struct fixture fixture;
    (void)state;
    open_for_cancels(&fixture, STUB_CANCEL_BLOCKS, TEST_PATIENCE_NS);
    give_back_busy(&fixture);
    db_pool_close(fixture.pool);
    assert_false(db_pool_free(fixture.pool));
    atomic_store(&fixture.stub.cancels, STUB_CANCEL_WORKS);
    close_pool(&fixture);
}

/* A closed connection counts until the server lets go of it, so that there are never more than
 * max_size backends. */
static void test_closing_counts_until_the_server_lets_go(void **state)
{
    struct fixture fixture;
    struct customer customer = {0};
    (void)state;
    open_pool(&fixture, 1, 1, 100);
    struct db_slot *slot = checkout(&fixture);
    stub_set_clinging(&fixture.stub, true);
    atomic_store(&((struct stub_connection *)db_slot_connection(slot))->state, DB_CONN_BROKEN);
    db_pool_checkin(fixture.pool, &slot);
    wait_until(stub_closed(&fixture.stub) == 1);
    queue_up(&customer, &fixture, 1);
    assert_int_equal(db_pool_count(fixture.pool).closing, 1);
    assert_int_equal(stub_made(&fixture.stub), 1);
    stub_set_clinging(&fixture.stub, false);
    wait_until(atomic_load(&customer.served) > 0);
    leave(&customer);
    assert_int_equal(stub_made(&fixture.stub), 2);
    close_pool(&fixture);
}

static void test_a_black_hole_does_not_eat_the_pool(void **state)
{
    struct fixture fixture;
    (void)state;
    stub_init(&fixture.stub);
    struct db_pool_config config = make_config(&fixture.stub, 1, 1);
    config.close_timeout_ns = 30 * CLOCK_NS_PER_MS;
    open_with(&fixture, &config);
    struct db_slot *slot = checkout(&fixture);
    stub_set_clinging(&fixture.stub, true);
    atomic_store(&((struct stub_connection *)db_slot_connection(slot))->state, DB_CONN_BROKEN);
    db_pool_checkin(fixture.pool, &slot);
    slot = checkout(&fixture); /* the slot is free although the server never lets go */
    db_pool_checkin(fixture.pool, &slot);
    stub_set_clinging(&fixture.stub, false);
    close_pool(&fixture);
}

static void test_queue_has_a_limit(void **state)
{
    enum { LIMIT = 3 };
    struct fixture fixture;
    struct customer customers[LIMIT] = {0};
    (void)state;
    stub_init(&fixture.stub);
    struct db_pool_config config = make_config(&fixture.stub, 1, 1);
    config.max_waiters = LIMIT;
    open_with(&fixture, &config);
    struct db_slot *slot = checkout(&fixture);
    for (unsigned i = 0; i < LIMIT; i++)
        queue_up(&customers[i], &fixture, i + 1);
    struct failure failure = refused(&fixture);
    assert_int_equal(failure.kind, FAILURE_LIMIT);
    assert_string_equal(failure.message, "too many waiters for a connection: the limit is 3");
    db_pool_checkin(fixture.pool, &slot);
    for (unsigned i = 0; i < LIMIT; i++)
        leave(&customers[i]);
    close_pool(&fixture);
}

/* HikariCP's spike test: the pool grows by one connection at most. The burst begins one connect,
 * which ends after the burst. A second one would begin only if a customer waited as long as a
 * connect takes: a second, but its turn comes after 20 ms. */
static void test_a_spike_does_not_swell_the_pool(void **state)
{
    enum { BURST = 50, MIN = 5 };
    struct fixture fixture;
    static struct customer customers[BURST];
    (void)state;
    stub_init(&fixture.stub);
    fixture.stub.connect_ns = CLOCK_NS_PER_S;
    struct db_pool_config config = make_config(&fixture.stub, BURST, MIN);
    config.min_size = MIN;
    open_with(&fixture, &config);
    wait_until(db_pool_count(fixture.pool).idle == MIN);
    stub_set_gate(&fixture.stub, true);
    for (int i = 0; i < BURST; i++) {
        customers[i] = (struct customer){.hold_ms = 2};
        start_customer(&customers[i], &fixture);
    }
    for (int i = 0; i < BURST; i++) {
        CHECK_PTHREAD(pthread_join(customers[i].thread, NULL));
        assert_true(customers[i].served > 0);
    }
    stub_set_gate(&fixture.stub, false);
    wait_until(db_pool_count(fixture.pool).connecting == 0);
    assert_in_range(stub_made(&fixture.stub), MIN, MIN + 1);
    close_pool(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paused_until_ready),
        cmocka_unit_test(test_clear_and_recovery),
        cmocka_unit_test(test_clear_with_interrupt),
        cmocka_unit_test(test_an_outdated_connection_replaces_all),
        cmocka_unit_test(test_age_ends_connections),
        cmocka_unit_test(test_lifetimes_differ),
        cmocka_unit_test(test_proved_after_long_idle),
        cmocka_unit_test(test_rolled_back_before_the_next),
        cmocka_unit_test(test_cancelled_drained_and_reused),
        cmocka_unit_test(test_nobody_is_hit_by_a_late_cancel),
        cmocka_unit_test(test_cancel_that_fails_ends_the_connection),
        cmocka_unit_test(test_the_end_does_not_wait_for_a_cancel),
        cmocka_unit_test(test_closing_counts_until_the_server_lets_go),
        cmocka_unit_test(test_a_black_hole_does_not_eat_the_pool),
        cmocka_unit_test(test_queue_has_a_limit),
        cmocka_unit_test(test_a_spike_does_not_swell_the_pool),
    };
    return cmocka_run_group_tests_name("db_pool_states", tests, NULL, NULL);
}
