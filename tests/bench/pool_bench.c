/*
 * Measures the cost of the pool: checkout and check-in over a stub that answers at once, so that
 * only the pool is measured. A benchmark, not a test: it judges nothing, and fails only if a
 * checkout fails.
 *
 * Closed loop: each thread checks out a connection, holds it for 0 or 5 ms, gives it back and
 * repeats. A wait is the time that db_pool_checkout() takes. It counts if it began in the measured
 * window, even if it ended later, so that a starving thread is seen.
 */
#include "common/check.h"
#include "common/clock.h"
#include "common/histogram.h"
#include "service/base/thread_state.h"
#include "service/config.h"
#include "service/variants/admission/admission.h"
#include "tests/support/stub_connector.h"

#include <jansson.h>
#include <math.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <unistd.h>

#define WARM_UP_NS (CLOCK_NS_PER_S / 2)
#define HOLD_NS    (5 * CLOCK_NS_PER_MS)
/* A checkout's deadline, which never passes: a run ends long before. */
#define PATIENCE_NS (600 * CLOCK_NS_PER_S)
/* The cycles between two readings of the clock when single cycles are timed. */
#define BATCH 1000
/* The service's threads are small too (--thread-stack-kib). */
#define STACK_BYTES ((size_t)64 << 10)

enum { REST_THREADS = 300, REST_CONNECTIONS = 20, MAX_BATCHES = 100000 };

struct load {
    unsigned threads, connections;
};

static const struct load loads[] = {{1, 1}, {32, 16}, {300, 20}, {300, 100}, {1000, 20}};

/* One thread of the load. Only that thread uses it until it is joined. */
struct worker {
    struct run *run;
    pthread_t thread;
    struct histogram waits;
};

struct run {
    struct load load;
    int64_t hold_ns;
    int64_t from_ns, until_ns; /* the measured window; set before the threads pass the barrier */
    pthread_barrier_t ready;
    struct stub stub;
    struct db_pool *pool;
    struct worker *workers;
    struct histogram waits; /* of all workers */
    uint64_t fewest, most;  /* cycles of a worker */
    double cores;           /* CPU time of the process over the window */
    double window_s;
};

static int64_t window_ns = 3 * CLOCK_NS_PER_S;
static struct config service_config;

static int64_t cpu_ns(void)
{
    struct timespec used;
    int failed = clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    assert(!failed);
    return (int64_t)used.tv_sec * CLOCK_NS_PER_S + used.tv_nsec;
}

static void sleep_until(int64_t at_ns)
{
    clock_sleep_until(at_ns); /* not a wait: the measured window, or a part of what is measured */
}

/* Opens the service's pool over the stub. Returns when all of its connections are made. */
static struct db_pool *open_pool(struct stub *stub, unsigned connections)
{
    struct failure failure;
    struct db_pool_config config = config_pool(&service_config);
    stub_init(stub);
    config.connector = stub_connector(stub);
    config.max_size = connections;
    config.min_size = connections;
    struct db_pool *pool = db_pool_open(&config, &failure);
    if (!pool) {
        fprintf(stderr, "pool_bench: %s\n", failure.message);
        _exit(1);
    }
    db_pool_ready(pool);
    while (db_pool_count(pool).idle < connections)
        clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS);
    return pool;
}

static void close_pool(struct db_pool *pool)
{
    db_pool_close(pool);
    bool freed = db_pool_free(pool);
    assert(freed);
}

static struct db_checkout patient(void)
{
    return (struct db_checkout){.deadline_ns = clock_now_ns() + PATIENCE_NS,
                                .admit = admission_deadline.admit,
                                .call_site = "pool_bench.c",
                                .query = "none"};
}

static struct db_slot *checkout(struct db_pool *pool, const struct db_checkout *request)
{
    struct db_slot *slot;
    struct failure failure;
    if (!db_pool_checkout(pool, request, &slot, &failure)) {
        fprintf(stderr, "pool_bench: checkout: %s\n", failure.message);
        _exit(1);
    }
    return slot;
}

