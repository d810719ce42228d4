#include "loadtest/cli/command.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/descriptors.h"
#include "common/option_row.h"
#include "common/options.h"
#include "loadtest/engine/load_run.h"
#include "loadtest/judge/verdict.h"
#include "loadtest/report/run_json.h"
#include "loadtest/selftest/selftest.h"
#include "loadtest/selftest/stall_server.h"

#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#define PROGRAM "loadtest selftest"
/* For all tests and their repetitions. */
#define TIME_S 90
/* T3 keeps 1,300 connections open, both of whose ends are in this process. */
#define DESCRIPTORS 4096
/* The test is not about the machine's other work, so the threads run before it. Without that
 * privilege the selftest still runs, but more attempts are disturbed. */
#define NICENESS (-10)

struct selftest_options {
    const char *only;
    const char *serve;
    const char *json_path;
};

static bool parse(int argc, char **argv, struct selftest_options *options, enum exit_code *status)
{
    struct option table[] = {
        TEXT_ROW("only", &options->only, NULL, "TEST", "one test of T1..T9"),
        TEXT_ROW("serve", &options->serve, NULL, "TEST",
                 "only that test's server, for other tools: its port, until stdin ends"),
        JSON_ROW(&options->json_path),
    };
    const struct options_program program = {
        .name = PROGRAM,
        .usage = "usage: loadtest selftest [OPTIONS]\n\nDoes the load tester tell the truth? Sends "
                 "loads to a server of its own that misbehaves in\nknown ways, and holds what was "
                 "measured against what must come out. At most 90 s.\nExits with 0 if every figure "
                 "holds, else with 1.",
        .table = table,
        .count = sizeof table / sizeof table[0]};
    return command_parse(&program, argc, argv, status);
}

static const struct selftest_case *find(const char *option, const char *name)
{
    const struct selftest_case *test = selftest_find(name);
    if (!test)
        fprintf(stderr, PROGRAM ": --%s: '%s' is not in the range T1..T9\n", option, name);
    return test;
}

/* Serves until stdin ends or a signal comes. */
static enum exit_code serve(const struct selftest_case *test, const struct stop *stop)
{
    char why[SELFTEST_WHY];
    char ignored[256];
    struct stall_server *server = stall_server_start(test->scene, 0, why, sizeof why);
    if (!server) {
        fprintf(stderr, PROGRAM ": %s\n", why);
        return EXIT_TROUBLE;
    }
    printf("%u\n", (unsigned)stall_server_port(server));
    fflush(stdout);
    struct pollfd watched[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                               {.fd = stop->event_fd, .events = POLLIN}};
    while (!stop_requested(stop)) {
        if (poll(watched, 2, -1) < 0 || !watched[0].revents)
            continue;
        if (read(STDIN_FILENO, ignored, sizeof ignored) <= 0)
            break;
    }
    stall_server_free(server);
    return EXIT_PASS;
}

/* A thread's cases: one that is long, or all that are run in turn. They wait most of their time. */
struct case_run {
    struct selftest_outcome outcome;
    const struct selftest_case *test;
    int64_t deadline_ns; /* for repetitions */
    const struct stop *stop;
    struct case_run *then; /* the next one in turn, or NULL */
    pthread_t thread;
    bool started;
};

static void *case_main(void *argument)
{
    for (struct case_run *run = argument; run; run = run->then)
        selftest_attempt(run->test, run->deadline_ns, run->stop, &run->outcome);
    return NULL;
}

static void print(const struct selftest_outcome *outcome)
{
    struct text out = {0};
    text_addf(&out, "%-4s  %s  %s\n", outcome->ok ? "ok" : "FAIL", outcome->test->name,
              outcome->test->title);
    for (unsigned i = 0; i < outcome->attempts; i++)
        if (*outcome->repeated[i])
            text_addf(&out, "    attempt %u%s: %s\n", i + 1,
                      i + 1 < outcome->attempts ? ", repeated" : "", outcome->repeated[i]);
    text_addf(&out, "    %-38s  %-24s %s\n", "", "expected", "measured");
    selftest_table_write(&out, &outcome->table);
    text_add(&out, "\n");
    fwrite(out.data ? out.data : "", 1, out.size_bytes, stdout);
    fflush(stdout);
    text_clear(&out);
}

static json_t *outcome_json(const struct selftest_outcome *outcome)
{
    json_t *repeated = json_array();
    for (unsigned i = 0; i < outcome->attempts; i++)
        if (*outcome->repeated[i])
            json_array_append_new(repeated, json_string(outcome->repeated[i]));
    return json_pack("{s:s, s:s, s:b, s:i, s:o, s:f, s:o}", "test", outcome->test->name, "title",
                     outcome->test->title, "ok", outcome->ok, "attempts", (int)outcome->attempts,
                     "did_not_count", repeated, "disturbed_ms",
                     (double)outcome->table.disturbed_ns / (double)CLOCK_NS_PER_MS, "figures",
                     selftest_table_json(&outcome->table));
}

