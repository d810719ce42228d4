#include "drill/engine/lab.h"

#include "common/check.h"
#include "common/client/service_sample.h"

#include <math.h>

#define CHANGE_MS 5000
#define LOOK_MS   1000
#define LOAD_MS   3000

bool lab_open(struct lab *lab, const struct lab_config *config)
{
    *lab = (struct lab){.config = *config};
    lab->service =
        admin_client_new(config->admin_url, config->admin_token_file, lab->why, sizeof lab->why);
    lab->loadtest = lab->service
                        ? admin_client_new(config->loadtest_url, config->loadtest_token_file,
                                           lab->why, sizeof lab->why)
                        : NULL;
    lab->public = lab->loadtest
                      ? admin_client_new(config->public_url, NULL, lab->why, sizeof lab->why)
                      : NULL;
    return lab->public != NULL;
}

void lab_close(struct lab *lab)
{
    admin_client_free(lab->service);
    admin_client_free(lab->loadtest);
    admin_client_free(lab->public);
    text_clear(&lab->answer);
}

/* The message of an error's body, or the body itself. */
static void take_message(struct lab *lab, const char *what, int status)
{
    json_t *body = lab->answer.data ? json_loads(lab->answer.data, 0, NULL) : NULL;
    const char *message = json_string_value(json_object_get(body, "message"));
    snprintf(lab->why, sizeof lab->why, "%s: %d %.180s", what, status, message ? message : "");
    json_decref(body);
}

/* The answer to a request that must succeed with one of the 2xx; NULL and `why` otherwise. The
 * caller's to json_decref. */
static json_t *ask(struct lab *lab, struct admin_client *client, const char *method,
                   const char *path, const json_t *body, int timeout_ms)
{
    char reason[LAB_WHY_SIZE / 2];
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    int status = admin_client_request(client, method, path, text, timeout_ms, &lab->answer, reason,
                                      sizeof reason);
    free(text);
    if (status == 0) {
        snprintf(lab->why, sizeof lab->why, "%s %s: %.120s", method, path, reason);
        return NULL;
    }
    if (status < 200 || status > 299) {
        take_message(lab, path, status);
        return NULL;
    }
    json_t *answer = json_loads(lab->answer.data ? lab->answer.data : "", 0, NULL);
    if (!answer)
        snprintf(lab->why, sizeof lab->why, "%s %s: the answer is no JSON", method, path);
    return answer;
}

static bool tell(struct lab *lab, struct admin_client *client, const char *method, const char *path,
                 const json_t *body)
{
    json_t *answer = ask(lab, client, method, path, body, CHANGE_MS);
    json_decref(answer);
    return answer != NULL;
}

bool lab_set(struct lab *lab, const char *what, const json_t *values)
{
    char path[32];
    snprintf(path, sizeof path, "/v1/%s", what);
    return tell(lab, lab->service, "PATCH", path, values);
}

bool lab_needs_restart(struct lab *lab, bool *needs)
{
    json_t *answer = ask(lab, lab->service, "GET", "/v1/settings", NULL, LOOK_MS);
    *needs = json_is_true(json_object_get(answer, "restart_needed"));
    json_decref(answer);
    return answer != NULL;
}

/* False: the service does not say. */
static bool read_sample(struct lab *lab, struct service_sample *sample)
{
    char reason[LAB_WHY_SIZE / 2];
    if (admin_client_request(lab->service, "GET", "/metrics", NULL, LOOK_MS, &lab->answer, reason,
                             sizeof reason) != 200 ||
        !lab->answer.data)
        return false;
    service_sample_parse(sample, lab->answer.data);
    return isfinite(sample->start_time_s);
}

bool lab_restart(struct lab *lab)
{
    struct service_sample sample;
    double before_unix_s = read_sample(lab, &sample) ? sample.start_time_s : 0;
    if (!tell(lab, lab->service, "POST", "/v1/restart", NULL))
        return false;
    lab->before_unix_s = before_unix_s;
    lab->started_unix_s = 0; /* the next process is no crash's */
    return true;
}

bool lab_is_ready(struct lab *lab)
{
    struct service_sample sample;
    char reason[LAB_WHY_SIZE / 2];
    return admin_client_request(lab->public, "GET", "/readyz", NULL, LOOK_MS, &lab->answer, reason,
                                sizeof reason) == 200 &&
           read_sample(lab, &sample) && sample.start_time_s != lab->before_unix_s;
}

static uint32_t whole(double number)
{
    return isfinite(number) && number > 0 ? (uint32_t)number : 0;
}

