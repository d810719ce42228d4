/*
 * The parser of HTTP answers, fed as from a socket: in pieces whose sizes the fuzzer chooses, with
 * several answers one after the other on one parser.
 *
 * Input: a byte of flags (1: a body beyond the limit breaks the answer, 2: the connection ends
 * after each answer's bytes, 4 and 8: the limit), a byte with the number of piece sizes (0..15),
 * the sizes (255: all that is left), then the answers' bytes with "\xff\xfe" between two answers.
 */
#include "loadtest/engine/response_parser.h"

#include "tests/fuzz/input.h"

#define FLAG_BREAKS 1U
#define FLAG_CLOSES 2U
#define SIZES_MAX   15

static const size_t limits[] = {0, 7, 200, 1 << 20};
static const char separator[] = "\xff\xfe";

struct plan {
    enum response_excess excess;
    bool closes;
    size_t limit_bytes;
    size_t sizes[SIZES_MAX];
    size_t size_count;
};

static void check(const struct response_parser *parser, const struct plan *plan,
                  enum response_progress progress)
{
    assert(parser->body.size_bytes <= plan->limit_bytes);
    assert(parser->complete == (progress == RESPONSE_DONE));
    assert((progress == RESPONSE_BROKEN) == (parser->problem != NULL));
    assert(strlen(parser->request_id) < sizeof parser->request_id);
    for (const char *at = parser->request_id; *at; at++)
        assert(*at > 0x20 && *at < 0x7f);
    if (progress == RESPONSE_DONE)
        assert(parser->status >= 100 && parser->status <= 999);
}

/* Feeds one answer, until it is complete or its bytes end. */
static enum response_progress feed(struct response_parser *parser, const struct plan *plan,
                                   const uint8_t *bytes, size_t size)
{
    enum response_progress progress = RESPONSE_MORE;
    size_t fed = 0;
    response_parser_begin(parser, plan->limit_bytes, plan->excess);
    check(parser, plan, progress);
    for (size_t i = 0; fed < size && progress == RESPONSE_MORE; i++) {
        size_t piece = plan->size_count ? plan->sizes[i % plan->size_count] : size;
        if (piece == 0 && i >= plan->size_count)
            piece = 1; /* with only empty pieces the loop would not end */
        if (piece > size - fed || piece == 255)
            piece = size - fed;
        /* a separate copy, so that AddressSanitizer sees a read beyond the piece */
        char *copy = malloc(piece ? piece : 1);
        assert(copy);
        memcpy(copy, bytes + fed, piece);
        progress = response_parser_feed(parser, copy, piece);
        free(copy);
        fed += piece;
        check(parser, plan, progress);
    }
    if (progress == RESPONSE_MORE && plan->closes) {
        progress = response_parser_end(parser);
        assert(progress != RESPONSE_MORE && progress != RESPONSE_BROKEN);
        assert(progress != RESPONSE_DONE || !parser->keep_alive);
        check(parser, plan, progress);
    }
    return progress;
}

/* Checks that the same bytes in one piece, on a new parser, give the same result. */
static void compare_with_one_piece(const struct response_parser *parser, const struct plan *plan,
                                   enum response_progress progress, const uint8_t *bytes,
                                   size_t size)
{
    struct response_parser whole = {0};
    struct plan at_once = *plan;
    at_once.size_count = 0;
    assert(feed(&whole, &at_once, bytes, size) == progress);
    if (progress == RESPONSE_DONE) {
        assert(whole.status == parser->status);
        assert(strcmp(whole.request_id, parser->request_id) == 0);
        assert(whole.body.size_bytes == parser->body.size_bytes);
        assert(whole.body.size_bytes == 0 ||
               memcmp(whole.body.data, parser->body.data, whole.body.size_bytes) == 0);
        /* the one piece also holds any bytes after the answer, which end the connection */
        assert(!whole.keep_alive || parser->keep_alive);
    } else if (progress == RESPONSE_BROKEN) {
        assert(strcmp(whole.problem, parser->problem) == 0);
    }
    response_parser_destroy(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct fuzz_input input = {data, size_bytes};
    struct response_parser parser = {0};
    unsigned flags = fuzz_byte(&input);
    struct plan plan = {
        .excess = flags & FLAG_BREAKS ? RESPONSE_EXCESS_BREAKS : RESPONSE_EXCESS_IGNORED,
        .closes = flags & FLAG_CLOSES,
        .limit_bytes = limits[flags >> 2 & 3],
        .size_count = fuzz_byte(&input) % (SIZES_MAX + 1),
    };
    for (size_t i = 0; i < plan.size_count; i++)
        plan.sizes[i] = fuzz_byte(&input);
    for (;;) {
        const uint8_t *next =
            input.left ? memmem(input.at, input.left, separator, sizeof separator - 1) : NULL;
        size_t size = next ? (size_t)(next - input.at) : input.left;
        enum response_progress progress = feed(&parser, &plan, input.at, size);
        compare_with_one_piece(&parser, &plan, progress, input.at, size);
        if (!next)
            break;
        input.at = next + sizeof separator - 1;
        input.left -= size + sizeof separator - 1;
    }
    response_parser_destroy(&parser);
    return 0;
}
