/* Why nobody gets a connection: each verdict brought about in a pool over the stub, beside a
 * look-alike; and the flight recorder. */
#include "tests/unit/pool_fixture.h"

#include "service/thread_state.h"

enum { SIZE = 3 };

static struct db_holder holders[SIZE];

static struct db_pool_view look(struct fixture *fixture, enum db_pool_moment moment)
{
    struct db_pool_view view;
    db_pool_look(fixture->pool, moment, holders, &view);
    return view;
}

#define assert_verdict(view, name) assert_string_equal(db_pool_verdict_name((view).verdict), name)

/* Fails after `ms`, and returns what the pool says of it. */
static struct db_pool_view time_out(struct fixture *fixture, int64_t ms)
{
    struct db_lease *lease;
    struct failure failure = {0};
    struct db_checkout request = in_time();
    request.deadline_ns = clock_now_ns() + ms * CLOCK_NS_PER_MS;
    assert_false(db_pool_checkout(fixture->pool, &request, &lease, &failure));
    assert_int_equal(failure.kind, FAILURE_CHECKOUT_TIMEOUT);
    return look(fixture, DB_POOL_AT_LAST_TIMEOUT);
}

static void test_nothing_to_say(void **state)
{
    struct fixture fixture;
    (void)state;
    open_pool(&fixture, SIZE, 2, 100);
    assert_int_equal(look(&fixture, DB_POOL_AT_LAST_TIMEOUT).at_ns, 0);
    struct db_lease *lease = checkout(&fixture);
    assert_verdict(look(&fixture, DB_POOL_NOW), "none"); /* in use, and nobody waits */
    db_pool_checkin(fixture.pool, &lease);
    close_pool(&fixture);
}

/* A thread that works for a request and holds a connection for as long as it is told. */
struct worker {
    struct fixture *fixture;
    _Atomic bool has_it, may_go;
    bool leaks;
    struct db_lease *lease;
    pthread_t thread;
};

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    thread_state_enter("request", "the-request");
    worker->lease = checkout(worker->fixture);
    atomic_store(&worker->has_it, true);
    while (!atomic_load(&worker->may_go))
        clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS / 5);
    if (!worker->leaks)
        db_pool_checkin(worker->fixture->pool, &worker->lease);
    thread_state_leave();
    return NULL;
}

static void put_to_work(struct worker *worker, struct fixture *fixture)
{
    *worker = (struct worker){.fixture = fixture};
    CHECK_PTHREAD(pthread_create(&worker->thread, NULL, worker_main, worker));
    wait_until(atomic_load(&worker->has_it));
}

static void let_go(struct worker *worker)
{
    atomic_store(&worker->may_go, true);
    CHECK_PTHREAD(pthread_join(worker->thread, NULL));
}

static void test_slow_holders_and_leak(void **state)
{
    struct fixture fixture;
    struct worker workers[SIZE];
    (void)state;
    open_pool(&fixture, SIZE, 2, 100);
    for (int i = 0; i < SIZE; i++)
        put_to_work(&workers[i], &fixture);
    struct db_pool_view view = time_out(&fixture, 80);
    assert_verdict(view, "slow_holders");
    assert_non_null(strstr(view.evidence, "0 check-ins"));
    assert_int_equal(view.holder_count, SIZE);
    for (int i = 0; i < SIZE; i++) {
        assert_true(holders[i].is_alive);
        assert_string_equal(holders[i].request, "the-request");
        assert_string_equal(holders[i].call_site, "test");
        assert_true(holders[i].backend_pid > 0 && holders[i].connection_id > 0);
    }
    assert_in_range(view.waited_ns / CLOCK_NS_PER_MS, 80, 20000);
    /* the same, but for two of the holders' threads being gone */
    workers[0].leaks = workers[1].leaks = true;
    let_go(&workers[0]);
    let_go(&workers[1]);
    view = time_out(&fixture, 80);
    assert_verdict(view, "leak");
    assert_non_null(strstr(view.evidence, "2 of 3 connections"));
    let_go(&workers[2]);
    db_pool_checkin(fixture.pool, &workers[0].lease);
    db_pool_checkin(fixture.pool, &workers[1].lease);
    close_pool(&fixture);
}

/* Holders that give back at once and come again, more of them than there are connections. */
struct crowd {
    struct fixture *fixture;
    _Atomic bool done;
    pthread_t thread;
};

