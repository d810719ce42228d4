#include "loadtest/check/json_scan.h"

#include "common/check.h"

#include <errno.h>

#define DEPTH_LIMIT 64

/* Where decoded bytes go; what does not fit is counted but not kept. */
struct sink {
    char *out;
    size_t size;
    size_t used;
};

static void sink_put(struct sink *sink, unsigned byte)
{
    if (sink->used + 1 < sink->size)
        sink->out[sink->used++] = (char)byte;
}

static void sink_put_code_point(struct sink *sink, unsigned point)
{
    /* U+0000 takes two bytes, as in modified UTF-8, so that it cannot cut a text short */
    if (point > 0 && point < 0x80) {
        sink_put(sink, point);
    } else if (point < 0x800) {
        sink_put(sink, 0xc0U | point >> 6);
        sink_put(sink, 0x80U | (point & 0x3fU));
    } else if (point < 0x10000) {
        sink_put(sink, 0xe0U | point >> 12);
        sink_put(sink, 0x80U | (point >> 6 & 0x3fU));
        sink_put(sink, 0x80U | (point & 0x3fU));
    } else {
        sink_put(sink, 0xf0U | point >> 18);
        sink_put(sink, 0x80U | (point >> 12 & 0x3fU));
        sink_put(sink, 0x80U | (point >> 6 & 0x3fU));
        sink_put(sink, 0x80U | (point & 0x3fU));
    }
}

void json_scan_init(struct json_scan *scan, const char *bytes, size_t size_bytes)
{
    if (!bytes) /* not even 0 may be added to NULL */
        bytes = "";
    *scan = (struct json_scan){.at = bytes, .end = bytes + size_bytes, .at_start = true};
}

static bool fail(struct json_scan *scan)
{
    scan->failed = true;
    scan->at = scan->end;
    return false;
}

/* The next byte that is no white space, not consumed; '\0' at the end (a NUL is no JSON either). */
static char peek(struct json_scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\n' || *scan->at == '\r'))
        scan->at++;
    return scan->at < scan->end ? *scan->at : '\0';
}

static bool take(struct json_scan *scan, char expected)
{
    if (scan->failed || peek(scan) != expected)
        return fail(scan);
    scan->at++;
    return true;
}

static bool take_hex4(struct json_scan *scan, unsigned *out)
{
    if (scan->end - scan->at < 4)
        return fail(scan);
    *out = 0;
    for (int i = 0; i < 4; i++) {
        char c = *scan->at++;
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F')
            digit = (unsigned)(c - 'A') + 10;
        else
            return fail(scan);
        *out = *out << 4 | digit;
    }
    return true;
}

/* Behind "\u": one code unit, or a pair of surrogates (RFC 8259 section 7). */
static bool take_unicode(struct json_scan *scan, struct sink *sink)
{
    unsigned high;
    unsigned low;
    if (!take_hex4(scan, &high))
        return false;
    if (high < 0xd800 || high > 0xdfff) {
        sink_put_code_point(sink, high);
        return true;
    }
    if (high > 0xdbff || scan->end - scan->at < 2 || scan->at[0] != '\\' || scan->at[1] != 'u')
        return fail(scan);
    scan->at += 2;
    if (!take_hex4(scan, &low))
        return false;
    if (low < 0xdc00 || low > 0xdfff)
        return fail(scan);
    sink_put_code_point(sink, 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
    return true;
}

static bool take_escape(struct json_scan *scan, struct sink *sink)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    if (scan->at == scan->end)
        return fail(scan);
    char c = *scan->at++;
    if (c == 'u')
        return take_unicode(scan, sink);
    const char *known = c ? strchr(letters, c) : NULL;
    if (!known)
        return fail(scan);
    sink_put(sink, (unsigned char)meanings[known - letters]);
    return true;
}

static bool take_string(struct json_scan *scan, char *out, size_t out_size)
{
    struct sink sink = {.out = out, .size = out_size};
    if (!take(scan, '"'))
        return false;
    while (scan->at < scan->end) {
        unsigned char c = (unsigned char)*scan->at++;
        if (c == '"') {
            if (out_size > 0)
                out[sink.used] = '\0';
            return true;
        }
        if (c < 0x20)
            return fail(scan);
        if (c != '\\')
            sink_put(&sink, c);
        else if (!take_escape(scan, &sink))
            return false;
    }
    return fail(scan);
}

