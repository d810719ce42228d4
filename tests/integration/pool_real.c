/* The pool over libpq against a real PostgreSQL: the states in which a connection may come back,
 * the queries that a cancel may hit, the socket options. FLASHOVER_DATABASE_URL names the server;
 * pytest starts it. */
#include "tests/support/support.h"

#include "service/db/conn.h"
#include "service/pool/pool.h"
#include "service/variants/admission/admission.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <sys/socket.h>

static struct db_conn_config database = {.application_name = "flashover"};

static struct db_pool *open_pool(unsigned max_size, int64_t drain_ms)
{
    struct failure failure;
    const struct db_pool_config config = {.address = "real",
                                          .max_size = max_size,
                                          .max_connecting = 2,
                                          .background_interval_ns = CLOCK_NS_PER_S,
                                          .connect_timeout_ns = TEST_PATIENCE_NS,
                                          .drain_timeout_ns = drain_ms * CLOCK_NS_PER_MS,
                                          .cancel_timeout_ns = TEST_PATIENCE_NS,
                                          .close_timeout_ns = TEST_PATIENCE_NS,
                                          .policy = &db_pool_policy_autonomous,
                                          .connector = db_conn_connector(&database)};
    struct db_pool *pool = db_pool_open(&config, &failure);
    assert_non_null(pool);
    db_pool_ready(pool);
    return pool;
}

static void close_pool(struct db_pool *pool)
{
    db_pool_close(pool);
    assert_true(db_pool_free(pool));
}

static struct db_slot *checkout(struct db_pool *pool)
{
    struct db_slot *slot;
    struct failure failure;
    const struct db_checkout request = {.deadline_ns = clock_now_ns() + TEST_PATIENCE_NS,
                                        .admit = admission_deadline.admit,
                                        .call_site = "test",
                                        .query = "none"};
    if (!db_pool_checkout(pool, &request, &slot, &failure)) {
        fprintf(stderr, "checkout: %s\n", failure.message);
        abort();
    }
    return slot;
}

/* Executes, and drops the result. */
static bool execute(const struct db_slot *slot, const char *sql, int64_t timeout_ns,
                    struct failure *failure)
{
    PGresult *result;
    bool ok = db_conn_execute(db_slot_connection(slot), sql, 0, NULL, clock_now_ns() + timeout_ns,
                              &result, failure);
    PQclear(result);
    return ok;
}

static int backend(const struct db_slot *slot)
{
    const struct db_connector connector = db_conn_connector(&database);
    return connector.backend_pid(db_slot_connection(slot));
}

/* Executes `sql` and returns the connection as that left it. The next checkout must get the same
 * connection, ready and outside of any transaction. */
static void check_next_is_clean(const char *const *sql, bool ends_in_error, int64_t timeout_ns)
{
    struct failure failure;
    struct db_pool *pool = open_pool(1, 5000);
    struct db_slot *slot = checkout(pool);
    int pid = backend(slot);
    bool ok = true;
    for (; *sql; sql++)
        ok = execute(slot, *sql, timeout_ns, &failure);
    assert_true(ok != ends_in_error);
    db_pool_checkin(pool, &slot);
    slot = checkout(pool);
    assert_int_equal(backend(slot), pid);
    /* in a transaction VACUUM fails; outside, only its table or schema is missing */
    assert_true(execute(slot, "VACUUM pg_temp.nothing", TEST_PATIENCE_NS, &failure) ||
                strcmp(failure.sqlstate, "42P01") == 0 || strcmp(failure.sqlstate, "3F000") == 0);
    assert_true(execute(slot, "SELECT 1", TEST_PATIENCE_NS, &failure));
    db_pool_checkin(pool, &slot);
    close_pool(pool);
}

static void test_returned_in_a_transaction(void **state)
{
    const char *const begun[] = {"BEGIN", "SELECT 1", NULL};
    (void)state;
    check_next_is_clean(begun, false, TEST_PATIENCE_NS);
}

static void test_returned_in_a_failed_transaction(void **state)
{
    const char *const failed[] = {"BEGIN", "SELECT 1/0", NULL};
    (void)state;
    check_next_is_clean(failed, true, TEST_PATIENCE_NS);
}

static void test_returned_busy(void **state)
{
    const char *const busy[] = {"SELECT pg_sleep(0.2)", NULL};
    const char *const busy_in_transaction[] = {"BEGIN", "SELECT pg_sleep(0.2)", NULL};
    (void)state;
    check_next_is_clean(busy, true, 50 * CLOCK_NS_PER_MS);
    check_next_is_clean(busy_in_transaction, true, 50 * CLOCK_NS_PER_MS);
}

