#include "loadtest/load_worker.h"

#include "common/check.h"
#include "common/clock.h"
#include "loadtest/connection.h"

#include <jansson.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EVENTS_AT_ONCE   128
#define RECEIVE_BYTES    65536
#define FEED_BODY_BYTES  1048576 /* 1,000 items take about 80 kB */
#define OTHER_BODY_BYTES 4096    /* enough for an error's JSON */

/* A place for one request and the connection it uses. It is in exactly one list: in flight (the
 * oldest first), idle (its connection is open) or spare (closed). */
struct exchange {
    struct connection connection;
    struct schedule_arrival arrival;
    struct exchange *next;
    struct exchange *previous; /* in flight and idle */
};

struct exchange_list {
    struct exchange *first;
    struct exchange *last;
};

/* All fields belong to the worker's thread between start and join, but (i) and (a). */
struct load_worker {
    const struct load_settings *settings; /* (i) */
    struct load_progress *progress;       /* (i) */
    const struct stop *stop;              /* (i) */
    pthread_t thread;
    bool started;
    _Atomic int64_t done_at_ns; /* (a) 0: still running */
    int epoll_fd;
    int timer_fd;
    int64_t start_ns;
    struct schedule_cursor cursor;
    struct schedule_arrival next;
    bool has_next;
    struct exchange_list in_flight; /* by intended start: all have the same timeout, so also by
                                       deadline */
    struct exchange_list idle;      /* taken from the end: the one used last is the least likely to
                                       have been closed */
    struct exchange *spare;
    struct load_stats stats;
    char buffer[RECEIVE_BYTES];
};

static void list_append(struct exchange_list *list, struct exchange *exchange)
{
    exchange->previous = list->last;
    exchange->next = NULL;
    if (list->last)
        list->last->next = exchange;
    else
        list->first = exchange;
    list->last = exchange;
}

static void list_remove(struct exchange_list *list, struct exchange *exchange)
{
    if (exchange->previous)
        exchange->previous->next = exchange->next;
    else
        list->first = exchange->next;
    if (exchange->next)
        exchange->next->previous = exchange->previous;
    else
        list->last = exchange->previous;
    exchange->next = exchange->previous = NULL;
}

static int64_t intended_ns(const struct load_worker *worker, const struct exchange *exchange)
{
    return worker->start_ns + exchange->arrival.at_ns;
}

static void count_error(struct load_worker *worker, enum outcome outcome, int64_t at_ns,
                        struct error_row *row)
{
    row->outcome = outcome;
    row->count = 1;
    row->first_at_ns = at_ns - worker->start_ns;
    error_table_add(&worker->stats.errors, row);
}

