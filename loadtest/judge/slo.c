#include "loadtest/judge/slo.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/options.h"

#include <ctype.h>
#include <math.h>

static const struct {
    const char *text;
    enum slo_operator operator;
} operators[] = {/* the longer ones first */
                 {"<=", SLO_AT_MOST},
                 {">=", SLO_AT_LEAST},
                 {"==", SLO_EQUAL},
                 {"<", SLO_LESS},
                 {">", SLO_MORE}};

static bool read_operator(const char **at, enum slo_operator *out)
{
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++)
        if (strncmp(*at, operators[i].text, strlen(operators[i].text)) == 0) {
            *at += strlen(operators[i].text);
            *out = operators[i].operator;
            return true;
        }
    return false;
}

/* p(99), p(99.9) or p99. */
static bool read_percentile(const char *name, struct slo *slo)
{
    char *end;
    bool in_parentheses = name[1] == '(';
    const char *digits = name + 1 + in_parentheses;
    if (name[0] != 'p' || !isdigit((unsigned char)*digits))
        return false;
    slo->percent = strtod(digits, &end);
    if (in_parentheses && *end++ != ')')
        return false;
    slo->metric = SLO_PERCENTILE;
    return *end == '\0' && slo->percent > 0 && slo->percent <= 100;
}

static bool read_metric(const char *name, struct slo *slo)
{
    slo->metric = SLO_OUTCOME;
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        if (strcmp(name, ledger_outcome_key((enum outcome)i)) == 0) {
            slo->outcome = (enum outcome)i;
            return true;
        }
    if (strcmp(name, "failed") == 0)
        slo->metric = SLO_FAILURES;
    else if (strcmp(name, "avg") == 0)
        slo->metric = SLO_MEAN;
    else if (strcmp(name, "max") == 0)
        slo->metric = SLO_LARGEST;
    else if (strcmp(name, "med") == 0)
        return read_percentile("p50", slo);
    else
        return read_percentile(name, slo);
    return true;
}

static bool is_time(const struct slo *slo)
{
    return slo->metric == SLO_PERCENTILE || slo->metric == SLO_MEAN || slo->metric == SLO_LARGEST;
}

static bool read_bound(const char *text, struct slo *slo)
{
    char *end;
    double seconds;
    if (!isdigit((unsigned char)*text))
        return false;
    slo->bound = strtod(text, &end);
    if (!isfinite(slo->bound))
        return false; /* out of a double's range */
    if (is_time(slo)) {
        if (*end == '\0')
            return true;
        slo->bound = options_parse_duration(text, 0, 3600, &seconds) ? seconds * 1e3 : NAN;
        return !isnan(slo->bound);
    }
    slo->is_share = *end == '%';
    return end[slo->is_share] == '\0' && (!slo->is_share || slo->bound <= 100);
}

static bool read_slo(const char *text, size_t length, struct slo *slo)
{
    char name[SLO_TEXT_SIZE];
    size_t used = 0;
    *slo = (struct slo){0};
    for (size_t i = 0; i < length; i++) /* blanks mean nothing: "p(99) < 200" */
        if (text[i] != ' ') {
            if (used + 1 >= sizeof slo->text)
                return false;
            slo->text[used++] = text[i];
        }
    size_t name_length = strcspn(slo->text, "<>=");
    memcpy(name, slo->text, name_length);
    name[name_length] = '\0';
    const char *at = slo->text + name_length;
    return read_metric(name, slo) && read_operator(&at, &slo->operator) && read_bound(at, slo);
}

bool slo_parse(struct slo_list *list, const char *text, char *why, size_t why_size)
{
    assert(list->count <= SLO_MAX);
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        if (list->count == SLO_MAX) {
            snprintf(why, why_size, "there are more than %d thresholds", SLO_MAX);
            return false;
        }
        if (!read_slo(at, length, &list->items[list->count])) {
            snprintf(why, why_size,
                     "'%.*s' is no threshold such as p(99)<200, avg<=50ms, ok>99.9%%, wrong==0, "
                     "failed<10",
                     (int)(length < 40 ? length : 40), at);
            return false;
        }
        list->count++;
        at += length;
        if (*at == '\0')
            return true;
    }
}

static bool compares(enum slo_operator operator, double value, double bound)
{
    switch (operator) {
    case SLO_LESS:
        return value < bound;
    case SLO_AT_MOST:
        return value <= bound;
    case SLO_MORE:
        return value > bound;
    case SLO_AT_LEAST:
        return value >= bound;
    case SLO_EQUAL:
        break;
    }
    return value == bound;
}

static bool time_holds(const struct slo *slo, const struct load_stats *stats, char *measured,
                       size_t size)
{
    const struct histogram *response = &stats->response_all;
    double value_ms;
    bool at_least;
    if (slo->metric == SLO_MEAN) {
        value_ms = histogram_mean_us(response) / 1e3;
        at_least = stats->censored_from_ns != CLOCK_NEVER;
    } else {
        double percent = slo->metric == SLO_LARGEST ? 100 : slo->percent;
        value_ms = (double)histogram_percentile_us(response, percent) / 1e3;
        at_least = load_stats_is_censored(stats, percent);
    }
    int name_length = (int)strcspn(slo->text, "<>=");
    snprintf(measured, size, "%.*s is %s%.4g ms", name_length, slo->text,
             at_least ? "at least " : "", value_ms);
    bool has_upper_bound = slo->operator!= SLO_MORE && slo->operator!= SLO_AT_LEAST;
    if (response->count == 0 || (at_least && has_upper_bound))
        return false;
    return compares(slo->operator, value_ms, slo->bound);
}

bool slo_holds(const struct slo *slo, const struct load_stats *stats, char *measured, size_t size)
{
    const struct ledger *ledger = &stats->ledger;
    assert(slo->text[0] && slo->outcome < OUTCOME_COUNT);
    if (is_time(slo))
        return time_holds(slo, stats, measured, size);
    double count = slo->metric == SLO_FAILURES
                       ? (double)(ledger->scheduled - ledger_in_class(ledger, OUTCOME_CLASS_RIGHT))
                       : (double)ledger->outcomes[slo->outcome];
    assert(count <= (double)ledger->scheduled);
    double share = ledger->scheduled ? 100 * count / (double)ledger->scheduled : 0;
    int name_length = (int)strcspn(slo->text, "<>=");
    if (slo->is_share)
        snprintf(measured, size, "%.*s is %.6g %%", name_length, slo->text, share);
    else
        snprintf(measured, size, "%.*s is %.0f", name_length, slo->text, count);
    return ledger->scheduled > 0 &&
           compares(slo->operator, slo->is_share ? share : count, slo->bound);
}

bool slo_names(const struct slo_list *list, enum outcome outcome)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].metric == SLO_OUTCOME && list->items[i].outcome == outcome)
            return true;
    return false;
}
