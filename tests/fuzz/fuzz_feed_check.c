/*
 * Compares the check of a feed's body, and with it the JSON scanner, with jansson. Both must accept
 * the same texts as JSON, except for the differences that the scanner's header lists.
 *
 * Input: a byte for the feed's id, one for its items, then the body.
 */
#include "loadtest/check/feed_check.h"

#include "tests/fuzz/input.h"

#include <jansson.h>

#define SCANNER_DEPTH 64

/* Counts the opening brackets: no body is nested deeper. */
static size_t count_brackets(const char *body, size_t size)
{
    size_t brackets = 0;
    for (size_t i = 0; i < size; i++)
        brackets += body[i] == '{' || body[i] == '[';
    return brackets;
}

static void compare_with_jansson(const char *body, size_t size, bool is_malformed)
{
    json_error_t error;
    if (size > 0 && memchr(body, '\0', size))
        return; /* jansson loses a NUL that it has to put back, and so accepts "[8\0]" as JSON */
    json_t *root = json_loadb(body, size, JSON_ALLOW_NUL, &error);
    if (root) {
        bool is_feed = json_is_object(root) && count_brackets(body, size) <= SCANNER_DEPTH;
        assert(is_malformed ? !is_feed : json_is_object(root));
    } else if (!is_malformed) { /* the scanner accepts these, since they obey the grammar */
        enum json_error_code code = json_error_code(&error);
        assert(code == json_error_invalid_utf8 || code == json_error_numeric_overflow ||
               code == json_error_null_byte_in_key);
    }
    json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct fuzz_input input = {data, size_bytes};
    struct feed_defects defects = {0};
    const char *first = "";
    uint32_t feed_id = fuzz_byte(&input);
    uint32_t items = 1 + fuzz_byte(&input) % 4 * 333;
    char *body = malloc(input.left ? input.left : 1);
    assert(body);
    if (input.left > 0)
        memcpy(body, input.at, input.left);
    bool is_right =
        feed_check_body(input.left ? body : NULL, input.left, feed_id, items, &defects, &first);
    uint64_t found =
        defects.lost + defects.foreign + defects.duplicate + defects.corrupt + defects.malformed;
    assert(is_right == (found == 0) && is_right == (first == NULL));
    assert(defects.lost <= items && defects.malformed <= 1);
    assert(!defects.malformed || found == 1);
    /* an entry takes at least the five bytes of "1":0 */
    assert((defects.foreign + defects.duplicate) * 5 <= input.left);
    compare_with_jansson(body, input.left, defects.malformed);
    free(body);
    return 0;
}
