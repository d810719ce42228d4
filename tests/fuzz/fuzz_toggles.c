/*
 * Toggles in answers of the admin port. This file has its own admin_client_request(), so that the
 * fuzzer chooses the service's answer.
 *
 * Input: two bytes for the status of the answers, then their body.
 */
#include "common/client/toggle_client.h"

#include "tests/fuzz/input.h"

static struct fuzz_input answer_body;
static int answer_status;

int admin_client_request(struct admin_client *client, const char *method, const char *path,
                         const char *body, int timeout_ms, struct text *answer, char *why,
                         size_t why_size)
{
    (void)client, (void)method, (void)path, (void)body, (void)timeout_ms;
    text_clear(answer);
    if (answer_status == 0)
        snprintf(why, why_size, "no answer");
    else
        text_append(answer, (const char *)answer_body.at, answer_body.left);
    return answer_status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    static const struct toggle_values values = {"batched", "mutex", "deadline"};
    struct fuzz_input input = {data, size_bytes};
    struct toggle_state state;
    char why[256] = "";
    unsigned high = fuzz_byte(&input);
    unsigned status = (high << 8 | fuzz_byte(&input)) % 1000;
    answer_status = status < 100 ? 0 : (int)status;
    answer_body = input;
    bool known = toggle_client_get(NULL, &state, why, sizeof why);
    assert(known ? status == 200 : strlen(why) > 0);
    assert(strnlen(state.query, TOGGLE_VALUE_SIZE) < TOGGLE_VALUE_SIZE);
    assert(!known || (state.query[0] && state.map[0] && state.admission[0]));
    why[0] = '\0';
    bool taken = toggle_client_set(NULL, &values, NULL, 0, why, sizeof why);
    bool shows_them = known && !strcmp(state.query, values.query) &&
                      !strcmp(state.map, values.map) && !strcmp(state.admission, values.admission);
    assert(taken ? shows_them : strlen(why) > 0);
    assert(!shows_them || taken);
    return 0;
}
