#include "loadtest/report/live_view.h"

#include "common/clock.h"
#include "common/text.h"
#include "loadtest/report/run_report.h"

#include <inttypes.h>
#include <math.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LINE_TERMINAL_NS (200 * CLOCK_NS_PER_MS)
#define LINE_PLAIN_NS    CLOCK_NS_PER_S

/* The terminal's width; a line that is longer would wrap and could not be written over. */
static size_t columns(const struct live_view *view)
{
    struct winsize size;
    if (!view->is_terminal)
        return SIZE_MAX;
    if (ioctl(fileno(view->stream), TIOCGWINSZ, &size) || size.ws_col < 2)
        return 79;
    return (size_t)size.ws_col - 1;
}

static void add_totals(struct text *line, const struct load_moment *moment)
{
    const struct ledger *ledger = &moment->live.ledger;
    uint64_t ended = 0;
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        ended += ledger->outcomes[i];
    text_addf(line, "%6.1f s  %" PRIu64, moment->elapsed_s > 0 ? moment->elapsed_s : 0,
              ledger->scheduled);
    if (!moment->settings->closed)
        text_addf(line, "/%" PRIu64, moment->settings->schedule.count);
    text_addf(line, "  %" PRIu64 " ok  %" PRIu64 " failed  %" PRIu64 " in flight",
              ledger->outcomes[OUTCOME_OK], ended - ledger->outcomes[OUTCOME_OK],
              moment->live.in_flight);
}

/* The latest second: what was asked, what came back, how late. */
static void add_window(struct text *line, const struct load_moment *moment)
{
    const struct load_live *live = &moment->live;
    char p99[RUN_REPORT_LATENCY_SIZE];
    if (live->latest.window_s <= 0)
        return;
    text_addf(line, "%.4g req/s", (double)live->latest.scheduled / live->latest.window_s);
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        if (live->latest.outcomes[i] > 0)
            text_addf(line, ", %.4g %s", (double)live->latest.outcomes[i] / live->latest.window_s,
                      ledger_outcome_key((enum outcome)i));
    if (live->latest.response.count == 0)
        return;
    run_report_us(p99, recent_is_at_least(&live->latest, 99) ? ">=" : "",
                  coarse_histogram_percentile_us(&live->latest.response, 99));
    text_addf(line, "; p99 %s", p99);
}

static void add_service(struct text *line, const struct load_moment *moment)
{
    const struct service_sample *sample = &moment->service;
    if (moment->service_state == SCRAPE_DOWN)
        text_add(line, "service down");
    else if (moment->service_state == SCRAPE_UP && !isnan(sample->pool_max))
        text_addf(line, "pool %.0f/%.0f, %.0f waiting, %.0f threads", sample->pool_used,
                  sample->pool_max, sample->pool_pending, sample->threads);
}

static void print(struct live_view *view, const struct text *line)
{
    size_t width = columns(view);
    if (line->failed || !line->data)
        return;
    size_t shown = line->size_bytes < width ? line->size_bytes : width;
    fprintf(view->stream, view->is_terminal ? "%.*s\033[K\n" : "%.*s\n", (int)shown, line->data);
    view->lines_shown++;
}

/* Nothing where the part is empty. */
static void add_part(struct live_view *view, struct text *line, const struct load_moment *moment,
                     void (*add)(struct text *line, const struct load_moment *moment),
                     const char *between)
{
    struct text part = {0};
    add(&part, moment);
    if (part.size_bytes > 0) {
        text_add(line, between);
        text_append(line, part.data, part.size_bytes);
        if (view->is_terminal) {
            print(view, line);
            text_clear(line);
        }
    }
    text_clear(&part);
}

static void show_progress(void *argument, const struct load_moment *moment)
{
    struct live_view *view = argument;
    struct text line = {0};
    if (view->is_terminal && view->lines_shown > 0)
        fprintf(view->stream, "\033[%uA\r\033[J", view->lines_shown);
    view->lines_shown = 0;
    text_add(&line, view->label);
    add_totals(&line, moment);
    const char *between = " | ";
    if (view->is_terminal) { /* a line each, so that none is cut off behind a long one */
        print(view, &line);
        text_clear(&line);
        between = "          ";
    }
    add_part(view, &line, moment, add_window, between);
    add_part(view, &line, moment, add_service, between);
    if (!view->is_terminal)
        print(view, &line);
    fflush(view->stream);
    text_clear(&line);
}

struct load_watch live_view_watch(struct live_view *view, const char *label)
{
    *view =
        (struct live_view){.stream = stderr, .is_terminal = isatty(STDERR_FILENO), .label = label};
    return (struct load_watch){.on_progress = show_progress,
                               .argument = view,
                               .interval_ns = view->is_terminal ? LINE_TERMINAL_NS : LINE_PLAIN_NS};
}

void live_view_clear(struct live_view *view)
{
    if (view->is_terminal && view->lines_shown > 0)
        fprintf(view->stream, "\033[%uA\r\033[J", view->lines_shown);
    view->lines_shown = 0;
    fflush(view->stream);
}
