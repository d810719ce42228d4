#include "tests/support/pool_fixture.h"

struct db_pool_config make_config(struct stub *stub, unsigned max_size, unsigned max_connecting)
{
    return (struct db_pool_config){.address = "stub:1",
                                   .max_size = max_size,
                                   .max_connecting = max_connecting,
                                   .background_interval_ns = CLOCK_NS_PER_S,
                                   .connect_timeout_ns = TEST_PATIENCE_NS,
                                   .drain_timeout_ns = 100 * CLOCK_NS_PER_MS,
                                   .cancel_timeout_ns = 100 * CLOCK_NS_PER_MS,
                                   .close_timeout_ns = TEST_PATIENCE_NS,
                                   .policy = &db_pool_policy_autonomous,
                                   .connector = stub_connector(stub)};
}

void open_with(struct fixture *fixture, const struct db_pool_config *config)
{
    struct failure failure;
    fixture->pool = db_pool_open(config, &failure);
    assert_non_null(fixture->pool);
    db_pool_ready(fixture->pool);
}

void open_pool(struct fixture *fixture, unsigned max_size, unsigned max_connecting,
               int64_t drain_ms)
{
    stub_init(&fixture->stub);
    struct db_pool_config config = make_config(&fixture->stub, max_size, max_connecting);
    config.drain_timeout_ns = drain_ms * CLOCK_NS_PER_MS;
    open_with(fixture, &config);
}

void close_pool(struct fixture *fixture)
{
    db_pool_close(fixture->pool);
    assert_true(db_pool_free(fixture->pool));
    assert_int_equal(fixture->stub.open, 0);
}

struct db_checkout in_time(void)
{
    return (struct db_checkout){.deadline_ns = clock_now_ns() + TEST_PATIENCE_NS,
                                .admit = admission_deadline.admit,
                                .call_site = "test",
                                .query = "none"};
}

struct db_slot *checkout(struct fixture *fixture)
{
    struct db_slot *slot;
    struct failure failure;
    struct db_checkout request = in_time();
    if (!db_pool_checkout(fixture->pool, &request, &slot, &failure))
        fail_msg("checkout: %s", failure.message);
    return slot;
}

_Atomic int turns;

static void *customer_main(void *argument)
{
    struct customer *customer = argument;
    struct db_slot *slot;
    int64_t from_ns = clock_now_ns();
    bool ok =
        db_pool_checkout(customer->fixture->pool, &customer->request, &slot, &customer->failure);
    customer->waited_ns = clock_now_ns() - from_ns;
    atomic_store(&customer->served, ok ? atomic_fetch_add(&turns, 1) + 1 : -1);
    if (ok) {
        int64_t until_ns = clock_now_ns() + customer->hold_ms * CLOCK_NS_PER_MS;
        while (customer->hold_ms > 0 ? clock_now_ns() < until_ns
                                     : !atomic_load(&customer->give_back))
            clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS / 5);
        db_pool_checkin(customer->fixture->pool, &slot);
    }
    return NULL;
}

void start_customer(struct customer *customer, struct fixture *fixture)
{
    customer->fixture = fixture;
    if (!customer->request.admit)
        customer->request = in_time();
    CHECK_PTHREAD(pthread_create(&customer->thread, NULL, customer_main, customer));
}

void queue_up(struct customer *customer, struct fixture *fixture, unsigned place)
{
    start_customer(customer, fixture);
    wait_until(db_pool_count(fixture->pool).waiting == place);
}

void leave(struct customer *customer)
{
    atomic_store(&customer->give_back, true);
    CHECK_PTHREAD(pthread_join(customer->thread, NULL));
}
