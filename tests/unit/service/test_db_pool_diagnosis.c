/* The diagnosis of a checkout that times out. The tests bring about each verdict in a pool over the
 * stub, beside a look-alike. They also cover the flight recorder. */
#include "tests/support/pool_fixture.h"

#include "service/base/thread_state.h"

enum { SIZE = 3, MOST = 6 };

static struct db_holder holders[MOST];

static struct db_pool_view look(struct fixture *fixture, enum db_pool_moment moment)
{
    struct db_pool_view view;
    db_pool_examine(fixture->pool, moment, holders, &view);
    return view;
}

#define assert_verdict(view, name) assert_string_equal(db_pool_verdict_name((view).verdict), name)

/* Lets a checkout time out after `ms`, and returns the pool's view of it. */
static struct db_pool_view time_out(struct fixture *fixture, int64_t ms)
{
    struct db_slot *slot;
    struct failure failure = {0};
    struct db_checkout request = in_time();
    request.deadline_ns = clock_now_ns() + ms * CLOCK_NS_PER_MS;
    assert_false(db_pool_checkout(fixture->pool, &request, &slot, &failure));
    assert_int_equal(failure.kind, FAILURE_CHECKOUT_TIMEOUT);
    return look(fixture, DB_POOL_AT_LAST_TIMEOUT);
}

static void test_nothing_to_say(void **state)
{
    struct fixture fixture;
    (void)state;
    open_pool(&fixture, SIZE, 2, 100);
    assert_int_equal(look(&fixture, DB_POOL_AT_LAST_TIMEOUT).at_ns, 0);
    struct db_slot *slot = checkout(&fixture);
    assert_verdict(look(&fixture, DB_POOL_NOW), "none"); /* in use, and no waiter */
    db_pool_checkin(fixture.pool, &slot);
    close_pool(&fixture);
}

/* A thread that works for a request and holds a connection until it may go. */
struct worker {
    struct fixture *fixture;
    _Atomic bool has_it, may_go;
    bool leaks;
    struct db_slot *slot;
    pthread_t thread;
};

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    thread_state_enter("request", "the-request");
    worker->slot = checkout(worker->fixture);
    atomic_store(&worker->has_it, true);
    while (!atomic_load(&worker->may_go))
        clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS / 5);
    if (!worker->leaks)
        db_pool_checkin(worker->fixture->pool, &worker->slot);
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
    /* the same, but two of the holders' threads are gone */
    workers[0].leaks = workers[1].leaks = true;
    let_go(&workers[0]);
    let_go(&workers[1]);
    view = time_out(&fixture, 80);
    assert_verdict(view, "leak");
    assert_non_null(strstr(view.evidence, "2 of 3 connections"));
    let_go(&workers[2]);
    db_pool_checkin(fixture.pool, &workers[0].slot);
    db_pool_checkin(fixture.pool, &workers[1].slot);
    close_pool(&fixture);
}

/* More threads than connections: each holds one for a millisecond, returns it and comes again. */
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
        struct db_slot *slot = checkout(crowd->fixture);
        clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS);
        db_pool_checkin(crowd->fixture->pool, &slot);
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
    struct db_slot *slot;
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
    request.admit = never; /* never admitted, as if its turn never came */
    request.deadline_ns = clock_now_ns() + 300 * CLOCK_NS_PER_MS;
    assert_false(db_pool_checkout(fixture.pool, &request, &slot, &failure));
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
    /* The same on a machine so busy that no connector thread has run yet. */
    view.counts.connecting = 0;
    db_pool_diagnose(&view);
    assert_verdict(view, "connecting");
    stub_set_gate(&fixture.stub, false);
    close_pool(&fixture);
}

/* Database down and server full differ only in the SQLSTATE. Paused means that the pool was cleared
 * by hand. */
static void test_database_down_server_full_paused(void **state)
{
    struct fixture fixture;
    struct failure cause = {.kind = FAILURE_DATABASE, .message = "somebody said so"};
    (void)state;
    open_pool(&fixture, SIZE, 2, 100);
    struct db_slot *slot = checkout(&fixture);
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
    db_pool_checkin(fixture.pool, &slot);
    close_pool(&fixture);
}

/* Some connections work, but the server is full and refuses more: that is the cause. */
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

/* A thread that holds one connection and checks out another. */
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
    struct db_slot *second;
    struct db_slot *first = checkout(nester->fixture);
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

/* As many threads as connections, and each holds one and checks out another: one checkout is
 * refused at once, and the others succeed. With one connection to spare, none is refused. */
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

