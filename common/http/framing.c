#include "common/http/framing.h"

#include <ctype.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

struct framing {
    unsigned hosts, lengths, encodings;
    bool has_bad_name, has_folded_line, has_bad_length, has_bad_encoding;
};

/* RFC 9110, section 5.6.2: tchar. */
static bool is_token(const char *text)
{
    const char *at = text;
    while (isalnum((unsigned char)*at) || (*at && strchr("!#$%&'*+-.^_`|~", *at)))
        at++;
    return at > text && *at == '\0';
}

static bool is_number(const char *text)
{
    return *text && text[strspn(text, "0123456789")] == '\0';
}

/* libmicrohttpd 0.9.75 puts a folded line behind the header's name, not behind its value, and so
 * reads no body where the line of a length or an encoding is folded. */
static bool is_folded(const char *name, const char *header)
{
    return strlen(name) > strlen(header) && strncasecmp(name, header, strlen(header)) == 0;
}

static enum MHD_Result visit(void *cls, enum MHD_ValueKind kind, const char *name,
                             const char *value)
{
    struct framing *framing = cls;
    (void)kind;
    framing->has_bad_name |= !is_token(name);
    framing->has_folded_line |= is_folded(name, MHD_HTTP_HEADER_CONTENT_LENGTH) ||
                                is_folded(name, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    if (strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0) {
        framing->hosts++;
    } else if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0) {
        framing->lengths++;
        framing->has_bad_length |= !value || !is_number(value);
    } else if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
        framing->encodings++;
        framing->has_bad_encoding |= !value || strcasecmp(value, "chunked") != 0;
    }
    return MHD_YES;
}

const char *http_framing_mistake(struct MHD_Connection *connection, const char *version)
{
    struct framing framing = {0};
    MHD_get_connection_values(connection, MHD_HEADER_KIND, visit, &framing);
    if (framing.has_bad_name)
        return "a header's name is not a token";
    if (framing.has_folded_line)
        return "the line of Content-Length or Transfer-Encoding is folded";
    if (framing.hosts > 1 || (framing.hosts == 0 && strcmp(version, "HTTP/1.0") != 0))
        return "exactly one header Host is needed";
    if (framing.lengths > 1 || framing.has_bad_length)
        return "Content-Length must be given at most once, as a number";
    if (framing.encodings > 1 || framing.has_bad_encoding)
        return "Transfer-Encoding must be given at most once, as 'chunked'";
    if (framing.encodings > 0 && strcmp(version, "HTTP/1.0") == 0)
        return "Transfer-Encoding needs HTTP/1.1";
    if (framing.lengths > 0 && framing.encodings > 0)
        return "Content-Length and Transfer-Encoding exclude each other";
    return NULL;
}
