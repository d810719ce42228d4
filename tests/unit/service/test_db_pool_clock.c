/* Jumps of the wall clock do not affect the pool: all its deadlines are on the monotonic clock.
 * This program stands between the pool and the C library's clock functions. */
#include "tests/support/pool_fixture.h"

#include <dlfcn.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef int timed_wait(pthread_cond_t *restrict, pthread_mutex_t *restrict,
                       const struct timespec *restrict);

typedef int semaphore_wait(sem_t *restrict, clockid_t, const struct timespec *restrict);

static timed_wait *library_wait;
static semaphore_wait *library_semaphore_wait;
static _Atomic unsigned wall_readings, timed_waits, odd_deadlines;

__attribute__((constructor)) static void find_library_wait(void)
{
    *(void **)&library_wait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    *(void **)&library_semaphore_wait = dlsym(RTLD_NEXT, "sem_clockwait");
}

/* The wall clock is a day ahead at one reading and a day behind at the next. */
int clock_gettime(clockid_t id, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, id, now);
    if (id == CLOCK_REALTIME)
        now->tv_sec += atomic_fetch_add(&wall_readings, 1) % 2 == 0 ? 86400 : -86400;
    return result;
}

/* A deadline on another clock would be off by decades. */
int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until)
{
    int64_t from_now_ns = until->tv_sec * CLOCK_NS_PER_S + until->tv_nsec - clock_now_ns();
    atomic_fetch_add(&timed_waits, 1);
    if (from_now_ns > 2 * TEST_PATIENCE_NS || from_now_ns < -2 * TEST_PATIENCE_NS)
        atomic_fetch_add(&odd_deadlines, 1);
    return library_wait(cond, mutex, until);
}

int sem_clockwait(sem_t *restrict semaphore, clockid_t clock, const struct timespec *restrict until)
{
    atomic_fetch_add(&timed_waits, 1);
    if (clock != CLOCK_MONOTONIC)
        atomic_fetch_add(&odd_deadlines, 1);
    return library_semaphore_wait(semaphore, clock, until);
}

static void test_the_wall_clock_does_not_matter(void **state)
{
    struct fixture fixture;
    struct customer customer = {0};
    struct customer late = {.request = in_time()};
    (void)state;
    stub_init(&fixture.stub);
    struct db_pool_config config = make_config(&fixture.stub, 1, 1);
    config.background_interval_ns = 5 * CLOCK_NS_PER_MS;
    config.max_idle_ns = 30 * CLOCK_NS_PER_MS;
    config.drain_timeout_ns = 30 * CLOCK_NS_PER_MS;
    unsigned readings_before = atomic_load(&wall_readings);
    open_with(&fixture, &config);

    struct db_slot *slot = checkout(&fixture);
    late.request.deadline_ns = clock_now_ns() + 50 * CLOCK_NS_PER_MS;
    start_customer(&late, &fixture);
    leave(&late);
    assert_true(late.served == -1 && clock_now_ns() >= late.request.deadline_ns);
    queue_up(&customer, &fixture, 1);
    struct stub_connection *connection = db_slot_connection(slot);
    atomic_store(&connection->state, DB_CONN_BUSY); /* drain and cancel fail, so it is closed */
    atomic_store(&connection->next_state, DB_CONN_BUSY);
    db_pool_checkin(fixture.pool, &slot);
    wait_until(atomic_load(&customer.served) > 0);
    leave(&customer);
    wait_until(stub_closed(&fixture.stub) == 2); /* the second was idle too long */
    close_pool(&fixture);

    assert_int_equal(atomic_load(&wall_readings), readings_before);
    assert_true(atomic_load(&timed_waits) > 0);
    assert_int_equal(atomic_load(&odd_deadlines), 0);
}

/* Two-way: the functions above detect a deadline on the wall clock. */
static void test_a_wall_clock_would_be_seen(void **state)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
    struct timespec now;
    unsigned before = atomic_load(&odd_deadlines);
    unsigned readings_before = atomic_load(&wall_readings);
    (void)state;
    clock_gettime(CLOCK_REALTIME, &now);
    assert_int_equal(atomic_load(&wall_readings), readings_before + 1);
    now.tv_sec -= 172800;
    CHECK_PTHREAD(pthread_mutex_lock(&lock));
    (void)pthread_cond_timedwait(&cond, &lock, &now);
    CHECK_PTHREAD(pthread_mutex_unlock(&lock));
    assert_int_equal(atomic_load(&odd_deadlines), before + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_wall_clock_does_not_matter),
        cmocka_unit_test(test_a_wall_clock_would_be_seen),
    };
    return cmocka_run_group_tests_name("db_pool_clock", tests, NULL, NULL);
}
