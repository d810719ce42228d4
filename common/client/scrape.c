#include "common/client/scrape.h"

#include "common/check.h"
#include "common/client/admin_client.h"
#include "common/clock.h"

#include <math.h>
#include <pthread.h>

#define INTERVAL_NS       (250 * CLOCK_NS_PER_MS)
#define SCRAPE_TIMEOUT_MS 2000
/* In an HTTP status's place: an answer without a start time is none of the service's. */
#define NOT_METRICS (-1)
/* Less than any restart takes, more than the last digit of a printed time. */
#define SAME_START_S 0.001

/* Protected by `lock` where marked (m); the rest belongs to the thread, or to the caller before it
 * starts and after it ended. */
struct scrape {
    struct admin_client *client;
    const struct stop *stop;
    struct text page;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool ending;                 /* (m) */
    bool is_down;                /* (m) the latest look failed */
    struct scrape_result result; /* (m) */
};

/* What a counter rose by since the look before. */
static double rise(double before, double now, bool same_process)
{
    if (isnan(now))
        return 0;
    return same_process && !isnan(before) && before <= now ? now - before : now;
}

static void raise_peak(double *peak, double value)
{
    if (!isnan(value) && (isnan(*peak) || value > *peak))
        *peak = value;
}

static void take_sample(struct scrape_result *result, const struct service_sample *now)
{
    const struct service_sample *before = &result->last;
    bool is_first = result->samples == 0;
    bool moved = !is_first && fabs(now->start_time_s - before->start_time_s) > SAME_START_S;
    if (moved && result->restarts++ == 0)
        result->first_restart_at_ns = clock_now_ns();
    if (!is_first) {
        result->timeouts += rise(before->timeouts, now->timeouts, !moved);
        result->use_time_sum_s += rise(before->use_time_sum_s, now->use_time_sum_s, !moved);
        result->use_time_count += rise(before->use_time_count, now->use_time_count, !moved);
        for (size_t i = 0; i < ITEM_FAILURE_COUNT; i++)
            result->item_failures[i] +=
                rise(before->item_failures[i], now->item_failures[i], !moved);
    }
    raise_peak(&result->pool_used_peak, now->pool_used);
    raise_peak(&result->pool_pending_peak, now->pool_pending);
    raise_peak(&result->threads_peak, now->threads);
    result->samples++;
    result->last = *now;
}

/* Returns the HTTP status, 0 when nothing answered, or NOT_METRICS. */
static int scrape_once(struct scrape *scrape)
{
    char why[256];
    struct service_sample now;
    int status = admin_client_request(scrape->client, "GET", "/metrics", NULL, SCRAPE_TIMEOUT_MS,
                                      &scrape->page, why, sizeof why);
    if (status == 200) {
        service_sample_parse(&now, scrape->page.data ? scrape->page.data : "");
        if (isnan(now.start_time_s))
            status = NOT_METRICS;
    }
    struct service_point point = {.at_ns = clock_now_ns(), .is_up = status == 200};
    CHECK_PTHREAD(pthread_mutex_lock(&scrape->lock));
    if (status == 200) {
        take_sample(&scrape->result, &now);
        point.sample = now;
    } else {
        scrape->result.failed_samples++;
    }
    point.restarts = scrape->result.restarts;
    service_series_add(scrape->result.series, &point);
    scrape->is_down = status != 200;
    CHECK_PTHREAD(pthread_mutex_unlock(&scrape->lock));
    return status;
}

static void *scrape_main(void *argument)
{
    struct scrape *scrape = argument;
    int64_t next_ns = clock_now_ns() + INTERVAL_NS;
    CHECK_PTHREAD(pthread_mutex_lock(&scrape->lock));
    while (!scrape->ending) {
        struct timespec until = clock_timespec(next_ns);
        pthread_cond_timedwait(&scrape->ended, &scrape->lock, &until);
        if (scrape->ending || clock_now_ns() < next_ns)
            continue;
        CHECK_PTHREAD(pthread_mutex_unlock(&scrape->lock));
        scrape_once(scrape);
        next_ns = clock_now_ns() + INTERVAL_NS;
        CHECK_PTHREAD(pthread_mutex_lock(&scrape->lock));
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&scrape->lock));
    return NULL;
}

