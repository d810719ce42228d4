#include "loadtest/engine/load_worker.h"

#include "common/check.h"
#include "common/clock.h"
#include "loadtest/engine/arrival_source.h"
#include "loadtest/engine/retry_queue.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 128
#define ISSUES_AT_ONCE 128
#define RECEIVE_BYTES  65536

/* (i) immutable after start, (a) atomic, (m) under `lock`, which the worker holds except in
 * epoll_wait. The rest belongs to the worker's thread between start and join. */
struct load_worker {
    const struct load_settings *settings; /* (i) */
    struct load_shared *shared;           /* (i) */
    const struct stop *stop;              /* (i) */
    unsigned part;                        /* (i) */
    pthread_t thread;
    bool started;
    _Atomic int64_t done_at_ns; /* (a) 0: still running */
    int epoll_fd;
    int timer_fd;
    int64_t start_ns; /* (i) */
    struct arrival_source source;
    uint64_t idle_callers;          /* closed loop: callers with no request in flight */
    struct exchange_list in_flight; /* by intended start: all have the same timeout, so also by
                                       deadline */
    struct exchange_list idle;
    struct exchange_list closed;
    struct retry_queue retries; /* of those in flight */
    pthread_mutex_t lock;
    struct load_stats stats; /* (m) */
    int64_t settled_ns;      /* (m) see note_settled() */
    char buffer[RECEIVE_BYTES];
};

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
    row->over_time[timeline_slot_at(&worker->stats.timeline, row->first_at_ns)] = 1;
    error_table_add(&worker->stats.errors, row);
}

static void book_end(struct load_worker *worker, enum outcome outcome,
                     const struct schedule_arrival *arrival, const struct exchange *exchange,
                     int64_t at_ns)
{
    const struct connection *connection = exchange ? &exchange->connection : NULL;
    load_stats_end(&worker->stats,
                   &(struct request_end){
                       .outcome = outcome,
                       .start_ns = worker->start_ns,
                       .intended_ns = worker->start_ns + arrival->at_ns,
                       .sent_ns = connection ? connection->sent_at_ns : 0,
                       .first_byte_ns = connection ? connection->first_byte_at_ns : 0,
                       .at_ns = at_ns,
                       .timeout_ns = worker->settings->timeout_ns,
                       .is_probe = exchange && exchange->is_probe,
                   });
}

/* Books the end of a request in flight and puts its place into the idle list or that of the closed.
 */
static void end_exchange(struct load_worker *worker, struct exchange *exchange,
                         enum outcome outcome, int64_t at_ns)
{
    book_end(worker, outcome, &exchange->arrival, exchange, at_ns);
    uint64_t in_flight =
        atomic_fetch_sub_explicit(&worker->shared->in_flight, 1, memory_order_relaxed);
    assert(in_flight > 0);
    TAILQ_REMOVE(&worker->in_flight, exchange, link);
    exchange->waits = false;
    if (worker->settings->closed)
        worker->idle_callers++;
    if (exchange->connection.state == CONNECTION_IDLE) {
        TAILQ_INSERT_TAIL(&worker->idle, exchange, link);
    } else {
        assert(exchange->connection.state == CONNECTION_CLOSED);
        TAILQ_INSERT_HEAD(&worker->closed, exchange, link);
    }
}

/* Whether the request gets another attempt; it then waits for it. */
static bool try_again(struct load_worker *worker, struct exchange *exchange, enum outcome outcome,
                      int64_t now_ns)
{
    const struct load_settings *settings = worker->settings;
    int status = exchange->connection.response.status;
    bool can_help = ledger_outcome_class(outcome) == OUTCOME_CLASS_CONNECTION ||
                    (outcome == OUTCOME_HTTP_ERROR && status >= 502 && status <= 504);
    if (!can_help || exchange->retries >= exchange->segment->retries)
        return false;
    double backoff_ns = (double)settings->retry_backoff_ns * (double)(1U << exchange->retries);
    if (backoff_ns >= (double)(intended_ns(worker, exchange) + settings->timeout_ns - now_ns))
        return false;
    if (!retry_budget_take(&worker->shared->retry_budget, exchange->segment->retry_budget_percent))
        return false;
    assert(!exchange->waits);
    exchange->waits = true;
    retry_queue_push(&worker->retries, now_ns + (int64_t)backoff_ns, exchange);
    return true;
}

static void end_answered(struct load_worker *worker, struct exchange *exchange, int64_t at_ns)
{
    struct error_row row; /* 3 kB, not cleared for every right answer */
    enum outcome outcome =
        exchange_judge(exchange, worker->settings->check, &worker->stats.defects, &row);
    connection_finish(&exchange->connection);
    if (try_again(worker, exchange, outcome, at_ns))
        return;
    if (outcome != OUTCOME_OK)
        count_error(worker, outcome, at_ns, &row);
    end_exchange(worker, exchange, outcome, at_ns);
}

