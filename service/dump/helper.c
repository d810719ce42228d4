#include "service/dump/helper.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The helper's own end, should a report not come to one. */
#define HELPER_PATIENCE_S 20
/* How long its writing of a dump on stderr may take, where the reader is slow. */
#define WRITE_NS (10 * CLOCK_NS_PER_S)
#define MAX_PATH 4096

/* Lock key: (i) immutable after the start, (d) the one caller's on demand. */
static struct {
    struct stack_slots *slots[DUMP_KINDS]; /* (i) */
    int fds[DUMP_KINDS];                   /* (i) to the helper */
    int report_fd;                         /* (i) memory that the helper leaves reports in */
    pid_t pid;                             /* (i) 0: there is none */
    uint32_t sequence;                     /* (d) */
} helper = {.fds = {-1, -1}, .report_fd = -1};

/* A request, and the same comes back as the answer, with the report's size. */
struct message {
    uint32_t sequence; /* an answer that comes after its deadline is known by it */
    uint32_t format;
    uint64_t size_bytes; /* 0: there is no report */
};

/* ---- in the service, async-signal-safe --------------------------------------------------------
 */

static bool wait_for(int fd, short events, int64_t deadline_ns)
{
    struct pollfd ready = {.fd = fd, .events = events};
    int count;
    do
        count = poll(&ready, 1, clock_poll_ms(deadline_ns, 60000));
    while ((count < 0 && errno == EINTR) || (count == 0 && clock_now_ns() < deadline_ns));
    return count > 0;
}