static void *crowd_main(void *argument)
{
    struct crowd *crowd = argument;
    thread_state_enter("request", "one-of-many");
    while (!atomic_load(&crowd->done)) {
        struct db_lease *lease = checkout(crowd->fixture);
        clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS);
        db_pool_checkin(crowd->fixture->pool, &lease);
    }
    thread_state_leave();
    return NULL;
}

static bool never(int64_t deadline_ns, int64_t now_ns)
{
    (void)deadline_ns, (void)now_ns;
    return false;
}

static void test_undersized(void **state)
{
    enum { CROWD = 40 };
    struct fixture fixture;
    static struct crowd crowds[CROWD];
    struct db_lease *lease;
    struct failure failure;
    struct db_checkout request = in_time();
    (void)state;
    open_pool(&fixture, SIZE, 2, 100);
    for (int i = 0; i < CROWD; i++) {
        crowds[i] = (struct crowd){.fixture = &fixture};
        CHECK_PTHREAD(pthread_create(&crowds[i].thread, NULL, crowd_main, &crowds[i]));
    }
    wait_until(db_pool_count(fixture.pool).waiting > CROWD / 2);
    wait_until(db_pool_count(fixture.pool).in_use == SIZE);
    request.admit = never; /* passed by, as if its turn never came */
    request.deadline_ns = clock_now_ns() + 300 * CLOCK_NS_PER_MS;
    assert_false(db_pool_checkout(fixture.pool, &request, &lease, &failure));
    struct db_pool_view view = look(&fixture, DB_POOL_AT_LAST_TIMEOUT);
    assert_verdict(view, "undersized");
    assert_true(view.checkins > SIZE);
    for (int i = 0; i < CROWD; i++)
        atomic_store(&crowds[i].done, true);
    for (int i = 0; i < CROWD; i++)
        CHECK_PTHREAD(pthread_join(crowds[i].thread, NULL));
    close_pool(&fixture);
}

static void test_connecting(void **state)
{
    struct fixture fixture;
    (void)state;
    open_pool(&fixture, SIZE, 2, 100);
    stub_set_gate(&fixture.stub, true);
    struct db_pool_view view = time_out(&fixture, 60);
    assert_verdict(view, "connecting");
    assert_non_null(strstr(view.evidence, "only 0 of 3"));
    /* The same on a machine so busy that no connector has got to run. */
    view.counts.connecting = 0;
    db_pool_diagnose(&view);
    assert_verdict(view, "connecting");
    stub_set_gate(&fixture.stub, false);
    close_pool(&fixture);
}

/* The database is away, or full: the same but for the SQLSTATE; and a pool that was cleared by
 * hand. */
static void test_database_down_server_full_paused(void **state)
{
    struct fixture fixture;
    struct failure cause = {.kind = FAILURE_DATABASE, .message = "somebody said so"};
    (void)state;
    open_pool(&fixture, SIZE, 2, 100);
    struct db_lease *lease = checkout(&fixture);
    stub_set_gate(&fixture.stub, true);
    db_pool_clear(fixture.pool, &cause, false);
    assert_verdict(look(&fixture, DB_POOL_NOW), "paused");
    stub_fail_connects(&fixture.stub, 1000000);
    stub_set_gate(&fixture.stub, false);
    wait_until(look(&fixture, DB_POOL_NOW).connect_failures > 0);
    assert_verdict(look(&fixture, DB_POOL_NOW), "database_down");
    stub_set_sqlstate(&fixture.stub, "53300");
    wait_until(strcmp(look(&fixture, DB_POOL_NOW).connect_failure.sqlstate, "53300") == 0);
    assert_verdict(look(&fixture, DB_POOL_NOW), "server_full");
    stub_fail_connects(&fixture.stub, 0);
    wait_until(db_pool_count(fixture.pool).state == DB_POOL_READY);
    assert_verdict(look(&fixture, DB_POOL_NOW), "none");
    db_pool_checkin(fixture.pool, &lease);
    close_pool(&fixture);
}

/* Some connections work, but no further one can be made: with a full server that is the cause. */
static void test_server_full_with_connections_left(void **state)
{
    struct fixture fixture;
    struct worker worker;
    (void)state;
    open_pool(&fixture, SIZE, 1, 100);
    put_to_work(&worker, &fixture);
    stub_set_sqlstate(&fixture.stub, "53300");
    stub_fail_connects(&fixture.stub, 1000000);
    assert_verdict(time_out(&fixture, 80), "server_full");
    stub_fail_connects(&fixture.stub, 0);
    let_go(&worker);
    close_pool(&fixture);
}

