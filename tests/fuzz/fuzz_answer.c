/*
 * Judges a whole answer: status, body and the text of an error, which is printed on the terminal
 * and in JSON.
 *
 * Input: a byte of flags (1: check the feed), two bytes for the status, the feed's id, then the
 * body.
 */
#include "loadtest/engine/exchange.h"

#include "tests/fuzz/input.h"

#include <jansson.h>

static void check_row(const struct error_row *row)
{
    assert(strlen(row->message) > 0 && strlen(row->message) < sizeof row->message);
    for (const char *at = row->message; *at; at++)
        assert(*at >= 0x20 && *at < 0x7f);
    json_t *shown = json_string(row->message);
    assert(shown);
    json_decref(shown);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct fuzz_input input = {data, size_bytes};
    static const struct load_segment segment = {.items = 3};
    struct exchange exchange = {0};
    struct response_parser *response = &exchange.connection.response;
    struct feed_defects defects = {0};
    struct error_row row = {0};
    enum load_check check = fuzz_byte(&input) & 1 ? LOAD_CHECK_FEED : LOAD_CHECK_STATUS;
    unsigned status = fuzz_byte(&input);
    response->complete = true;
    response->status = (int)(100 + (status << 8 | fuzz_byte(&input)) % 900);
    exchange.arrival.feed_id = 1 + fuzz_byte(&input);
    exchange.segment = &segment;
    if (input.left > 0)
        text_append(&response->body, (const char *)input.at, input.left);
    enum outcome outcome = exchange_judge(&exchange, check, &defects, &row);
    uint64_t found =
        defects.lost + defects.foreign + defects.duplicate + defects.corrupt + defects.malformed;
    bool is_success =
        check == LOAD_CHECK_FEED ? response->status == 200 : response->status / 100 == 2;
    assert((outcome == OUTCOME_HTTP_ERROR) == !is_success);
    assert((outcome == OUTCOME_WRONG) == (found > 0));
    if (outcome != OUTCOME_OK) {
        assert(row.http_status == response->status);
        check_row(&row);
    }
    text_clear(&response->body);
    return 0;
}