static size_t take_digits(struct json_scan *scan)
{
    const char *from = scan->at;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
        scan->at++;
    return (size_t)(scan->at - from);
}

/* Reads a number; *is_integer says that it has neither fraction nor exponent. */
static bool take_number(struct json_scan *scan, bool *is_integer)
{
    *is_integer = true;
    if (scan->at < scan->end && *scan->at == '-')
        scan->at++;
    bool leading_zero = scan->at < scan->end && *scan->at == '0';
    size_t digits = take_digits(scan);
    if (digits == 0 || (leading_zero && digits > 1))
        return fail(scan);
    if (scan->at < scan->end && *scan->at == '.') {
        scan->at++;
        *is_integer = false;
        if (take_digits(scan) == 0)
            return fail(scan);
    }
    if (scan->at < scan->end && (*scan->at == 'e' || *scan->at == 'E')) {
        scan->at++;
        *is_integer = false;
        if (scan->at < scan->end && (*scan->at == '+' || *scan->at == '-'))
            scan->at++;
        if (take_digits(scan) == 0)
            return fail(scan);
    }
    return true;
}

static bool take_word(struct json_scan *scan, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(scan->end - scan->at) < length || memcmp(scan->at, word, length) != 0)
        return fail(scan);
    scan->at += length;
    return true;
}

/* Reads what stands before the next element of an object or array: nothing or a comma. False at
 * its end, with the closing bracket read. */
static bool take_separator(struct json_scan *scan, char closing)
{
    bool first = scan->at_start;
    scan->at_start = false;
    if (scan->failed)
        return false;
    if (peek(scan) == closing) {
        scan->at++;
        return false;
    }
    return first || take(scan, ',');
}

static void skip_value(struct json_scan *scan, int depth)
{
    bool is_integer;
    if (scan->failed || depth > DEPTH_LIMIT) {
        fail(scan);
        return;
    }
    switch (peek(scan)) {
    case '{':
        scan->at++;
        scan->at_start = true;
        while (json_scan_member(scan, NULL, 0))
            skip_value(scan, depth + 1);
        break;
    case '[':
        scan->at++;
        scan->at_start = true;
        while (take_separator(scan, ']')) {
            skip_value(scan, depth + 1);
            if (scan->failed)
                break;
        }
        break;
    case '"':
        take_string(scan, NULL, 0);
        break;
    case 't':
        take_word(scan, "true");
        break;
    case 'f':
        take_word(scan, "false");
        break;
    case 'n':
        take_word(scan, "null");
        break;
    default: /* take_number refuses what is neither '-' nor a digit */
        take_number(scan, &is_integer);
    }
}

void json_scan_skip(struct json_scan *scan)
{
    skip_value(scan, 1);
    scan->at_start = false;
}

bool json_scan_object(struct json_scan *scan)
{
    if (scan->failed)
        return false;
    if (peek(scan) != '{') {
        json_scan_skip(scan);
        return false;
    }
    scan->at++;
    scan->at_start = true;
    return true;
}

bool json_scan_member(struct json_scan *scan, char *key, size_t key_size)
{
    return take_separator(scan, '}') && take_string(scan, key, key_size) && take(scan, ':');
}

bool json_scan_integer(struct json_scan *scan, int64_t *out)
{
    char c = scan->failed ? '\0' : peek(scan);
    if (c != '-' && !(c >= '0' && c <= '9')) {
        json_scan_skip(scan);
        return false;
    }
    const char *from = scan->at;
    bool is_integer;
    char digits[24];
    if (!take_number(scan, &is_integer))
        return false;
    size_t length = (size_t)(scan->at - from);
    if (!is_integer || length >= sizeof digits)
        return false;
    memcpy(digits, from, length);
    digits[length] = '\0';
    errno = 0;
    *out = strtoll(digits, NULL, 10);
    return errno == 0;
}

bool json_scan_string(struct json_scan *scan, char *out, size_t out_size)
{
    if (scan->failed)
        return false;
    if (peek(scan) != '"') {
        json_scan_skip(scan);
        return false;
    }
    return take_string(scan, out, out_size);
}

bool json_scan_end(struct json_scan *scan)
{
    peek(scan);
    return !scan->failed && scan->at == scan->end;
}