/* Registers the calling thread like a thread of the service with a request. */
static void enter(const char *role)
{
    thread_state_enter(role, "00000000000000000000000000000000");
    int failed = prctl(PR_SET_TIMERSLACK, 1UL);
    assert(!failed);
}

static void start_thread(pthread_t *thread, void *(*body)(void *), void *argument)
{
    pthread_attr_t attributes;
    CHECK_PTHREAD(pthread_attr_init(&attributes));
    CHECK_PTHREAD(pthread_attr_setstacksize(&attributes, STACK_BYTES));
    int failed = pthread_create(thread, &attributes, body, argument);
    if (failed) {
        fprintf(stderr, "pool_bench: no thread: %s\n", strerror(failed));
        _exit(1);
    }
    CHECK_PTHREAD(pthread_attr_destroy(&attributes));
}

static void barrier_wait(pthread_barrier_t *barrier)
{
    int result = pthread_barrier_wait(barrier);
    assert(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    const struct run *run = worker->run;
    const struct db_checkout request = patient();
    int64_t asked_ns;
    enter("bench");
    barrier_wait(&worker->run->ready); /* all threads are there */
    barrier_wait(&worker->run->ready); /* the window is set */
    while ((asked_ns = clock_now_ns()) < run->until_ns) {
        struct db_slot *slot = checkout(run->pool, &request);
        int64_t got_ns = clock_now_ns();
        if (run->hold_ns > 0)
            sleep_until(got_ns + run->hold_ns);
        db_pool_checkin(run->pool, &slot);
        if (asked_ns >= run->from_ns)
            histogram_record_ns(&worker->waits, got_ns - asked_ns);
    }
    thread_state_leave();
    return NULL;
}

static void gather(struct run *run)
{
    run->fewest = UINT64_MAX;
    for (unsigned i = 0; i < run->load.threads; i++) {
        const struct histogram *waits = &run->workers[i].waits;
        histogram_merge(&run->waits, waits);
        run->fewest = waits->count < run->fewest ? waits->count : run->fewest;
        run->most = waits->count > run->most ? waits->count : run->most;
    }
}

static void run_load(struct run *run)
{
    run->workers = calloc(run->load.threads, sizeof *run->workers);
    assert(run->workers);
    run->pool = open_pool(&run->stub, run->load.connections);
    CHECK_PTHREAD(pthread_barrier_init(&run->ready, NULL, run->load.threads + 1));
    for (unsigned i = 0; i < run->load.threads; i++) {
        run->workers[i].run = run;
        start_thread(&run->workers[i].thread, worker_main, &run->workers[i]);
    }
    barrier_wait(&run->ready);
    run->from_ns = clock_now_ns() + WARM_UP_NS;
    run->until_ns = run->from_ns + window_ns;
    barrier_wait(&run->ready);
    sleep_until(run->from_ns);
    int64_t cpu_before_ns = cpu_ns();
    int64_t begun_ns = clock_now_ns();
    sleep_until(run->until_ns);
    run->cores = (double)(cpu_ns() - cpu_before_ns) / (double)(clock_now_ns() - begun_ns);
    run->window_s = (double)window_ns / (double)CLOCK_NS_PER_S;
    for (unsigned i = 0; i < run->load.threads; i++)
        CHECK_PTHREAD(pthread_join(run->workers[i].thread, NULL));
    CHECK_PTHREAD(pthread_barrier_destroy(&run->ready));
    close_pool(run->pool);
    gather(run);
    free(run->workers);
}

static int compare(const void *left, const void *right)
{
    const double *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

/* The ns of a cycle without contention: one thread, one connection, and only the pool's own reads
 * of the clock. The median of batches, which a slow moment of the machine does not change. */
static double time_cycle(void)
{
    static double batches[MAX_BATCHES];
    struct stub stub;
    struct db_pool *pool = open_pool(&stub, 1);
    const struct db_checkout request = patient();
    size_t count = 0;
    int64_t from_ns = clock_now_ns() + WARM_UP_NS;
    int64_t until_ns = from_ns + window_ns;
    for (int64_t begun_ns = 0; begun_ns < until_ns && count < MAX_BATCHES;) {
        begun_ns = clock_now_ns();
        for (int i = 0; i < BATCH; i++) {
            struct db_slot *slot = checkout(pool, &request);
            db_pool_checkin(pool, &slot);
        }
        if (begun_ns >= from_ns)
            batches[count++] = (double)(clock_now_ns() - begun_ns) / BATCH;
    }
    close_pool(pool);
    qsort(batches, count, sizeof *batches, compare);
    return batches[count / 2];
}

static void *rest_main(void *argument)
{
    struct db_pool *pool = argument;
    const struct db_checkout request = patient();
    enter("bench");
    struct db_slot *slot = checkout(pool, &request);
    db_pool_checkin(pool, &slot);
    thread_state_leave();
    return NULL;
}

/* The % of one core that the process uses while its threads only wait in the queue. */
static double rest_percent(void)
{
    static pthread_t threads[REST_THREADS];
    struct db_slot *slots[REST_CONNECTIONS];
    struct stub stub;
    struct db_pool *pool = open_pool(&stub, REST_CONNECTIONS);
    const struct db_checkout request = patient();
    for (unsigned i = 0; i < REST_CONNECTIONS; i++)
        slots[i] = checkout(pool, &request);
    for (unsigned i = 0; i < REST_THREADS; i++)
        start_thread(&threads[i], rest_main, pool);
    while (db_pool_count(pool).waiting < REST_THREADS)
        clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS);
    int64_t rest_ns = window_ns > 2 * CLOCK_NS_PER_S ? window_ns : 2 * CLOCK_NS_PER_S;
    int64_t cpu_before_ns = cpu_ns();
    int64_t begun_ns = clock_now_ns();
    sleep_until(begun_ns + rest_ns);
    double percent = 100 * (double)(cpu_ns() - cpu_before_ns) / (double)(clock_now_ns() - begun_ns);
    for (unsigned i = 0; i < REST_CONNECTIONS; i++)
        db_pool_checkin(pool, &slots[i]);
    for (unsigned i = 0; i < REST_THREADS; i++)
        CHECK_PTHREAD(pthread_join(threads[i], NULL));
    close_pool(pool);
    return percent;
}

/* How long a thread's cycle takes if only the holds take time. */
static double bound_ms(const struct run *run)
{
    unsigned turns = (run->load.threads + run->load.connections - 1) / run->load.connections;
    return (double)turns * (double)run->hold_ns / (double)CLOCK_NS_PER_MS;
}

static double percentile_ms(const struct run *run, double percent)
{
    return (double)histogram_percentile_us(&run->waits, percent) / 1000;
}

static double cycles_per_s(const struct run *run)
{
    return (double)run->waits.count / run->window_s;
}

static double fairness(const struct run *run)
{
    return run->fewest ? (double)run->most / (double)run->fewest : INFINITY;
}

static void print_head(void)
{
    printf("checkout and check-in over a stub, %.1f s a line; waits in ms\n%8s %5s %6s %10s %8s "
           "%8s %8s %8s %9s %6s %12s\n",
           (double)window_ns / (double)CLOCK_NS_PER_S, "threads", "conns", "hold", "cycles/s",
           "p50", "p99", "p99.9", "max", "max/min", "cores", "p99.9/bound");
}

static void print_run(const struct run *run)
{
    printf("%8u %5u %3lld ms %10.0f %8.3f %8.3f %8.3f %8.3f %9.2f %6.2f", run->load.threads,
           run->load.connections, (long long)(run->hold_ns / CLOCK_NS_PER_MS), cycles_per_s(run),
           percentile_ms(run, 50), percentile_ms(run, 99), percentile_ms(run, 99.9),
           percentile_ms(run, 100), fairness(run), run->cores);
    if (run->hold_ns > 0)
        printf(" %12.2f", percentile_ms(run, 99.9) / bound_ms(run));
    printf("\n");
    fflush(stdout);
}

static json_t *run_as_json(const struct run *run)
{
    return json_pack("{s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:f, s:f}", "threads",
                     (int)run->load.threads, "connections", (int)run->load.connections, "hold_ms",
                     (double)run->hold_ns / (double)CLOCK_NS_PER_MS, "cycles_per_s",
                     cycles_per_s(run), "wait_p50_ms", percentile_ms(run, 50), "wait_p99_ms",
                     percentile_ms(run, 99), "wait_p99_9_ms", percentile_ms(run, 99.9),
                     "wait_max_ms", percentile_ms(run, 100), "fewest_cycles",
                     (json_int_t)run->fewest, "most_cycles", (json_int_t)run->most, "cpu_cores",
                     run->cores, "bound_ms", bound_ms(run));
}

static int run_all(const char *json_path)
{
    json_t *runs = json_array();
    print_head();
    for (size_t i = 0; i < 2 * (sizeof loads / sizeof loads[0]); i++) {
        struct run *run = calloc(1, sizeof *run);
        assert(run);
        run->load = loads[i / 2];
        run->hold_ns = i % 2 ? HOLD_NS : 0;
        run_load(run);
        print_run(run);
        json_array_append_new(runs, run_as_json(run));
        free(run);
    }
    double cycle_ns = time_cycle();
    double percent = rest_percent();
    printf("max/min: cycles of the busiest thread by those of the idlest\n"
           "bound: ceil(threads / conns) x hold, the whole cycle of a thread whose turn comes in "
           "order; its own hold is in it, so the best wait is one hold less\n"
           "1/1, hold 0, no clock but the pool's: %.0f ns a cycle\n"
           "%d threads at rest in the queue: %.2f %% of one core\n",
           cycle_ns, REST_THREADS, percent);
    json_t *result =
        json_pack("{s:f, s:o, s:f, s:f}", "window_s", (double)window_ns / (double)CLOCK_NS_PER_S,
                  "runs", runs, "uncontended_cycle_ns", cycle_ns, "rest_cpu_percent", percent);
    assert(result);
    bool ok = !json_path || json_dump_file(result, json_path, JSON_INDENT(2)) == 0;
    if (!ok)
        fprintf(stderr, "pool_bench: cannot write '%s'\n", json_path);
    json_decref(result);
    return ok ? 0 : 1;
}

/* Reads BENCH_SECONDS, with a default if it is not set. False if it is not a number of 0.1..60. */
static bool read_window(void)
{
    const char *text = getenv("BENCH_SECONDS");
    char *end = NULL;
    if (!text)
        return true;
    double seconds = strtod(text, &end);
    window_ns = (int64_t)(seconds * (double)CLOCK_NS_PER_S);
    return *text && !*end && seconds >= 0.1 && seconds <= 60;
}

int main(int argc, char **argv)
{
    char *no_arguments[] = {argv[0], NULL};
    bool wants_json = argc == 3 && strcmp(argv[1], "--json") == 0;
    int positional_count;
    if ((argc != 1 && !wants_json) || !read_window()) {
        fprintf(stderr, "usage: [BENCH_SECONDS=0.1..60] pool_bench [--json FILE]\n");
        return 2;
    }
    if (config_read(&service_config, 1, no_arguments, &positional_count) != OPTIONS_RUN)
        return 2;
    enter("main");
    int status = run_all(wants_json ? argv[2] : NULL);
    thread_state_leave();
    return status;
}