/* Books the end of a request in flight and puts its place into the idle or the spare list. */
static void end_exchange(struct load_worker *worker, struct exchange *exchange,
                         enum outcome outcome, bool answered, int64_t at_ns)
{
    load_stats_end(&worker->stats, outcome, answered, intended_ns(worker, exchange),
                   exchange->connection.sent_at_ns, at_ns);
    atomic_fetch_sub_explicit(&worker->progress->in_flight, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(outcome == OUTCOME_OK ? &worker->progress->ok
                                                    : &worker->progress->failed,
                              1, memory_order_relaxed);
    list_remove(&worker->in_flight, exchange);
    if (exchange->connection.state == CONNECTION_IDLE) {
        list_append(&worker->idle, exchange);
    } else {
        exchange->next = worker->spare;
        worker->spare = exchange;
    }
}

/* The service's own words for an error, or the status alone when it has none. */
static void read_error_body(const struct response_parser *response, struct error_row *row)
{
    json_t *root = json_loadb(response->body.data ? response->body.data : "",
                              response->body.size_bytes, 0, NULL);
    const char *message = json_string_value(json_object_get(root, "message"));
    row->ecode = (int)json_integer_value(json_object_get(root, "ecode"));
    error_table_plain(row->message, sizeof row->message,
                      message ? message : "(no message in the answer)");
    json_decref(root);
}

static enum outcome judge_answer(struct load_worker *worker, const struct exchange *exchange,
                                 struct error_row *row)
{
    const struct response_parser *response = &exchange->connection.response;
    const struct load_settings *settings = worker->settings;
    const char *first = NULL;
    bool is_success =
        settings->check == LOAD_CHECK_FEED ? response->status == 200 : response->status / 100 == 2;
    if (is_success &&
        (settings->check == LOAD_CHECK_STATUS ||
         feed_check_body(response->body.data, response->body.size_bytes, exchange->arrival.feed_id,
                         settings->items, &worker->stats.defects, &first)))
        return OUTCOME_OK;
    row->http_status = response->status;
    memcpy(row->request_id, response->request_id, sizeof row->request_id);
    if (is_success) {
        error_table_plain(row->message, sizeof row->message, first);
        return OUTCOME_WRONG;
    }
    read_error_body(response, row);
    return OUTCOME_HTTP_ERROR;
}

static void end_answered(struct load_worker *worker, struct exchange *exchange, int64_t at_ns)
{
    struct error_row row = {0};
    enum outcome outcome = judge_answer(worker, exchange, &row);
    if (outcome != OUTCOME_OK)
        count_error(worker, outcome, at_ns, &row);
    connection_finish(&exchange->connection);
    end_exchange(worker, exchange, outcome, true, at_ns);
}

static void end_failed(struct load_worker *worker, struct exchange *exchange, enum outcome outcome,
                       const char *problem, int64_t at_ns)
{
    struct error_row row = {0};
    error_table_plain(row.message, sizeof row.message, problem);
    count_error(worker, outcome, at_ns, &row);
    connection_close(&exchange->connection);
    end_exchange(worker, exchange, outcome, false, at_ns);
}

static void end_timed_out(struct load_worker *worker, struct exchange *exchange)
{
    char problem[64];
    int64_t timeout_ns = worker->settings->timeout_ns;
    snprintf(problem, sizeof problem, "no whole answer within %.4g s",
             (double)timeout_ns / (double)CLOCK_NS_PER_S);
    /* Booked at the deadline, not when this thread noticed: the bound is what is known. */
    end_failed(worker, exchange, OUTCOME_TIMEOUT, problem,
               intended_ns(worker, exchange) + timeout_ns);
}

static void take_result(struct load_worker *worker, struct exchange *exchange,
                        enum connection_result result)
{
    int64_t now_ns = clock_now_ns();
    const char *problem = exchange->connection.problem;
    if (result == CONNECTION_PENDING)
        return;
    if (now_ns - intended_ns(worker, exchange) > worker->settings->timeout_ns) {
        end_timed_out(worker, exchange); /* it ended, but too late */
        return;
    }
    switch (result) {
    case CONNECTION_ANSWERED:
        end_answered(worker, exchange, now_ns);
        break;
    case CONNECTION_CONNECT_FAILED:
        end_failed(worker, exchange, OUTCOME_CONNECT_ERROR, problem, now_ns);
        break;
    case CONNECTION_CUT_OFF:
        end_failed(worker, exchange, OUTCOME_RESET, problem, now_ns);
        break;
    case CONNECTION_BROKEN:
        end_failed(worker, exchange, OUTCOME_PROTOCOL_ERROR, problem, now_ns);
        break;
    case CONNECTION_PENDING:
    case CONNECTION_IDLE_CLOSED:
        assert(!"no request ends by this");
    }
}

/* An open connection if there is one, else a closed place, else a new one. NULL: out of memory. */
static struct exchange *take_exchange(struct load_worker *worker)
{
    struct exchange *exchange = worker->idle.last;
    if (exchange) {
        list_remove(&worker->idle, exchange);
    } else if (worker->spare) {
        exchange = worker->spare;
        worker->spare = exchange->next;
    } else {
        exchange = malloc(sizeof *exchange);
        if (exchange)
            connection_init(&exchange->connection, worker->epoll_fd, exchange);
    }
    return exchange;
}

static void issue(struct load_worker *worker, const struct schedule_arrival *arrival,
                  int64_t now_ns)
{
    const struct load_settings *settings = worker->settings;
    bool is_feed = settings->check == LOAD_CHECK_FEED;
    worker->stats.ledger.scheduled++;
    atomic_fetch_add_explicit(&worker->progress->scheduled, 1, memory_order_relaxed);
    histogram_record_ns(&worker->stats.lag, now_ns - worker->start_ns - arrival->at_ns);
    uint64_t before =
        atomic_fetch_add_explicit(&worker->progress->in_flight, 1, memory_order_relaxed);
    struct exchange *exchange = before < settings->max_in_flight ? take_exchange(worker) : NULL;
    if (!exchange) {
        atomic_fetch_sub_explicit(&worker->progress->in_flight, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&worker->progress->failed, 1, memory_order_relaxed);
        worker->stats.ledger.outcomes[OUTCOME_DROPPED]++;
        return;
    }
    worker->stats.ledger.sent++;
    exchange->arrival = *arrival;
    list_append(&worker->in_flight, exchange);
    enum connection_result result =
        connection_start(&exchange->connection, &settings->target, arrival->feed_id,
                         is_feed ? FEED_BODY_BYTES : OTHER_BODY_BYTES,
                         is_feed ? RESPONSE_EXCESS_BREAKS : RESPONSE_EXCESS_IGNORED);
    take_result(worker, exchange, result);
}

static void issue_due(struct load_worker *worker)
{
    while (worker->has_next && !stop_requested(worker->stop)) {
        int64_t now_ns = clock_now_ns();
        if (worker->start_ns + worker->next.at_ns > now_ns)
            return;
        struct schedule_arrival arrival = worker->next;
        worker->has_next = schedule_next(&worker->cursor, &worker->next);
        issue(worker, &arrival, now_ns);
    }
}

static void expire(struct load_worker *worker)
{
    int64_t now_ns = clock_now_ns();
    struct exchange *oldest;
    while ((oldest = worker->in_flight.first) &&
           intended_ns(worker, oldest) + worker->settings->timeout_ns < now_ns)
        end_timed_out(worker, oldest);
}

/* Sets the timer to whatever comes first: the next arrival, or the oldest request's deadline. */
static void arm_timer(struct load_worker *worker)
{
    int64_t at_ns = CLOCK_NEVER;
    if (worker->has_next)
        at_ns = worker->start_ns + worker->next.at_ns;
    if (worker->in_flight.first) {
        /* one more nanosecond, since a request may use its timeout to the full */
        int64_t deadline_ns =
            intended_ns(worker, worker->in_flight.first) + worker->settings->timeout_ns + 1;
        if (deadline_ns < at_ns)
            at_ns = deadline_ns;
    }
    struct itimerspec when = {.it_value = clock_timespec(at_ns)};
    int failed = timerfd_settime(worker->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    assert(!failed);
}

static void take_event(struct load_worker *worker, struct exchange *exchange)
{
    /* Closed while an earlier event of the same batch was handled: this event is stale. */
    if (exchange->connection.state == CONNECTION_CLOSED)
        return;
    enum connection_result result =
        connection_step(&exchange->connection, worker->buffer, sizeof worker->buffer);
    if (result == CONNECTION_IDLE_CLOSED) {
        list_remove(&worker->idle, exchange);
        exchange->next = worker->spare;
        worker->spare = exchange;
    } else {
        take_result(worker, exchange, result);
    }
}

static void abandon_in_flight(struct load_worker *worker)
{
    struct exchange *exchange;
    while ((exchange = worker->in_flight.first)) {
        connection_close(&exchange->connection);
        end_exchange(worker, exchange, OUTCOME_IN_FLIGHT_AT_END, false, clock_now_ns());
    }
}

static void *worker_main(void *argument)
{
    struct load_worker *worker = argument;
    struct epoll_event events[EVENTS_AT_ONCE];
    prctl(PR_SET_TIMERSLACK, 1UL); /* the default lets a timer be 50 us late */
    while (!stop_requested(worker->stop) && (worker->has_next || worker->in_flight.first)) {
        arm_timer(worker);
        int count = epoll_wait(worker->epoll_fd, events, EVENTS_AT_ONCE, -1);
        /* Answers before arrivals: a connection that becomes free can be used at once, one that
         * was closed is not. Places freed here are reused only below, so that stale events of this
         * batch find them closed. */
        for (int i = 0; i < count; i++)
            if (events[i].data.ptr)
                take_event(worker, events[i].data.ptr);
        expire(worker);
        issue_due(worker);
    }
    abandon_in_flight(worker);
    atomic_store(&worker->done_at_ns, clock_now_ns());
    return NULL;
}

static int watch(int epoll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

struct load_worker *load_worker_new(const struct load_settings *settings,
                                    struct load_progress *progress, const struct stop *stop,
                                    unsigned part)
{
    struct load_worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return NULL;
    worker->settings = settings;
    worker->progress = progress;
    worker->stop = stop;
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    worker->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (worker->epoll_fd < 0 || worker->timer_fd < 0 || watch(worker->epoll_fd, worker->timer_fd) ||
        watch(worker->epoll_fd, stop->event_fd)) {
        load_worker_free(worker);
        return NULL;
    }
    schedule_cursor_init(&worker->cursor, &settings->schedule, part, settings->threads);
    worker->has_next = schedule_next(&worker->cursor, &worker->next);
    return worker;
}

int load_worker_start(struct load_worker *worker, int64_t start_ns)
{
    worker->start_ns = start_ns;
    int failed = pthread_create(&worker->thread, NULL, worker_main, worker);
    worker->started = !failed;
    return failed;
}

const struct load_stats *load_worker_join(struct load_worker *worker)
{
    if (worker->started)
        CHECK_PTHREAD(pthread_join(worker->thread, NULL));
    worker->started = false;
    return &worker->stats;
}

int64_t load_worker_done_at_ns(const struct load_worker *worker)
{
    return atomic_load(&worker->done_at_ns);
}

static void free_exchanges(struct exchange *exchange)
{
    while (exchange) {
        struct exchange *next = exchange->next;
        connection_destroy(&exchange->connection);
        free(exchange);
        exchange = next;
    }
}

void load_worker_free(struct load_worker *worker)
{
    if (!worker)
        return;
    assert(!worker->started);
    free_exchanges(worker->idle.first);
    free_exchanges(worker->spare);
    if (worker->epoll_fd >= 0)
        close(worker->epoll_fd);
    if (worker->timer_fd >= 0)
        close(worker->timer_fd);
    free(worker);
}