static bool write_json(const char *path, const struct case_run *runs, size_t count, size_t passed)
{
    char why[512] = "out of memory";
    json_t *tests = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(tests, outcome_json(&runs[i].outcome));
    json_t *root = json_pack("{s:i, s:i, s:o}", "passed", (int)passed, "failed",
                             (int)(count - passed), "tests", tests);
    bool written = root && run_json_write_file(path, 0644, root, why, sizeof why);
    if (!written)
        fprintf(stderr, PROGRAM ": --json: %s\n", why);
    json_decref(root);
    return written;
}

/* Chains the cases that are run in turn, and leaves each the time that those behind it need. */
static void put_in_turn(struct case_run *runs, size_t count, int64_t deadline_ns)
{
    struct case_run *then = NULL;
    for (size_t i = count; i-- > 0;) {
        runs[i].deadline_ns = deadline_ns;
        if (!runs[i].test->in_turn)
            continue;
        if (then)
            runs[i].deadline_ns =
                then->deadline_ns - (int64_t)(then->test->seconds * (double)CLOCK_NS_PER_S);
        runs[i].then = then;
        then = &runs[i];
    }
}

/* Runs the cases, those that are not in turn side by side, and prints them in their order. Returns
 * how many passed. */
static size_t run_cases(struct case_run *runs, const struct selftest_case *tests, size_t count,
                        const struct stop *stop)
{
    size_t passed = 0;
    bool turn_taken = false;
    puts("Expected is what theory says. A second number is what the machine made of it, by the\n"
         "server's own clock and books; behind +- stands the tolerance.\n");
    fflush(stdout);
    for (size_t i = 0; i < count; i++)
        runs[i] = (struct case_run){.test = &tests[i], .stop = stop};
    put_in_turn(runs, count, clock_now_ns() + TIME_S * CLOCK_NS_PER_S);
    for (size_t i = 0; i < count; i++) {
        if (tests[i].in_turn && turn_taken)
            continue;
        turn_taken |= tests[i].in_turn;
        runs[i].started = !pthread_create(&runs[i].thread, NULL, case_main, &runs[i]);
        if (!runs[i].started) /* then it is done here, and the rest after it */
            case_main(&runs[i]);
    }
    for (size_t i = 0; i < count; i++)
        if (runs[i].started)
            CHECK_PTHREAD(pthread_join(runs[i].thread, NULL));
    for (size_t i = 0; i < count; i++) {
        if (!stop_requested(stop))
            print(&runs[i].outcome);
        passed += runs[i].outcome.ok;
    }
    return passed;
}

enum exit_code command_selftest(int argc, char **argv, struct stop *stop)
{
    struct selftest_options options = {0};
    size_t count;
    enum exit_code status;
    if (!parse(argc, argv, &options, &status))
        return status;
    const struct selftest_case *tests = selftest_cases(&count);
    uint64_t descriptors = descriptors_raise();
    setpriority(PRIO_PROCESS, 0, NICENESS);
    if (options.serve) {
        tests = find("serve", options.serve);
        return tests ? serve(tests, stop) : EXIT_USAGE;
    }
    if (options.only) {
        count = 1;
        tests = find("only", options.only);
        if (!tests)
            return EXIT_USAGE;
    }
    if (descriptors < DESCRIPTORS) {
        fprintf(stderr, PROGRAM ": needs %d descriptors (ulimit -n), not %llu\n", DESCRIPTORS,
                (unsigned long long)descriptors);
        return EXIT_TROUBLE;
    }
    if (!command_try_file(PROGRAM, "--json", options.json_path))
        return EXIT_TROUBLE;
    struct case_run *runs = calloc(count, sizeof *runs);
    if (!runs) {
        fputs(PROGRAM ": out of memory\n", stderr);
        return EXIT_TROUBLE;
    }
    size_t passed = run_cases(runs, tests, count, stop);
    bool failed = passed < count;
    if (stop_requested(stop)) {
        fputs(PROGRAM ": stopped by a signal\n", stderr);
        free(runs);
        return EXIT_SIGNAL;
    }
    if (options.json_path && !write_json(options.json_path, runs, count, passed))
        failed = true;
    printf("%zu passed, %zu failed\n", passed, count - passed);
    if (fflush(stdout) != 0)
        failed = true;
    free(runs);
    return failed ? EXIT_TROUBLE : EXIT_PASS;
}