/* A request whose own thread holds a connection, while the thread of an item checks out one. */
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
    struct db_slot *slot = checkout(family->fixture);
    thread_state_set(family->parent_state);
    atomic_store(&family->holds, true);
    while (!atomic_load(&family->may_go))
        clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS / 5);
    db_pool_checkin(family->fixture->pool, &slot);
    thread_state_leave();
    return NULL;
}

static void *item_main(void *argument)
{
    struct family *family = argument;
    thread_state_enter("item", family->request);
    struct db_slot *slot = checkout(family->fixture);
    db_pool_checkin(family->fixture->pool, &slot);
    thread_state_leave();
    return NULL;
}

/* The view of a pool of this size, all in use, while an item of each request waits. So many of the
 * holders do nothing but wait for theirs; the others run queries, like siblings of the waiting
 * threads in per_item. */
static struct db_pool_view watch_families(unsigned size, unsigned nested)
{
    struct fixture fixture;
    struct family families[MOST];
    assert_true(nested <= size && size <= MOST);
    open_pool(&fixture, size, 2, 100);
    for (unsigned i = 0; i < size; i++) {
        enum thread_state state = i < nested ? THREAD_WAITGROUP_WAIT : THREAD_QUERY;
        families[i] = (struct family){.fixture = &fixture, .parent_state = state};
        snprintf(families[i].request, sizeof families[i].request, "r-%u", i);
        CHECK_PTHREAD(pthread_create(&families[i].parent, NULL, parent_main, &families[i]));
        wait_until(atomic_load(&families[i].holds));
    }
    for (unsigned i = 0; i < size; i++)
        CHECK_PTHREAD(pthread_create(&families[i].item, NULL, item_main, &families[i]));
    wait_until(db_pool_count(fixture.pool).waiting == size);
    struct db_pool_view view = look(&fixture, DB_POOL_NOW);
    for (unsigned i = 0; i < size; i++)
        atomic_store(&families[i].may_go, true);
    for (unsigned i = 0; i < size; i++) {
        CHECK_PTHREAD(pthread_join(families[i].parent, NULL));
        CHECK_PTHREAD(pthread_join(families[i].item, NULL));
    }
    close_pool(&fixture);
    return view;
}

/* The pool cannot refuse these checkouts: no single thread holds a connection and waits for one. */
static void test_nested_by_request(void **state)
{
    (void)state;
    struct db_pool_view view = watch_families(SIZE, SIZE);
    assert_verdict(view, "nested_checkout");
    assert_int_equal(view.nested, SIZE);
    view = watch_families(5, 1);
    assert_verdict(view, "nested_checkout");
    assert_string_equal(view.evidence,
                        "1 of 5 connections are held by requests that wait for another one, in the "
                        "holder's own thread or in other threads");
    assert_verdict(watch_families(6, 1), "slow_holders");
    assert_verdict(watch_families(SIZE, 0), "slow_holders");
}

/* A thread is used again: it holds what it kept, but not for its present request. */
static void test_what_a_thread_kept_of_an_earlier_request_is_a_leak(void **state)
{
    struct fixture fixture;
    struct db_slot *slots[SIZE];
    (void)state;
    open_pool(&fixture, SIZE, 2, 100);
    thread_state_enter("item", "");
    thread_state_serve("r-1");
    for (int i = 0; i < SIZE; i++)
        slots[i] = checkout(&fixture);
    thread_state_serve("r-2");
    struct db_pool_view view = time_out(&fixture, 80);
    assert_verdict(view, "leak");
    assert_int_equal(view.nested, 0);
    for (int i = 0; i < SIZE; i++)
        db_pool_checkin(fixture.pool, &slots[i]);
    thread_state_leave();
    close_pool(&fixture);
}

/* The waiters of one group leave the queue, the others keep their places, and a later checkout of
 * the group fails at once. */
static void test_a_group_is_called_off(void **state)
{
    struct fixture fixture;
    struct db_checkout_group group = {0};
    static struct customer customers[4];
    struct db_checkout late = in_time();
    struct db_slot *none;
    struct failure failure = {0};
    (void)state;
    atomic_store(&turns, 0);
    memset(customers, 0, sizeof customers);
    open_pool(&fixture, 1, 1, 100);
    struct db_slot *slot = checkout(&fixture);
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
    db_pool_checkin(fixture.pool, &slot);
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
        struct db_slot *slot = checkout(&fixture);
        db_pool_checkin(fixture.pool, &slot);
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
        cmocka_unit_test(test_what_a_thread_kept_of_an_earlier_request_is_a_leak),
        cmocka_unit_test(test_a_group_is_called_off),
        cmocka_unit_test(test_recorder),
    };
    return cmocka_run_group_tests_name("db_pool_diagnosis", tests, NULL, NULL);
}
