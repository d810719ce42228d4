#include "common/text.h"

#include "common/check.h"

#include <stdarg.h>

bool text_reserve(struct text *text, size_t more_bytes)
{
    if (text->failed)
        return false;
    size_t wanted = text->size_bytes + more_bytes + 1;
    if (wanted <= text->capacity_bytes)
        return true;
    size_t capacity = text->capacity_bytes ? text->capacity_bytes : 256;
    while (capacity < wanted)
        capacity *= 2;
    char *data = realloc(text->data, capacity);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity_bytes = capacity;
    return true;
}

void text_append_growing(struct text *text, const char *bytes, size_t size_bytes)
{
    if (!text_reserve(text, size_bytes))
        return;
    memcpy(text->data + text->size_bytes, bytes, size_bytes);
    text->size_bytes += size_bytes;
    text->data[text->size_bytes] = '\0';
}

void text_addf(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0 || !text_reserve(text, (size_t)length)) {
        text->failed = true;
        return;
    }
    va_start(arguments, format);
    vsnprintf(text->data + text->size_bytes, (size_t)length + 1, format, arguments);
    va_end(arguments);
    text->size_bytes += (size_t)length;
}

void text_add_integer(struct text *text, long long value)
{
    char digits[24];
    char *end = digits + sizeof digits;
    char *at = end;
    unsigned long long rest =
        value < 0 ? 0ULL - (unsigned long long)value : (unsigned long long)value;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (value < 0)
        *--at = '-';
    text_append(text, at, (size_t)(end - at));
}

/* The bytes of the well-formed UTF-8 sequence (RFC 3629 section 4) that begins at string[at]; 0
 * where there is none. */
static size_t utf8_sequence(const char *string, size_t at, size_t size_bytes)
{
    const unsigned char *bytes = (const unsigned char *)string + at;
    unsigned char lead = bytes[0];
    size_t length = lead < 0x80   ? 1
                    : lead < 0xC2 ? 0
                    : lead < 0xE0 ? 2
                    : lead < 0xF0 ? 3
                    : lead < 0xF5 ? 4
                                  : 0;
    if (length == 0 || length > size_bytes - at)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((bytes[i] & 0xC0) != 0x80)
            return 0;
    bool overlong = (lead == 0xE0 && bytes[1] < 0xA0) || (lead == 0xF0 && bytes[1] < 0x90);
    bool outside = (lead == 0xED && bytes[1] > 0x9F) || (lead == 0xF4 && bytes[1] > 0x8F);
    return overlong || outside ? 0 : length;
}

void text_add_json_string(struct text *text, const char *string, size_t size_bytes)
{
    text_append(text, "\"", 1);
    size_t plain_from = 0;
    for (size_t i = 0; i < size_bytes; i++) {
        unsigned char c = (unsigned char)string[i];
        if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\')
            continue;
        size_t sequence = c < 0x80 ? 0 : utf8_sequence(string, i, size_bytes);
        if (sequence > 0) {
            i += sequence - 1;
            continue;
        }
        text_append(text, string + plain_from, i - plain_from);
        plain_from = i + 1;
        if (c >= 0x80)
            text_add(text, "\\ufffd");
        else if (c < 0x20)
            text_addf(text, "\\u%04x", c);
        else
            text_append(text, (char[]){'\\', (char)c}, 2);
    }
    text_append(text, string + plain_from, size_bytes - plain_from);
    text_append(text, "\"", 1);
}

bool text_is_utf8(const char *bytes, size_t size_bytes)
{
    for (size_t i = 0; i < size_bytes;) {
        bool is_ascii = (unsigned char)bytes[i] < 0x80; /* nearly always: without a call */
        size_t sequence = is_ascii ? 1 : utf8_sequence(bytes, i, size_bytes);
        if (sequence == 0)
            return false;
        i += sequence;
    }
    return true;
}

void text_one_line(const char *string, char *out, size_t size)
{
    size_t length = strlen(string);
    size_t used = 0;
    for (size_t at = 0; at < length;) {
        unsigned char c = (unsigned char)string[at];
        size_t sequence = c < 0x80 ? 1 : utf8_sequence(string, at, length);
        if (used + (sequence ? sequence : 1) >= size)
            break;
        if (sequence > 1) {
            memcpy(out + used, string + at, sequence);
            used += sequence;
        } else {
            bool is_space = c == '\n' || c == '\r' || c == '\t';
            out[used++] = is_space ? ' ' : c >= 0x20 && c < 0x7f ? (char)c : '?';
        }
        at += sequence ? sequence : 1;
    }
    while (used > 0 && out[used - 1] == ' ')
        used--;
    out[used] = '\0';
}

void text_clear(struct text *text)
{
    free(text->data);
    *text = (struct text){0};
}