/* Threads that hold one connection each and want another. */
struct nester {
    struct fixture *fixture;
    pthread_barrier_t *all_hold;
    bool got_second;
    struct failure failure;
    int64_t waited_ns;
    pthread_t thread;
};

static void *nester_main(void *argument)
{
    struct nester *nester = argument;
    struct db_checkout request = in_time();
    struct db_lease *second;
    struct db_lease *first = checkout(nester->fixture);
    pthread_barrier_wait(nester->all_hold);
    int64_t from_ns = clock_now_ns();
    nester->got_second =
        db_pool_checkout(nester->fixture->pool, &request, &second, &nester->failure);
    nester->waited_ns = clock_now_ns() - from_ns;
    if (nester->got_second)
        db_pool_checkin(nester->fixture->pool, &second);
    db_pool_checkin(nester->fixture->pool, &first);
    return NULL;
}

static unsigned run_nesters(unsigned pool_size, unsigned count, struct nester *nesters)
{
    struct fixture fixture;
    pthread_barrier_t all_hold;
    unsigned refused = 0;
    CHECK_PTHREAD(pthread_barrier_init(&all_hold, NULL, count));
    open_pool(&fixture, pool_size, 2, 100);
    for (unsigned i = 0; i < count; i++) {
        nesters[i] = (struct nester){.fixture = &fixture, .all_hold = &all_hold};
        CHECK_PTHREAD(pthread_create(&nesters[i].thread, NULL, nester_main, &nesters[i]));
    }
    for (unsigned i = 0; i < count; i++) {
        CHECK_PTHREAD(pthread_join(nesters[i].thread, NULL));
        refused += !nesters[i].got_second;
    }
    close_pool(&fixture);
    CHECK_PTHREAD(pthread_barrier_destroy(&all_hold));
    return refused;
}

/* As many threads as connections, each with one and waiting for another: one is told at once, and
 * the others go on. With one connection to spare nobody is. */
static void test_nested_checkout(void **state)
{
    struct nester nesters[SIZE];
    (void)state;
    assert_int_equal(run_nesters(SIZE, SIZE, nesters), 1);
    for (int i = 0; i < SIZE; i++) {
        assert_true(nesters[i].waited_ns < TEST_PATIENCE_NS / 2);
        if (!nesters[i].got_second)
            assert_non_null(strstr(nesters[i].failure.message, "nested checkout"));
    }
    assert_int_equal(run_nesters(SIZE + 1, SIZE, nesters), 0);
}

/* A request: its own thread holds a connection, and one of its items' threads wants one. */
struct family {
    struct fixture *fixture;
    char request[16];
    enum thread_state parent_state;
    _Atomic bool holds, may_go;
    pthread_t parent, item;
};

static void *parent_main(void *argument)
{
    struct family *family = argument;
    thread_state_enter("request", family->request);
    struct db_lease *lease = checkout(family->fixture);
    thread_state_set(family->parent_state);
    atomic_store(&family->holds, true);
    while (!atomic_load(&family->may_go))
        clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS / 5);
    db_pool_checkin(family->fixture->pool, &lease);
    thread_state_leave();
    return NULL;
}

static void *item_main(void *argument)
{
    struct family *family = argument;
    thread_state_enter("item", family->request);
    struct db_lease *lease = checkout(family->fixture);
    db_pool_checkin(family->fixture->pool, &lease);
    thread_state_leave();
    return NULL;
}

/* What the pool says while all of them wait. */
static struct db_pool_view watch_families(enum thread_state parent_state)
{
    struct fixture fixture;
    struct family families[SIZE];
    open_pool(&fixture, SIZE, 2, 100);
    for (int i = 0; i < SIZE; i++) {
        families[i] = (struct family){.fixture = &fixture, .parent_state = parent_state};
        snprintf(families[i].request, sizeof families[i].request, "r-%d", i);
        CHECK_PTHREAD(pthread_create(&families[i].parent, NULL, parent_main, &families[i]));
        wait_until(atomic_load(&families[i].holds));
    }
    for (int i = 0; i < SIZE; i++)
        CHECK_PTHREAD(pthread_create(&families[i].item, NULL, item_main, &families[i]));
    wait_until(db_pool_count(fixture.pool).waiting == SIZE);
    struct db_pool_view view = look(&fixture, DB_POOL_NOW);
    for (int i = 0; i < SIZE; i++)
        atomic_store(&families[i].may_go, true);
    for (int i = 0; i < SIZE; i++) {
        CHECK_PTHREAD(pthread_join(families[i].parent, NULL));
        CHECK_PTHREAD(pthread_join(families[i].item, NULL));
    }
    close_pool(&fixture);
    return view;
}

