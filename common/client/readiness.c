#include "common/client/readiness.h"

#include "common/check.h"
#include "common/client/service_sample.h"
#include "common/clock.h"

#define READY_NS (30 * CLOCK_NS_PER_S)
#define RETRY_NS (100 * CLOCK_NS_PER_MS)
#define ASK_MS   2000

bool readiness_init(struct readiness *readiness, const char *public_url, const char *admin_url,
                    const char *token_file, const struct stop *stop, char *why, size_t why_size)
{
    *readiness = (struct readiness){.stop = stop};
    readiness->public = admin_client_new(public_url, NULL, why, why_size);
    if (readiness->public && admin_url)
        readiness->admin = admin_client_new(admin_url, token_file, why, why_size);
    if (readiness->public && (readiness->admin || !admin_url))
        return true;
    readiness_destroy(readiness);
    return false;
}

void readiness_destroy(struct readiness *readiness)
{
    admin_client_free(readiness->public);
    admin_client_free(readiness->admin);
    readiness->public = readiness->admin = NULL;
    text_clear(&readiness->answer);
}

static bool is_ready(struct readiness *readiness)
{
    int status = admin_client_request(readiness->public, "GET", "/readyz", NULL, ASK_MS,
                                      &readiness->answer, readiness->last, sizeof readiness->last);
    if (status != 0 && status != 200)
        snprintf(readiness->last, sizeof readiness->last, "/readyz answers %d", status);
    return status == 200;
}

static bool is_idle(struct readiness *readiness)
{
    struct service_sample sample;
    if (!readiness->admin)
        return true;
    int status = admin_client_request(readiness->admin, "GET", "/metrics", NULL, ASK_MS,
                                      &readiness->answer, readiness->last, sizeof readiness->last);
    if (status != 200) {
        if (status != 0)
            snprintf(readiness->last, sizeof readiness->last, "/metrics answers %d", status);
        return false;
    }
    service_sample_parse(&sample, readiness->answer.data ? readiness->answer.data : "");
    /* What the page lacks is NAN, and not waited for. */
    double used = sample.pool_used > 0 ? sample.pool_used : 0;
    double pending = sample.pool_pending > 0 ? sample.pool_pending : 0;
    bool idle = used == 0 && pending == 0;
    if (!idle)
        snprintf(readiness->last, sizeof readiness->last,
                 "%.0f connections are still in use, and %.0f waited for", used, pending);
    return idle;
}

bool readiness_wait(struct readiness *readiness, char *why, size_t why_size)
{
    int64_t deadline_ns = clock_now_ns() + READY_NS;
    while (!is_ready(readiness) || !is_idle(readiness)) {
        if (stop_wait_until(readiness->stop, clock_now_ns() + RETRY_NS)) {
            snprintf(why, why_size, "stopped by a signal");
            return false;
        }
        if (clock_now_ns() >= deadline_ns) {
            snprintf(why, why_size, "the service did not become ready and idle within %d s: %s",
                     (int)(READY_NS / CLOCK_NS_PER_S), readiness->last);
            return false;
        }
    }
    return true;
}