static void scrape_free(struct scrape *scrape)
{
    admin_client_free(scrape->client);
    text_clear(&scrape->page);
    CHECK_PTHREAD(pthread_cond_destroy(&scrape->ended));
    CHECK_PTHREAD(pthread_mutex_destroy(&scrape->lock));
    free(scrape);
}

struct scrape *scrape_start(const char *admin_url, const char *token_file, const struct stop *stop,
                            char *why, size_t why_size)
{
    struct admin_client *client = admin_client_new(admin_url, token_file, why, why_size);
    if (!client)
        return NULL;
    struct scrape *scrape = calloc(1, sizeof *scrape);
    struct service_series *series = calloc(1, sizeof *series);
    if (!scrape || !series) {
        admin_client_free(client);
        free(scrape);
        free(series);
        snprintf(why, why_size, "out of memory");
        return NULL;
    }
    scrape->client = client;
    scrape->stop = stop;
    scrape->result.series = series;
    scrape->result.pool_used_peak = scrape->result.pool_pending_peak = NAN;
    scrape->result.threads_peak = NAN;
    CHECK_PTHREAD(pthread_mutex_init(&scrape->lock, NULL));
    clock_cond_init(&scrape->ended);
    int status = scrape_once(scrape);
    if (status == 200 || status == 0) {
        if (!pthread_create(&scrape->thread, NULL, scrape_main, scrape))
            return scrape;
        snprintf(why, why_size, "cannot start a thread");
    } else if (status == NOT_METRICS) {
        snprintf(why, why_size, "%s/metrics is not the service's metrics", admin_url);
    } else {
        snprintf(why, why_size, "%s/metrics answered %d, not the service's metrics%s", admin_url,
                 status, status == 401 ? " (see --admin-token-file)" : "");
    }
    scrape_result_free(&scrape->result);
    scrape_free(scrape);
    return NULL;
}

enum scrape_state scrape_latest(struct scrape *scrape, struct service_sample *out)
{
    enum scrape_state state = SCRAPE_NEVER;
    CHECK_PTHREAD(pthread_mutex_lock(&scrape->lock));
    if (scrape->result.samples > 0)
        state = scrape->is_down ? SCRAPE_DOWN : SCRAPE_UP;
    *out = scrape->result.last;
    CHECK_PTHREAD(pthread_mutex_unlock(&scrape->lock));
    return state;
}

void scrape_finish(struct scrape *scrape, int64_t deadline_ns, struct scrape_result *out)
{
    CHECK_PTHREAD(pthread_mutex_lock(&scrape->lock));
    scrape->ending = true;
    CHECK_PTHREAD(pthread_cond_signal(&scrape->ended));
    CHECK_PTHREAD(pthread_mutex_unlock(&scrape->lock));
    CHECK_PTHREAD(pthread_join(scrape->thread, NULL));
    int status = scrape_once(scrape);
    while (status != 200 && clock_now_ns() < deadline_ns &&
           !stop_wait_until(scrape->stop, clock_now_ns() + INTERVAL_NS))
        status = scrape_once(scrape);
    scrape->result.down_at_end = scrape->result.samples > 0 && status != 200;
    *out = scrape->result;
    scrape_free(scrape);
}

void scrape_result_free(struct scrape_result *result)
{
    free(result->series);
    result->series = NULL;
}

double scrape_mean_use_s(const struct scrape_result *result)
{
    return result->samples > 0 && result->use_time_count > 0
               ? result->use_time_sum_s / result->use_time_count
               : NAN;
}
