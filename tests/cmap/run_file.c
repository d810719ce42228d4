#include "tests/cmap/run_file.h"

#include "common/check.h"
#include "common/clock.h"
#include "tests/cmap/operation.h"
#include "tests/cmap/thread.h"
#include "tests/cmap/verdict.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* Added to the child's time limit, for a child whose watchdog hangs as well. */
#define GRACE_NS (10 * CLOCK_NS_PER_S)

/* The child's state: a scenario and the thread that watches it. Lock key: (i) immutable while
 * watched, (m) under `lock`. */
struct run {
    const char *name;              /* (i) the file's, without its folder and .json */
    int report_fd;                 /* (i) */
    int64_t deadline_ns;           /* (i) */
    struct cmap_scenario scenario; /* (i) */
    struct cmap_session session;   /* see there */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_done;      /* (m) */
    bool has_reported; /* (m) */
};

static void send_report(const struct run *run, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(run->report_fd, data, size);
        assert(written > 0);
        data += written;
        size -= (size_t)written;
    }
}

/* Only the first report counts: the watchdog may report at the last moment. */
static void report(struct run *run, bool passed, const char *why, const struct text *events)
{
    struct text out = {0};
    CHECK_PTHREAD(pthread_mutex_lock(&run->lock));
    bool is_first = !run->has_reported;
    run->has_reported = true;
    CHECK_PTHREAD(pthread_mutex_unlock(&run->lock));
    if (!is_first)
        return;
    text_addf(&out, "%s %s: %s\n", passed ? "ok  " : "FAIL", run->name, run->scenario.description);
    if (!passed)
        text_addf(&out, "     %s\n", why);
    if (!passed && events->data)
        text_add(&out, events->data);
    assert(!out.failed);
    send_report(run, out.data, out.size_bytes);
    text_clear(&out);
}

/* Ends the process when the scenario takes too long. */
static void *watch(void *argument)
{
    struct run *run = argument;
    struct timespec until = clock_timespec(run->deadline_ns);
    int result = 0;
    CHECK_PTHREAD(pthread_mutex_lock(&run->lock));
    while (!run->is_done && result != ETIMEDOUT)
        result = pthread_cond_timedwait(&run->changed, &run->lock, &until);
    bool is_done = run->is_done;
    CHECK_PTHREAD(pthread_mutex_unlock(&run->lock));
    if (is_done)
        return NULL;
    size_t at = atomic_load(&run->session.at);
    size_t count = run->scenario.operation_count;
    const struct cmap_operation *operation =
        at > 0 && at <= count ? &run->scenario.operations[at - 1] : NULL;
    const char *of = operation && operation->target ? operation->target : "";
    struct text events = {0};
    double *times_ms;
    json_t *seen = cmap_verdict_events(&run->session, &times_ms);
    cmap_verdict_print(seen, times_ms, &events);
    char why[160];
    snprintf(why, sizeof why, "hung: in operation %zu (%s%s%s)", at,
             operation ? operation->name : "the end of the pool", *of ? " " : "", of);
    report(run, false, why, &events);
    _exit(1);
}

/* Executes the operations up to the first error, which becomes the scenario's error. */
static void execute(struct cmap_session *session, struct cmap_error *error)
{
    const struct cmap_scenario *scenario = session->scenario;
    for (size_t i = 0; i < scenario->operation_count; i++) {
        atomic_store(&session->at, i + 1);
        if (scenario->operations[i].thread)
            cmap_thread_post(session, &scenario->operations[i]);
        else
            cmap_operation_execute(session, &scenario->operations[i], error);
        if (error->type || cmap_session_failed(session))
            break;
    }
    atomic_store(&session->at, scenario->operation_count + 1);
}

/* Runs the scenario in this thread. True: all is as expected. */
static bool run_scenario(struct run *run, const struct cmap_settings *settings)
{
    struct cmap_session *session = &run->session;
    struct cmap_error error = {0};
    struct cmap_why why = {0};
    struct text printed = {0};
    double *times_ms = NULL;
    json_t *events = NULL;
    if (cmap_session_open(session, &run->scenario, settings)) {
        execute(session, &error);
        events = cmap_verdict_events(session, &times_ms);
        cmap_verdict_print(events, times_ms, &printed);
    }
    cmap_session_close(session);
    if (session->why.text[0]) /* no other thread is left */
        cmap_why_set(&why, "%s", session->why.text);
    bool passed = !why.text[0] &&
                  cmap_verdict_on_error(&run->scenario, &error, session->config.address, &why) &&
                  cmap_verdict_on_events(&run->scenario, events, &why);
    report(run, passed, why.text, &printed);
    text_clear(&printed);
    json_decref(events);
    free(times_ms);
    return passed;
}