/* Executions of a statement that sleeps, in one pipeline. */
struct naps {
    double seconds[3];
    unsigned taken;
};

static void write_nap(void *context, unsigned index, struct db_value *parameters)
{
    const struct naps *naps = context;
    parameters[0] = db_value_float8(naps->seconds[index]);
}

static bool take_nap(void *context, unsigned index, const PGresult *result, struct failure *failure)
{
    struct naps *naps = context;
    (void)failure;
    assert_int_equal(index, naps->taken);
    assert_int_equal(PQntuples(result), 1);
    naps->taken++;
    return true;
}

static bool nap(const struct db_slot *slot, struct naps *naps, int64_t timeout_ns,
                struct failure *failure)
{
    const struct db_pipeline pipeline = {.statement = database.statements,
                                         .count = 3,
                                         .write_parameters = write_nap,
                                         .take = take_nap,
                                         .context = naps};
    return db_conn_pipeline(db_slot_connection(slot), &pipeline, clock_now_ns() + timeout_ns,
                            failure);
}

/* The caller gives up a pipeline, at its beginning or between two answers. The pipeline is whole or
 * aborted by an error (a nap of -1 s), and it is drained or cancelled. The next borrower gets the
 * same connection, and no trace of the pipeline. */
static void test_returned_in_a_pipeline(void **state)
{
    static const struct naps all[] = {{.seconds = {0.3, 0, 0}},
                                      {.seconds = {0, 0.3, 0}},
                                      {.seconds = {0, 0.3, -1}},
                                      {.seconds = {0.3, -1, 0}}};
    (void)state;
    for (size_t i = 0; i < 2 * sizeof all / sizeof all[0]; i++) {
        struct naps naps = all[i / 2];
        struct naps whole = {.seconds = {0, 0, 0}};
        struct failure failure = {0};
        struct db_pool *pool = open_pool(1, i % 2 ? 5000 : 0); /* 0: cancelled at once */
        struct db_slot *slot = checkout(pool);
        int pid = backend(slot);
        assert_false(nap(slot, &naps, 100 * CLOCK_NS_PER_MS, &failure));
        assert_int_equal(failure.kind, FAILURE_READ_DEADLINE);
        db_pool_checkin(pool, &slot);
        slot = checkout(pool);
        assert_int_equal(backend(slot), pid);
        assert_true(execute(slot, "SELECT 1", TEST_PATIENCE_NS, &failure));
        assert_true(nap(slot, &whole, TEST_PATIENCE_NS, &failure));
        assert_int_equal(whole.taken, 3);
        db_pool_checkin(pool, &slot);
        close_pool(pool);
    }
}

/* The error of one execution ends those behind it, and nothing else. */
static void test_an_error_in_a_pipeline(void **state)
{
    struct naps naps = {.seconds = {0, -1, 0}};
    struct failure failure = {0};
    (void)state;
    struct db_pool *pool = open_pool(1, 5000);
    struct db_slot *slot = checkout(pool);
    assert_false(nap(slot, &naps, TEST_PATIENCE_NS, &failure));
    assert_int_equal(failure.kind, FAILURE_DATABASE);
    assert_string_equal(failure.sqlstate, "2201F"); /* the root of a negative number */
    assert_int_equal(naps.taken, 1);
    assert_true(execute(slot, "SELECT 1", TEST_PATIENCE_NS, &failure));
    db_pool_checkin(pool, &slot);
    close_pool(pool);
}

static void test_a_connection_lost_in_a_pipeline(void **state)
{
    struct naps naps = {.seconds = {0, 0, 0}};
    struct failure failure = {0};
    (void)state;
    struct db_pool *pool = open_pool(2, 5000);
    struct db_slot *victim = checkout(pool);
    struct db_slot *slot = checkout(pool);
    char sql[80];
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d, 10000)", backend(victim));
    assert_true(execute(slot, sql, TEST_PATIENCE_NS, &failure));
    assert_false(nap(victim, &naps, TEST_PATIENCE_NS, &failure));
    assert_int_equal(failure.kind, FAILURE_DATABASE);
    db_pool_checkin(pool, &victim);
    db_pool_checkin(pool, &slot);
    close_pool(pool);
}

