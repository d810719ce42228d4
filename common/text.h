/*
 * A growing piece of text: bodies of answers, metrics, tables. Not shared between threads.
 * A failed allocation is remembered instead of returned by each call: append freely, look at
 * `failed` once.
 */
#ifndef FLASHOVER_COMMON_TEXT_H
#define FLASHOVER_COMMON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct text {
    char *data; /* NUL-terminated once anything was appended; owned */
    size_t size_bytes;
    size_t capacity_bytes;
    bool failed; /* an allocation failed; `data` is cut short */
};

/* Makes room for so many more bytes, to spare the growing. False without memory. */
bool text_reserve(struct text *text, size_t more_bytes);

/* The general case of text_append(): makes room first. */
void text_append_growing(struct text *text, const char *bytes, size_t size_bytes);

/* Inline, because a success body is made of thousands of pieces, most of them constants. */
static inline void text_append(struct text *text, const char *bytes, size_t size_bytes)
{
    if (size_bytes >= text->capacity_bytes - text->size_bytes) {
        text_append_growing(text, bytes, size_bytes);
        return;
    }
    memcpy(text->data + text->size_bytes, bytes, size_bytes);
    text->size_bytes += size_bytes;
    text->data[text->size_bytes] = '\0';
}

static inline void text_add(struct text *text, const char *string)
{
    text_append(text, string, strlen(string));
}

void text_addf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends `value` in decimal; the fast path of the success body. */
void text_add_integer(struct text *text, long long value);

/* Appends `string` between double quotes, escaped as RFC 8259 section 7 asks. A byte that is not
 * UTF-8, as where a message was cut short, becomes U+FFFD: what leaves here always parses. */
void text_add_json_string(struct text *text, const char *string, size_t size_bytes);

/* Whether the bytes are well-formed UTF-8 (RFC 3629). */
bool text_is_utf8(const char *bytes, size_t size_bytes);

/* Copies text from outside as one line of well-formed UTF-8 that fits into `size` bytes: line ends
 * and tabs become spaces (none at the end), what is neither printable nor UTF-8 becomes '?'. */
void text_one_line(const char *string, char *out, size_t size);

/* Frees the text and makes it empty again. */
void text_clear(struct text *text);

#endif