static bool run_watched(struct run *run, const struct cmap_settings *settings)
{
    pthread_t watcher;
    CHECK_PTHREAD(pthread_create(&watcher, NULL, watch, run));
    bool passed = run_scenario(run, settings);
    CHECK_PTHREAD(pthread_mutex_lock(&run->lock));
    run->is_done = true;
    CHECK_PTHREAD(pthread_cond_signal(&run->changed));
    CHECK_PTHREAD(pthread_mutex_unlock(&run->lock));
    CHECK_PTHREAD(pthread_join(watcher, NULL));
    return passed;
}

/* The file's name without its folder and ".json", to be freed by the caller. */
static char *short_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = strdup(slash ? slash + 1 : path);
    assert(name);
    char *dot = strrchr(name, '.');
    if (dot && strcmp(dot, ".json") == 0)
        *dot = '\0';
    return name;
}

/* The main function of a file's process. Returns its exit status. */
static int child(const char *path, const struct cmap_settings *settings, int report_fd)
{
    struct run *run = calloc(1, sizeof *run);
    char *name = short_name(path);
    struct cmap_why why = {0};
    const struct text no_events = {0};
    bool passed = false;
    assert(run);
    run->name = name;
    run->report_fd = report_fd;
    run->deadline_ns = clock_now_ns() + settings->patience_ns;
    CHECK_PTHREAD(pthread_mutex_init(&run->lock, NULL));
    clock_cond_init(&run->changed);
    if (cmap_scenario_read(path, &run->scenario, &why))
        passed = run_watched(run, settings);
    else
        report(run, false, why.text, &no_events);
    CHECK_PTHREAD(pthread_cond_destroy(&run->changed));
    CHECK_PTHREAD(pthread_mutex_destroy(&run->lock));
    cmap_scenario_free(&run->scenario);
    free(name);
    free(run);
    return passed ? 0 : 1;
}

/* Reads the child's report to its end. False when the end does not come in time. */
static bool read_report(int fd, int64_t deadline_ns, struct text *out)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    char piece[4096];
    for (;;) {
        int ready = poll(&readable, 1, clock_poll_ms(deadline_ns, 1000));
        if (ready > 0) {
            ssize_t got = read(fd, piece, sizeof piece);
            if (got <= 0)
                return true;
            text_append(out, piece, (size_t)got);
        } else if (clock_now_ns() >= deadline_ns) {
            return false;
        }
    }
}

/* Prints the child's report, and its stderr if it failed. */
static bool print_outcome(const char *path, const struct text *said, int status, FILE *noise)
{
    bool passed = WIFEXITED(status) && WEXITSTATUS(status) == 0 && said->data;
    bool is_regular = passed || (WIFEXITED(status) && WEXITSTATUS(status) == 1 && said->data);
    char line[512];
    if (!is_regular) {
        char *name = short_name(path);
        printf("FAIL %s: its process ended with %s %d\n", name,
               WIFSIGNALED(status) ? "signal" : "status",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        free(name);
    }
    if (said->data)
        printf("%s%s", is_regular ? "" : "     it had said: ", said->data);
    rewind(noise);
    while (!passed && fgets(line, sizeof line, noise))
        printf("     %s", line);
    fflush(stdout);
    return passed;
}

/* Starts a process for the file, so that a pool that aborts or hangs fails only this file. */
static pid_t begin(const char *path, const struct cmap_settings *settings, FILE *noise,
                   int *report_fd)
{
    int fds[2];
    int failed = pipe(fds);
    assert(!failed);
    fflush(NULL);
    pid_t pid = fork();
    assert(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        failed = dup2(fileno(noise), STDERR_FILENO) < 0;
        assert(!failed);
        exit(child(path, settings, fds[1]));
    }
    close(fds[1]);
    *report_fd = fds[0];
    return pid;
}

bool cmap_run_file(const char *path, const struct cmap_settings *settings)
{
    struct text said = {0};
    FILE *noise = tmpfile();
    int report_fd;
    int status;
    assert(noise);
    pid_t pid = begin(path, settings, noise, &report_fd);
    if (!read_report(report_fd, clock_now_ns() + settings->patience_ns + GRACE_NS, &said))
        kill(pid, SIGKILL);
    pid_t ended = waitpid(pid, &status, 0);
    assert(ended == pid);
    bool passed = print_outcome(path, &said, status, noise);
    close(report_fd);
    fclose(noise);
    text_clear(&said);
    return passed;
}