static void test_returned_broken(void **state)
{
    struct failure failure;
    (void)state;
    struct db_pool *pool = open_pool(1, 5000);
    struct db_slot *slot = checkout(pool);
    int pid = backend(slot);
    assert_false(
        execute(slot, "SELECT pg_terminate_backend(pg_backend_pid())", TEST_PATIENCE_NS, &failure));
    assert_string_equal(failure.sqlstate, "57P01");
    db_pool_checkin(pool, &slot);
    slot = checkout(pool);
    assert_int_not_equal(backend(slot), pid);
    assert_true(execute(slot, "SELECT 1", TEST_PATIENCE_NS, &failure));
    db_pool_checkin(pool, &slot);
    close_pool(pool);
}

/* The kernel notices a peer that is gone without closing its connection. */
static void test_the_kernel_watches_the_peer(void **state)
{
    int value;
    socklen_t size = sizeof value;
    const struct db_connector connector = db_conn_connector(&database);
    (void)state;
    struct db_pool *pool = open_pool(1, 100);
    struct db_slot *slot = checkout(pool);
    int fd = connector.socket(db_slot_connection(slot));
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, &size), 0);
    assert_int_equal(value, 10000);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &size), 0);
    assert_true(value != 0);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &value, &size), 0);
    assert_int_equal(value, 15);
    db_pool_checkin(pool, &slot);
    close_pool(pool);
}

/* Long queries are cancelled, and short ones run between them on the same connections. The short
 * ones never fail. The long ones end by themselves at about the time when their cancel comes. */
struct customer {
    struct db_pool *pool;
    unsigned seed;
    pthread_t thread;
    unsigned cancelled, hit;
};

enum { CUSTOMERS = 12, SIZE = 4 };

static int rounds = 20;

static void *customer_main(void *argument)
{
    struct customer *customer = argument;
    for (int i = 0; i < rounds; i++) {
        struct failure failure;
        struct db_slot *slot = checkout(customer->pool);
        customer->seed = customer->seed * 1103515245U + 12345U;
        bool is_long = i % 2 == 0;
        int64_t timeout_ns =
            is_long ? 1 + (customer->seed >> 16) % 3000 * CLOCK_NS_PER_US : TEST_PATIENCE_NS;
        const char *sql = is_long ? "SELECT pg_sleep(0.003)" : "SELECT 1";
        bool ok = execute(slot, sql, timeout_ns, &failure);
        customer->cancelled += !ok && failure.kind == FAILURE_READ_DEADLINE;
        customer->hit += !ok && failure.kind == FAILURE_DATABASE;
        db_pool_checkin(customer->pool, &slot);
    }
    return NULL;
}

static void test_a_cancel_hits_nobody_else(void **state)
{
    struct customer customers[CUSTOMERS];
    unsigned cancelled = 0;
    (void)state;
    struct db_pool *pool = open_pool(SIZE, 0);
    for (unsigned i = 0; i < CUSTOMERS; i++) {
        customers[i] = (struct customer){.pool = pool, .seed = i + 1};
        CHECK_PTHREAD(pthread_create(&customers[i].thread, NULL, customer_main, &customers[i]));
    }
    for (unsigned i = 0; i < CUSTOMERS; i++) {
        CHECK_PTHREAD(pthread_join(customers[i].thread, NULL));
        assert_int_equal(customers[i].hit, 0);
        cancelled += customers[i].cancelled;
    }
    print_message("%u queries given up\n", cancelled);
    assert_true(cancelled > CUSTOMERS * (unsigned)rounds / 4);
    close_pool(pool);
}

/* The argument is the number of rounds of cancels: the suite has time for a few only. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_returned_in_a_transaction),
        cmocka_unit_test(test_returned_in_a_failed_transaction),
        cmocka_unit_test(test_returned_busy),
        cmocka_unit_test(test_returned_in_a_pipeline),
        cmocka_unit_test(test_an_error_in_a_pipeline),
        cmocka_unit_test(test_a_connection_lost_in_a_pipeline),
        cmocka_unit_test(test_returned_broken),
        cmocka_unit_test(test_the_kernel_watches_the_peer),
        cmocka_unit_test(test_a_cancel_hits_nobody_else),
    };
    static const Oid float8 = 701; /* pg_type.oid */
    static const struct db_statement nap_statement = {"nap", "SELECT pg_sleep(sqrt($1) * sqrt($1))",
                                                      1, &float8};
    database.statements = &nap_statement;
    database.statement_count = 1;
    database.conninfo = getenv("FLASHOVER_DATABASE_URL");
    if (argc > 1)
        rounds = (int)strtol(argv[1], NULL, 10);
    return cmocka_run_group_tests_name("pool_real", tests, NULL, NULL);
}
