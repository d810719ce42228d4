#include "common/client/toggle_client.h"

#include "common/check.h"
#include "common/clock.h"

#include <jansson.h>

#define PATH     "/v1/toggles"
#define ASK_MS   2000
#define RETRY_NS (100 * CLOCK_NS_PER_MS)

/* Puts an answer's status and the service's message into `why`. */
static void explain(int status, const struct text *answer, char *why, size_t why_size)
{
    json_t *root = json_loadb(answer->data ? answer->data : "", answer->size_bytes, 0, NULL);
    const char *message = json_string_value(json_object_get(root, "message"));
    snprintf(why, why_size, PATH " answers %d: %s%s", status, message ? message : "(no message)",
             status == 401 ? " (see --admin-token-file)" : "");
    json_decref(root);
}

static void copy_value(const json_t *toggle, const char *name, char out[TOGGLE_VALUE_SIZE])
{
    const char *found = json_string_value(json_object_get(toggle, "name"));
    const char *value = json_string_value(json_object_get(toggle, "value"));
    if (found && value && strcmp(found, name) == 0 && strlen(value) < TOGGLE_VALUE_SIZE)
        memcpy(out, value, strlen(value) + 1);
}

bool toggle_client_get(struct admin_client *admin, struct toggle_state *out, char *why,
                       size_t why_size)
{
    struct text answer = {0};
    size_t index;
    json_t *toggle;
    *out = (struct toggle_state){0};
    int status = admin_client_request(admin, "GET", PATH, NULL, ASK_MS, &answer, why, why_size);
    json_t *root = status == 200
                       ? json_loadb(answer.data ? answer.data : "", answer.size_bytes, 0, NULL)
                       : NULL;
    json_array_foreach (json_object_get(root, "toggles"), index, toggle) {
        copy_value(toggle, "query", out->query);
        copy_value(toggle, "map", out->map);
        copy_value(toggle, "admission", out->admission);
    }
    json_decref(root);
    bool whole = out->query[0] && out->map[0] && out->admission[0];
    if (status != 0 && status != 200)
        explain(status, &answer, why, why_size);
    else if (status == 200 && !whole)
        snprintf(why, why_size, PATH " does not name query, map and admission");
    text_clear(&answer);
    return whole;
}

enum attempt { ATTEMPT_DONE, ATTEMPT_AGAIN, ATTEMPT_REFUSED };

static enum attempt try_once(struct admin_client *admin, const struct toggle_values *values,
                             const char *body, char *why, size_t why_size)
{
    struct text answer = {0};
    struct toggle_state now;
    int status = admin_client_request(admin, "PATCH", PATH, body, ASK_MS, &answer, why, why_size);
    enum attempt attempt = status / 100 == 4 ? ATTEMPT_REFUSED : ATTEMPT_AGAIN;
    if (status != 0 && status != 200)
        explain(status, &answer, why, why_size);
    text_clear(&answer);
    if (status != 200 || !toggle_client_get(admin, &now, why, why_size))
        return attempt;
    if (strcmp(now.query, values->query) == 0 && strcmp(now.map, values->map) == 0 &&
        strcmp(now.admission, values->admission) == 0)
        return ATTEMPT_DONE;
    snprintf(why, why_size, PATH " took the values, but does not show them");
    return ATTEMPT_AGAIN;
}

bool toggle_client_set(struct admin_client *admin, const struct toggle_values *values,
                       const struct stop *stop, int64_t deadline_ns, char *why, size_t why_size)
{
    json_t *root = json_pack("{s:s, s:s, s:s}", "query", values->query, "map", values->map,
                             "admission", values->admission);
    char *body = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (!body) {
        snprintf(why, why_size, "out of memory");
        return false;
    }
    enum attempt attempt = try_once(admin, values, body, why, why_size);
    while (attempt == ATTEMPT_AGAIN && clock_now_ns() < deadline_ns &&
           !(stop && stop_requested(stop))) {
        clock_sleep_until(clock_now_ns() + RETRY_NS);
        attempt = try_once(admin, values, body, why, why_size);
    }
    free(body);
    return attempt == ATTEMPT_DONE;
}