static void end_failed(struct load_worker *worker, struct exchange *exchange, enum outcome outcome,
                       const char *problem, int64_t at_ns)
{
    struct error_row row = {0};
    connection_close(&exchange->connection);
    if (try_again(worker, exchange, outcome, at_ns))
        return;
    error_table_plain(row.message, sizeof row.message, problem);
    count_error(worker, outcome, at_ns, &row);
    end_exchange(worker, exchange, outcome, at_ns);
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
    const char *problem = exchange->connection.problem;
    if (result == CONNECTION_PENDING)
        return;
    int64_t now_ns = clock_now_ns();
    exchange_count_attempt(exchange, &worker->stats);
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
        assert(false && "no request ends by this");
    }
}

static void attempt(struct load_worker *worker, struct exchange *exchange, int64_t now_ns)
{
    worker->stats.ledger.attempts++;
    timeline_slot(&worker->stats.timeline, now_ns - worker->start_ns)->attempts++;
    seconds_attempt(&worker->stats.seconds, now_ns - worker->start_ns);
    take_result(worker, exchange, exchange_start(exchange, worker->settings->check));
}

static void issue(struct load_worker *worker, const struct load_segment *segment,
                  const struct schedule_arrival *arrival, int64_t now_ns)
{
    struct load_stats *stats = &worker->stats;
    int64_t due_ns = worker->start_ns + arrival->at_ns;
    stats->ledger.scheduled++;
    timeline_slot(&stats->timeline, arrival->at_ns)->scheduled++;
    struct recent_slot *recent = recent_slot_at(&stats->recent, arrival->at_ns);
    if (recent)
        recent->scheduled++;
    histogram_record_ns(&stats->lag, now_ns - due_ns);
    seconds_take_up(&stats->seconds, arrival->at_ns, now_ns - worker->start_ns);
    uint64_t before =
        atomic_fetch_add_explicit(&worker->shared->in_flight, 1, memory_order_relaxed);
    struct exchange *exchange = NULL;
    if (before < worker->settings->max_in_flight)
        exchange = exchange_take(&worker->idle, &worker->closed, worker->epoll_fd);
    if (!exchange) {
        atomic_fetch_sub_explicit(&worker->shared->in_flight, 1, memory_order_relaxed);
        book_end(worker, OUTCOME_DROPPED, arrival, NULL, now_ns);
        if (worker->settings->closed) /* its caller asks again */
            worker->idle_callers++;
        return;
    }
    stats->ledger.sent++;
    retry_budget_add(&worker->shared->retry_budget, segment->retry_budget_percent);
    assert(exchange->connection.state == CONNECTION_IDLE ||
           exchange->connection.state == CONNECTION_CLOSED);
    exchange->arrival = *arrival;
    exchange->segment = segment;
    exchange->is_probe = load_segment_sent_of(segment, arrival->index) % SECONDS_PROBE == 0;
    exchange->retries = 0;
    exchange->waits = false;
    TAILQ_INSERT_TAIL(&worker->in_flight, exchange, link);
    attempt(worker, exchange, now_ns);
}

/* Issues at most ISSUES_AT_ONCE before answers are read again. The timer stays due, so the next
 * round issues the rest. */
static void issue_due(struct load_worker *worker)
{
    struct arrival_source *source = &worker->source;
    for (int i = 0; i < ISSUES_AT_ONCE && !stop_requested(worker->stop); i++) {
        int64_t now_ns = clock_now_ns(); /* first: a change made after it begins later than this */
        arrival_source_turn(source);
        if (!source->has_next || worker->start_ns + source->next.at_ns > now_ns)
            return;
        const struct load_segment *segment = arrival_source_segment(source);
        struct schedule_arrival arrival = arrival_source_take(source);
        seconds_demand(&worker->stats.seconds, arrival.at_ns);
        if (load_segment_sends(segment, arrival.index))
            issue(worker, segment, &arrival, now_ns);
    }
}

/* Closed loop: each idle caller sends its next request. A caller whose request fails at once sends
 * another in the next round. */
static void issue_for_callers(struct load_worker *worker)
{
    struct arrival_source *source = &worker->source;
    struct schedule_arrival arrival;
    for (uint64_t callers = worker->idle_callers; callers > 0; callers--) {
        int64_t now_ns = clock_now_ns();
        if (stop_requested(worker->stop) ||
            !arrival_source_make(source, now_ns - worker->start_ns, &arrival))
            return;
        worker->idle_callers--;
        seconds_demand(&worker->stats.seconds, arrival.at_ns);
        issue(worker, arrival_source_segment(source), &arrival, now_ns);
    }
}

