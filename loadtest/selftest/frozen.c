/* T5: the load tester itself stands still. A real one, as a user starts it, is stopped by SIGSTOP
 * for half a second: it must call its run INVALID, and may not leave the half second out. */
#include "common/check.h"
#include "common/clock.h"
#include "loadtest/judge/verdict.h"
#include "loadtest/selftest/load.h"
#include "loadtest/selftest/scenes.h"
#include "loadtest/selftest/selftest.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#define RATE_PER_S   100
#define DURATION_S   4
#define FREEZE_NS    (500 * CLOCK_NS_PER_MS)
#define TOLERANCE_MS 15.0

struct frozen {
    char folder[512]; /* of its JSON */
    char json_path[544];
    pid_t pid;
    double stopped_ms; /* from its SIGSTOP to its SIGCONT */
    int exit_code;
};

/* The environment without our own variables: they are options of the child, too. */
static char **plain_environment(void)
{
    size_t count = 0;
    while (environ[count])
        count++;
    char **plain = calloc(count + 1, sizeof plain[0]);
    for (size_t from = 0, to = 0; plain && from < count; from++)
        if (strncmp(environ[from], "FLASHOVER_", 10) != 0)
            plain[to++] = environ[from];
    return plain;
}

static bool start(struct frozen *frozen, uint16_t port, char *why, size_t why_size)
{
    char url[64];
    char rate[16];
    char duration[16];
    posix_spawn_file_actions_t actions;
    char **environment = plain_environment();
    snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/feeds/{feed}", (unsigned)port);
    snprintf(rate, sizeof rate, "%d", RATE_PER_S);
    snprintf(duration, sizeof duration, "%d", DURATION_S);
    char *arguments[] = {"loadtest",   "run",     "--url", url,      "--rate",
                         rate,         "--items", "3",     "--json", frozen->json_path,
                         "--duration", duration,  NULL};
    int error = environment ? posix_spawn_file_actions_init(&actions) : ENOMEM;
    if (!error) {
        for (int fd = STDIN_FILENO; fd <= STDERR_FILENO && !error; fd++)
            error = posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
        if (!error)
            error =
                posix_spawn(&frozen->pid, "/proc/self/exe", &actions, NULL, arguments, environment);
        posix_spawn_file_actions_destroy(&actions);
    }
    free(environment);
    if (error)
        snprintf(why, why_size, "no process can be started: %s", strerrordesc_np(error));
    return !error;
}

/* Stops the child for FREEZE_NS, a second after it has begun. */
static void freeze(struct frozen *frozen, const struct stop *stop)
{
    stop_wait_until(stop, clock_now_ns() + CLOCK_NS_PER_S);
    kill(frozen->pid, SIGSTOP);
    int64_t from_ns = clock_now_ns();
    stop_wait_until(stop, from_ns + FREEZE_NS);
    kill(frozen->pid, SIGCONT);
    frozen->stopped_ms = (double)(clock_now_ns() - from_ns) / (double)CLOCK_NS_PER_MS;
    if (stop_requested(stop))
        kill(frozen->pid, SIGTERM);
}

static double number_at(const json_t *root, const char *section, const char *part, const char *key)
{
    json_t *found = json_object_get(json_object_get(json_object_get(root, section), part), key);
    return found ? json_number_value(found) : -1;
}

/* Of its response times: L(q) = s + S - (1-q) D, as in T1. */
static void compare(struct selftest_table *table, const struct frozen *frozen)
{
    json_error_t error;
    json_t *root = json_load_file(frozen->json_path, 0, &error);
    if (!root) {
        selftest_trouble(table, error.text);
        return;
    }
    const char *word =
        json_string_value(json_object_get(json_object_get(root, "verdict"), "status"));
    double stall_ms = frozen->stopped_ms;
    double gap_ms = 1e3 / RATE_PER_S;
    selftest_between(table, "SIGSTOP for", 500, 600, stall_ms, "ms");
    selftest_words(table, "verdict", "INVALID", word ? word : "none");
    selftest_count(table, "exit status", EXIT_INVALID, (uint64_t)frozen->exit_code);
    selftest_count(table, "requests, none left out", (uint64_t)RATE_PER_S * DURATION_S,
                   (uint64_t)number_at(root, "latency_ms", "response", "count"));
    /* The first request that was late was due within a gap after the stop. */
    selftest_near(table, "schedule lag, max", stall_ms, TOLERANCE_MS,
                  number_at(root, "latency_ms", "lag", "max"), "ms");
    selftest_near(table, "response time, max", stall_ms + 1, TOLERANCE_MS,
                  number_at(root, "latency_ms", "response", "max"), "ms");
    selftest_near(table, "  p99", stall_ms + 1 - 0.01 * DURATION_S * 1e3, gap_ms + 5,
                  number_at(root, "latency_ms", "response", "p99"), "ms");
    selftest_near(table, "  p95", stall_ms + 1 - 0.05 * DURATION_S * 1e3, gap_ms + 5,
                  number_at(root, "latency_ms", "response", "p95"), "ms");
    json_decref(root);
}

void selftest_t5(struct selftest_table *table, const struct stop *stop)
{
    char why[SELFTEST_WHY];
    const char *temporary = getenv("TMPDIR");
    struct frozen frozen = {0};
    int size = snprintf(frozen.folder, sizeof frozen.folder, "%s/loadtest-XXXXXX",
                        temporary && *temporary ? temporary : "/tmp");
    if (size >= (int)sizeof frozen.folder || !mkdtemp(frozen.folder)) {
        selftest_trouble(table, "no temporary folder can be made");
        return;
    }
    snprintf(frozen.json_path, sizeof frozen.json_path, "%s/frozen.json", frozen.folder);
    struct stall_server *server = stall_server_start(&selftest_scene_steady, 0, why, sizeof why);
    if (!server || !start(&frozen, stall_server_port(server), why, sizeof why)) {
        selftest_trouble(table, why);
    } else {
        int status = 0;
        freeze(&frozen, stop);
        while (waitpid(frozen.pid, &status, 0) < 0 && errno == EINTR)
            ;
        frozen.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        compare(table, &frozen);
        table->disturbed_ns = stall_server_finish(server)->late_max_ns;
    }
    stall_server_free(server);
    unlink(frozen.json_path);
    rmdir(frozen.folder);
}