/* The pool cannot refuse these: no thread waits for itself. */
static void test_nested_by_request(void **state)
{
    (void)state;
    struct db_pool_view view = watch_families(THREAD_WAITGROUP_WAIT);
    assert_verdict(view, "nested_checkout");
    assert_int_equal(view.nested, SIZE);
    /* the same, but the holders are at work: siblings of those who wait, as in query=per_item */
    assert_verdict(watch_families(THREAD_QUERY), "slow_holders");
}

/* Those of one group leave the queue, the others keep their places, and whoever comes later is told
 * at once. */
static void test_a_group_is_called_off(void **state)
{
    struct fixture fixture;
    struct db_checkout_group group = {0};
    static struct customer customers[4];
    struct db_checkout late = in_time();
    struct db_lease *none;
    struct failure failure = {0};
    (void)state;
    atomic_store(&turns, 0);
    memset(customers, 0, sizeof customers);
    open_pool(&fixture, 1, 1, 100);
    struct db_lease *lease = checkout(&fixture);
    for (unsigned i = 0; i < 4; i++) {
        customers[i].request = in_time();
        if (i % 2 == 0)
            customers[i].request.group = &group;
        queue_up(&customers[i], &fixture, i + 1);
    }
    db_pool_call_off(fixture.pool, &group);
    db_pool_call_off(fixture.pool, &group);
    assert_int_equal(db_pool_count(fixture.pool).waiting, 2);
    for (unsigned i = 0; i < 4; i += 2) {
        leave(&customers[i]);
        assert_int_equal(customers[i].served, -1);
        assert_int_equal(customers[i].failure.kind, FAILURE_CALLED_OFF);
    }
    late.group = &group;
    assert_false(db_pool_checkout(fixture.pool, &late, &none, &failure));
    assert_int_equal(failure.kind, FAILURE_CALLED_OFF);
    db_pool_checkin(fixture.pool, &lease);
    leave(&customers[1]);
    leave(&customers[3]);
    assert_int_equal(customers[1].served, 1);
    assert_int_equal(customers[3].served, 2);
    close_pool(&fixture);
}

static _Atomic unsigned episodes;

static void count_episode(void *context)
{
    (void)context;
    atomic_fetch_add(&episodes, 1);
}

static void test_recorder(void **state)
{
    enum { KEPT = 8 };
    struct fixture fixture;
    struct worker worker;
    struct db_pool_event *events;
    (void)state;
    stub_init(&fixture.stub);
    struct db_pool_config config = make_config(&fixture.stub, 1, 1);
    config.recorder_events = KEPT;
    config.on_episode = count_episode;
    open_with(&fixture, &config);
    assert_int_equal(db_pool_events(fixture.pool, &events), 2);
    assert_int_equal(events[0].type, POOL_CREATED);
    assert_int_equal(events[1].type, POOL_READY);
    free(events);
    for (int i = 0; i < 5; i++) {
        struct db_lease *lease = checkout(&fixture);
        db_pool_checkin(fixture.pool, &lease);
    }
    assert_int_equal(db_pool_events(fixture.pool, &events), KEPT);
    static const enum db_pool_event_type cycle[] = {CHECK_OUT_STARTED, CHECKED_OUT, CHECKED_IN};
    for (int i = 0; i < KEPT; i++) { /* the oldest were overwritten; order is kept */
        assert_int_equal(events[i].type, cycle[(i + 1) % 3]);
        assert_true(i == 0 || events[i].at_ns >= events[i - 1].at_ns);
    }
    free(events);
    assert_int_equal(episodes, 0);
    put_to_work(&worker, &fixture);
    (void)time_out(&fixture, 20);
    (void)time_out(&fixture, 20); /* the same episode */
    wait_until(episodes == 1);
    let_go(&worker);
    close_pool(&fixture);
    assert_int_equal(episodes, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_to_say),
        cmocka_unit_test(test_slow_holders_and_leak),
        cmocka_unit_test(test_undersized),
        cmocka_unit_test(test_connecting),
        cmocka_unit_test(test_database_down_server_full_paused),
        cmocka_unit_test(test_server_full_with_connections_left),
        cmocka_unit_test(test_nested_checkout),
        cmocka_unit_test(test_nested_by_request),
        cmocka_unit_test(test_a_group_is_called_off),
        cmocka_unit_test(test_recorder),
    };
    return cmocka_run_group_tests_name("db_pool_diagnosis", tests, NULL, NULL);
}