/* Connections whose holders are gone. */
static uint32_t count_leaked(struct lab *lab)
{
    json_t *pool = ask(lab, lab->service, "GET", "/debug/pool", NULL, LOOK_MS);
    json_t *holders = json_object_get(pool, "holders");
    uint32_t leaked = 0;
    for (size_t i = 0; i < json_array_size(holders); i++)
        leaked += json_is_false(json_object_get(json_array_get(holders, i), "thread_alive"));
    json_decref(pool);
    return leaked;
}

void lab_look(struct lab *lab, struct lab_look *look)
{
    struct service_sample sample;
    *look = (struct lab_look){0};
    if (!read_sample(lab, &sample))
        return;
    look->up = true;
    look->pool_used = whole(sample.pool_used);
    look->pool_max = whole(sample.pool_max);
    look->waiting = whole(sample.pool_pending);
    look->leaked = count_leaked(lab);
    if (sample.start_time_s == lab->before_unix_s)
        return; /* the one that is about to end */
    look->crashes = lab->started_unix_s > 0 && sample.start_time_s != lab->started_unix_s;
    lab->started_unix_s = sample.start_time_s;
}

bool lab_start_load(struct lab *lab, const struct house *house, double duration_s)
{
    char url[300];
    snprintf(url, sizeof url, "%s/v1/feeds/{feed}?items=%.0f", lab->config.public_url,
             house->items);
    json_t *body = json_pack("{s:s, s:f, s:f, s:f, s:i}", "url", url, "rate", house->rate,
                             "duration", duration_s, "timeout", house->timeout_s, "retries", 0);
    json_t *answer = ask(lab, lab->loadtest, "POST", "/v1/runs", body, CHANGE_MS);
    const char *id = json_string_value(json_object_get(answer, "id"));
    json_decref(body);
    lab->final_rows = 0;
    snprintf(lab->run_id, sizeof lab->run_id, "%s", id ? id : "");
    if (answer && !id)
        snprintf(lab->why, sizeof lab->why, "POST /v1/runs: no id in the answer");
    json_decref(answer);
    return lab->run_id[0] != '\0';
}

static void run_path(const struct lab *lab, const char *rest, char path[160])
{
    snprintf(path, 160, "/v1/runs/%s%s", lab->run_id, rest);
}

bool lab_change_load(struct lab *lab, const json_t *change)
{
    char path[160];
    run_path(lab, "", path);
    return tell(lab, lab->loadtest, "PATCH", path, change);
}

void lab_stop_load(struct lab *lab)
{
    char path[160];
    if (!lab->run_id[0])
        return;
    run_path(lab, "/stop", path);
    (void)tell(lab, lab->loadtest, "POST", path, NULL);
    lab->run_id[0] = '\0';
}

/* A load tester that died knows its run when it is back, and calls it lost. */
static bool run_is_under_way(struct lab *lab)
{
    char path[160];
    run_path(lab, "", path);
    json_t *run = ask(lab, lab->loadtest, "GET", path, NULL, LOAD_MS);
    const char *state = json_string_value(json_object_get(run, "state"));
    bool under_way = !run || (state && strcmp(state, "running") == 0);
    json_decref(run);
    return under_way;
}

json_t *lab_fetch_rows(struct lab *lab)
{
    char path[160];
    char rest[48];
    snprintf(rest, sizeof rest, "/seconds?from=%u", lab->final_rows);
    run_path(lab, rest, path);
    json_t *answer = ask(lab, lab->loadtest, "GET", path, NULL, LOAD_MS);
    bool is_empty = answer && json_array_size(json_object_get(answer, "rows")) == 0;
    lab->run_is_gone =
        is_empty ? !run_is_under_way(lab) : !answer && strstr(lab->why, ": 404 ") != NULL;
    if (!lab->run_is_gone)
        return answer;
    json_decref(answer);
    return NULL;
}

bool lab_take_rows(struct lab *lab, const json_t *answer, struct account_row *rows,
                   unsigned first_row)
{
    struct account_columns columns;
    const json_t *list = json_object_get(answer, "rows");
    unsigned from = lab->final_rows;
    unsigned final = (unsigned)json_integer_value(json_object_get(answer, "final"));
    bool ok = account_columns_read(json_object_get(answer, "columns"), &columns);
    for (size_t i = 0; ok && i < json_array_size(list); i++) {
        size_t at = first_row + from + i;
        if (at >= ACCOUNT_SECONDS_MAX)
            break;
        ok = account_row_take(&rows[at], json_array_get(list, i), &columns);
        rows[at].final = from + i < final;
    }
    if (ok && final > from)
        lab->final_rows = final;
    if (!ok)
        snprintf(lab->why, sizeof lab->why, "the load tester's rows are not understood");
    return ok;
}