/* now_ns is expire()'s as well. A place that waits is due before its deadline, so a place that
 * expires has left the queue. */
static void retry_due(struct load_worker *worker, int64_t now_ns)
{
    struct exchange *exchange;
    while ((exchange = retry_queue_pop_due(&worker->retries, now_ns))) {
        assert(exchange->waits && exchange->retries < exchange->segment->retries);
        exchange->waits = false;
        if (intended_ns(worker, exchange) + worker->settings->timeout_ns <= now_ns) {
            end_timed_out(worker, exchange); /* this thread was late: none begins behind it */
            continue;
        }
        exchange->retries++;
        worker->stats.ledger.retries++;
        attempt(worker, exchange, now_ns);
    }
}

static void expire(struct load_worker *worker, int64_t now_ns)
{
    struct exchange *oldest;
    while ((oldest = TAILQ_FIRST(&worker->in_flight)) &&
           intended_ns(worker, oldest) + worker->settings->timeout_ns < now_ns)
        end_timed_out(worker, oldest);
}

/* Sets the timer to the earliest of: the next arrival, the next retry, the oldest request's
 * deadline. */
static void arm_timer(struct load_worker *worker)
{
    int64_t at_ns = retry_queue_next_ns(&worker->retries);
    int64_t due_ns = CLOCK_NEVER;
    if (worker->source.has_next && (!worker->settings->closed || worker->idle_callers > 0))
        due_ns = worker->start_ns + worker->source.next.at_ns;
    if (due_ns < at_ns)
        at_ns = due_ns;
    const struct exchange *oldest = TAILQ_FIRST(&worker->in_flight);
    if (oldest) {
        /* one more nanosecond, since a request may use its timeout to the full */
        int64_t deadline_ns = intended_ns(worker, oldest) + worker->settings->timeout_ns + 1;
        if (deadline_ns < at_ns)
            at_ns = deadline_ns;
    }
    struct itimerspec when = {.it_value = clock_timespec(at_ns)};
    int failed = timerfd_settime(worker->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    assert(!failed);
}

static void take_event(struct load_worker *worker, struct exchange *exchange)
{
    /* An earlier event of this batch closed the connection: this event is stale. */
    if (exchange->connection.state == CONNECTION_CLOSED)
        return;
    enum connection_result result =
        connection_step(&exchange->connection, worker->buffer, sizeof worker->buffer);
    if (result != CONNECTION_IDLE_CLOSED) {
        take_result(worker, exchange, result);
    } else if (!exchange->waits) { /* one that waits is in flight, and will connect anew */
        TAILQ_REMOVE(&worker->idle, exchange, link);
        TAILQ_INSERT_HEAD(&worker->closed, exchange, link);
    }
}

static void abandon_in_flight(struct load_worker *worker)
{
    struct exchange *exchange;
    while ((exchange = TAILQ_FIRST(&worker->in_flight))) {
        connection_close(&exchange->connection);
        end_exchange(worker, exchange, OUTCOME_IN_FLIGHT_AT_END, clock_now_ns());
    }
}

/* What is due before this has been taken up, and has ended. */
static void note_settled(struct load_worker *worker)
{
    const struct exchange *oldest = TAILQ_FIRST(&worker->in_flight);
    worker->settled_ns = worker->source.has_next ? worker->source.next.at_ns : CLOCK_NEVER;
    if (oldest && oldest->arrival.at_ns < worker->settled_ns)
        worker->settled_ns = oldest->arrival.at_ns;
}

/* A round of the loop, once events are there. Answers before arrivals: a connection that becomes
 * free can be used at once, one that was closed is not. Places freed here are reused only behind
 * the events, so that stale events of this batch find them closed. */
static void handle(struct load_worker *worker, const struct epoll_event *events, int count)
{
    CHECK_PTHREAD(pthread_mutex_lock(&worker->lock));
    for (int i = 0; i < count; i++)
        if (events[i].data.ptr)
            take_event(worker, events[i].data.ptr);
    int64_t now_ns = clock_now_ns();
    retry_due(worker, now_ns);
    expire(worker, now_ns);
    if (worker->settings->closed)
        issue_for_callers(worker);
    else
        issue_due(worker);
    note_settled(worker);
    CHECK_PTHREAD(pthread_mutex_unlock(&worker->lock));
}

static void *worker_main(void *argument)
{
    struct load_worker *worker = argument;
    struct epoll_event events[EVENTS_AT_ONCE];
    prctl(PR_SET_TIMERSLACK, 1UL); /* the default lets a timer be 50 us late */
    while (!stop_requested(worker->stop) &&
           (TAILQ_FIRST(&worker->in_flight) || !arrival_source_is_over(&worker->source))) {
        arm_timer(worker);
        bool had_next = worker->source.has_next;
        handle(worker, events, epoll_wait(worker->epoll_fd, events, EVENTS_AT_ONCE, -1));
        if (had_next && !worker->source.has_next)
            load_stats_measure_cpu(&worker->stats, worker->start_ns);
    }
    CHECK_PTHREAD(pthread_mutex_lock(&worker->lock));
    abandon_in_flight(worker);
    load_stats_measure_cpu(&worker->stats, worker->start_ns);
    const struct ledger *ledger = &worker->stats.ledger;
    assert(ledger->scheduled == ledger->sent + ledger_in_class(ledger, OUTCOME_CLASS_NOT_SENT));
    assert(ledger->attempts == ledger->sent + ledger->retries);
    CHECK_PTHREAD(pthread_mutex_unlock(&worker->lock));
    atomic_store(&worker->done_at_ns, clock_now_ns());
    return NULL;
}

/* Edge-triggered, an event that nobody reads wakes each worker once. */
static bool watch(int epoll_fd, int fd, uint32_t edge)
{
    struct epoll_event event = {.events = EPOLLIN | edge, .data.ptr = NULL};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* The callers of a closed loop, or the first arrival of an open one. */
static void prepare_load(struct load_worker *worker)
{
    const struct load_settings *settings = worker->settings;
    arrival_source_init(&worker->source, worker->shared->segments, worker->part, settings->threads);
    if (!settings->closed)
        return;
    worker->idle_callers = settings->closed / settings->threads +
                           (worker->part < settings->closed % settings->threads);
    worker->source.next = (struct schedule_arrival){.index = worker->part};
    worker->source.has_next = worker->idle_callers > 0;
}

struct load_worker *load_worker_new(const struct load_settings *settings,
                                    struct load_shared *shared, const struct stop *stop,
                                    unsigned part)
{
    assert(part < settings->threads);
    struct load_worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return NULL;
    worker->settings = settings;
    worker->shared = shared;
    worker->stop = stop;
    worker->part = part;
    TAILQ_INIT(&worker->in_flight);
    TAILQ_INIT(&worker->idle);
    TAILQ_INIT(&worker->closed);
    CHECK_PTHREAD(pthread_mutex_init(&worker->lock, NULL));
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    worker->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    bool may_retry = settings->retries || settings->segments;
    size_t waiting_max = may_retry ? settings->max_in_flight : 0;
    if (!load_stats_init(&worker->stats, load_settings_span_ns(settings)) ||
        !retry_queue_init(&worker->retries, waiting_max) || worker->epoll_fd < 0 ||
        worker->timer_fd < 0 || !watch(worker->epoll_fd, worker->timer_fd, 0) ||
        !watch(worker->epoll_fd, stop->event_fd, 0) ||
        !watch(worker->epoll_fd, shared->segments->changed_fd, EPOLLET)) {
        load_worker_free(worker);
        return NULL;
    }
    prepare_load(worker);
    return worker;
}

bool load_worker_start(struct load_worker *worker, int64_t start_ns)
{
    worker->start_ns = start_ns;
    assert(!worker->started);
    worker->started = pthread_create(&worker->thread, NULL, worker_main, worker) == 0;
    return worker->started;
}

void load_worker_snapshot(struct load_worker *worker, struct load_live *into)
{
    CHECK_PTHREAD(pthread_mutex_lock(&worker->lock));
    ledger_merge(&into->ledger, &worker->stats.ledger);
    recent_add(&worker->stats.recent, clock_now_ns() - worker->start_ns, &into->latest);
    CHECK_PTHREAD(pthread_mutex_unlock(&worker->lock));
    into->in_flight = atomic_load(&worker->shared->in_flight);
}

int64_t load_worker_add_seconds(struct load_worker *worker, struct seconds *into, unsigned first,
                                unsigned to)
{
    CHECK_PTHREAD(pthread_mutex_lock(&worker->lock));
    seconds_add(into, &worker->stats.seconds, first, to);
    int64_t settled_ns = worker->settled_ns;
    CHECK_PTHREAD(pthread_mutex_unlock(&worker->lock));
    return settled_ns;
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

void load_worker_free(struct load_worker *worker)
{
    if (!worker)
        return;
    assert(!worker->started);
    exchange_free_all(&worker->in_flight);
    exchange_free_all(&worker->idle);
    exchange_free_all(&worker->closed);
    retry_queue_destroy(&worker->retries);
    load_stats_destroy(&worker->stats);
    if (worker->epoll_fd >= 0)
        close(worker->epoll_fd);
    if (worker->timer_fd >= 0)
        close(worker->timer_fd);
    CHECK_PTHREAD(pthread_mutex_destroy(&worker->lock));
    free(worker);
}