/* Sends a request and waits for its answer. */
static bool ask(int fd, struct message *message, int64_t deadline_ns)
{
    struct message answer = {0};
    if (send(fd, message, sizeof *message, MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof *message)
        return false;
    while (answer.sequence != message->sequence) {
        if (!wait_for(fd, POLLIN, deadline_ns))
            return false;
        ssize_t got = recv(fd, &answer, sizeof answer, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return false;
    }
    *message = answer;
    return true;
}

/* ---- in the helper ----------------------------------------------------------------------------
 */

struct server {
    int fds[DUMP_KINDS];
    int report_fd;
    char dump_dir[MAX_PATH - 128]; /* "": none */
};

static bool write_report(enum dump_kind kind, enum dump_format format, struct text *out)
{
    static struct dump_symbols *symbols; /* kept: the next report knows what this one looked up */
    if (!symbols)
        symbols = dump_symbols_open();
    bool is_read = symbols && dump_symbols_read_map(symbols, helper.slots[kind]->pid);
    struct dump_resolver resolver =
        is_read ? dump_symbols_resolver(symbols) : dump_report_raw_resolver();
    return dump_report_write(helper.slots[kind], &resolver, format, out);
}

/* Keeps the report in a new file, and writes the file's name to stderr, or the error. */
static void keep(const struct server *server, const char *time, const struct text *head,
                 const struct text *report, struct text *line)
{
    char path[MAX_PATH];
    assert(server->dump_dir[0]);
    snprintf(path, sizeof path, "%s/crash-%s-%ld.txt", server->dump_dir, time,
             (long)helper.slots[DUMP_FATAL]->pid);
    FILE *file = fopen(path, "wxe");
    bool ok = file && fwrite(head->data, 1, head->size_bytes, file) == head->size_bytes &&
              fwrite(report->data, 1, report->size_bytes, file) == report->size_bytes;
    if (file && fclose(file) != 0)
        ok = false;
    if (ok)
        text_addf(line, "this dump is kept: %s\n", path);
    else
        text_addf(line, "this dump could not be kept: %s: %s\n", path, strerror(errno));
}

static void write_text(const struct text *text, int64_t deadline_ns)
{
    if (!text->failed)
        log_write_bytes_until(text->data, text->size_bytes, deadline_ns);
}

/* The reason stands on stderr already. */
static void print(const struct server *server)
{
    const struct stack_slots *slots = helper.slots[DUMP_FATAL];
    char time[CLOCK_UTC_SIZE];
    struct text head = {0};
    struct text report = {0};
    struct text line = {0};
    clock_format_utc(time);
    bool ok = write_report(DUMP_FATAL, DUMP_TEXT, &report);
    text_addf(&head, "%s\n%s, process %ld, stacks taken in %lld ms%s\n\n", slots->reason, time,
              (long)slots->pid, (long long)(slots->took_ns / CLOCK_NS_PER_MS),
              atomic_load(&slots->is_collecting) ? "; it ended before all had been taken" : "");
    if (ok && !head.failed) {
        /* The file first: perhaps nobody reads what is written on stderr. */
        if (server->dump_dir[0])
            keep(server, time, &head, &report, &line);
        int64_t deadline_ns = clock_now_ns() + WRITE_NS;
        log_write_bytes_until("\n", 1, deadline_ns);
        write_text(&report, deadline_ns);
        write_text(&line, deadline_ns);
    }
    text_clear(&line);
    text_clear(&report);
    text_clear(&head);
}

/* Leaves the report in the shared memory. Its size; 0 when that could not be done. */
static uint64_t leave_report(const struct server *server, enum dump_format format)
{
    struct text report = {0};
    uint64_t size_bytes = 0;
    if (write_report(DUMP_ON_DEMAND, format, &report) && ftruncate(server->report_fd, 0) == 0 &&
        pwrite(server->report_fd, report.data, report.size_bytes, 0) == (ssize_t)report.size_bytes)
        size_bytes = report.size_bytes;
    text_clear(&report);
    return size_bytes;
}

static void serve(const struct server *server)
{
    for (;;) {
        struct pollfd fds[DUMP_KINDS];
        struct message message = {0};
        alarm(0);
        for (int kind = 0; kind < DUMP_KINDS; kind++)
            fds[kind] = (struct pollfd){.fd = server->fds[kind], .events = POLLIN};
        if (poll(fds, DUMP_KINDS, -1) <= 0)
            continue;
        alarm(HELPER_PATIENCE_S);
        enum dump_kind kind = fds[DUMP_FATAL].revents ? DUMP_FATAL : DUMP_ON_DEMAND;
        bool is_asked = recv(fds[kind].fd, &message, sizeof message, 0) == sizeof message;
        if (kind == DUMP_ON_DEMAND && is_asked)
            message.size_bytes = leave_report(server, (enum dump_format)message.format);
        /* Killed in the middle of its dump: what it got is better than nothing. */
        if (kind == DUMP_FATAL &&
            (is_asked || atomic_load(&helper.slots[DUMP_FATAL]->is_collecting)))
            print(server);
        if (!is_asked)
            _exit(0);
        (void)!send(fds[kind].fd, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

/* What ps shows: two processes of one name would be taken for two services. The memory of the
 * arguments is the helper's own copy. */
static void rename_process(const struct dump_helper_config *config)
{
    static const char name[] = "service: prints thread dumps";
    char *last = config->argv[config->argc - 1];
    size_t size = (size_t)(last + strlen(last) - config->argv[0]);
    prctl(PR_SET_NAME, "service-dump");
    memset(config->argv[0], 0, size);
    memcpy(config->argv[0], name, size < sizeof name - 1 ? size : sizeof name - 1);
}

/* Closes what was inherited and is not needed: above descriptor 2 and not in `kept`. */
static void close_all_but(const int *kept, size_t count)
{
    int highest = STDERR_FILENO;
    for (size_t i = 0; i < count; i++)
        highest = kept[i] > highest ? kept[i] : highest;
    for (int fd = STDERR_FILENO + 1; fd < highest; fd++) {
        bool is_kept = false;
        for (size_t i = 0; i < count; i++)
            is_kept = is_kept || kept[i] == fd;
        if (!is_kept)
            close(fd);
    }
    close_range((unsigned)highest + 1, ~0U, 0);
}

static void helper_main(const struct dump_helper_config *config, const int fds[DUMP_KINDS])
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    static struct server server;
    snprintf(server.dump_dir, sizeof server.dump_dir, "%s",
             config->dump_dir ? config->dump_dir : "");
    rename_process(config);
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        signal(ignored[i], SIG_IGN);
    /* Descriptors 0 and 1 belong to the process that started the service, which may wait for their
     * end. */
    int nowhere = open("/dev/null", O_RDWR);
    dup2(nowhere, STDIN_FILENO);
    dup2(nowhere, STDOUT_FILENO);
    memcpy(server.fds, fds, sizeof server.fds);
    server.report_fd = helper.report_fd;
    const int kept[] = {fds[DUMP_ON_DEMAND], fds[DUMP_FATAL], helper.report_fd};
    close_all_but(kept, sizeof kept / sizeof kept[0]);
    serve(&server);
}

/* ---- in the service ---------------------------------------------------------------------------
 */

bool dump_helper_start(const struct dump_helper_config *config)
{
    int pairs[DUMP_KINDS][2];
    int theirs[DUMP_KINDS];
    assert(!helper.pid);
    assert(config->max_threads > 0 && config->argc > 0);
    for (int kind = 0; kind < DUMP_KINDS; kind++) {
        helper.slots[kind] = stack_slots_open(config->max_threads, kind == DUMP_FATAL);
        if (!helper.slots[kind] ||
            socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pairs[kind]) != 0)
            return false;
        helper.fds[kind] = pairs[kind][0];
        theirs[kind] = pairs[kind][1];
    }
    helper.report_fd = memfd_create("flashover-dump", MFD_CLOEXEC);
    if (helper.report_fd < 0)
        return false;
    fflush(NULL);
    helper.pid = fork();
    if (helper.pid == 0) {
        helper_main(config, theirs);
        _exit(0);
    }
    for (int kind = 0; kind < DUMP_KINDS; kind++)
        close(theirs[kind]);
    if (helper.pid > 0)
        return true;
    helper.pid = 0;
    return false;
}

struct stack_slots *dump_helper_slots(enum dump_kind kind)
{
    return helper.slots[kind];
}

bool dump_helper_print(int64_t deadline_ns)
{
    struct message message = {.sequence = 1, .format = DUMP_TEXT};
    return helper.pid && ask(helper.fds[DUMP_FATAL], &message, deadline_ns);
}

bool dump_helper_report(enum dump_format format, int64_t deadline_ns, struct text *out)
{
    struct message message = {.sequence = ++helper.sequence, .format = format};
    if (!helper.pid || !ask(helper.fds[DUMP_ON_DEMAND], &message, deadline_ns) ||
        message.size_bytes == 0 || !text_reserve(out, message.size_bytes + 1))
        return false;
    ssize_t got = pread(helper.report_fd, out->data + out->size_bytes, message.size_bytes, 0);
    if (got != (ssize_t)message.size_bytes)
        return false;
    out->size_bytes += message.size_bytes;
    out->data[out->size_bytes] = '\0';
    return true;
}

bool dump_helper_is_alive(void)
{
    struct pollfd end = {.fd = helper.fds[DUMP_FATAL]}; /* its end of the socket closes with it */
    (void)poll(&end, 1,
               0); /* where a signal interrupts it, nothing is known, and it counts as alive */
    return helper.pid && end.revents == 0;
}

void dump_helper_stop(void)
{
    if (!helper.pid)
        return;
    for (int kind = 0; kind < DUMP_KINDS; kind++)
        close(helper.fds[kind]);
    kill(helper.pid, SIGKILL); /* it may be at a report that nobody waits for any more */
    waitpid(helper.pid, NULL, 0);
    helper.pid = 0;
}
