/*
 * Whose page sent a request, by its headers. What is taken for our own is held against the rule as
 * it is written here: the text of Origin is Host's, with https only where the port has a token, and
 * without one Host is a name of this machine. A change by a cookie has an Origin.
 *
 * Input: a byte of flags (1, 2, 4: Host, Origin, Sec-Fetch-Site are there; 8: the port has a token;
 * 16: the method changes something; 32: the token came by a cookie), then the three, each up to a
 * line feed.
 */
#include "common/http/token.h"

#include "tests/fuzz/input.h"

#include <stdlib.h>

enum { HAS_HOST = 1, HAS_ORIGIN = 2, HAS_SITE = 4, HAS_TOKEN = 8, CHANGES = 16, BY_COOKIE = 32 };

/* The text up to the next line feed, which is taken; cut off in place. */
static char *take_line(char **rest)
{
    char *line = *rest;
    char *end = strchr(line, '\n');
    *rest = end ? end + 1 : line + strlen(line);
    if (end)
        *end = '\0';
    return line;
}

/* Begins with a name or an address that is this machine's, and a port at most follows. */
static bool is_local(const char *host)
{
    static const char *const names[] = {"localhost", "[::1]", "::1"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t size = strlen(names[i]);
        if (strncmp(host, names[i], size) == 0 && (host[size] == '\0' || host[size] == ':'))
            return true;
    }
    size_t size = strspn(host, "0123456789.");
    return strncmp(host, "127.", 4) == 0 && (host[size] == '\0' || host[size] == ':');
}

static bool is_origin(const struct http_token_page *page, const char *scheme)
{
    size_t size = strlen(scheme);
    return page->host && strncmp(page->origin, scheme, size) == 0 &&
           strcmp(page->origin + size, page->host) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct fuzz_input input = {data, size_bytes};
    unsigned flags = fuzz_byte(&input);
    char *text = fuzz_string(&input);
    char *rest = text;
    const char *host = take_line(&rest);
    const char *origin = take_line(&rest);
    const char *site = take_line(&rest);
    const struct http_token_page page = {.method = flags & CHANGES ? "PATCH" : "GET",
                                         .host = flags & HAS_HOST ? host : NULL,
                                         .origin = flags & HAS_ORIGIN ? origin : NULL,
                                         .fetch_site = flags & HAS_SITE ? site : NULL,
                                         .has_token = flags & HAS_TOKEN,
                                         .by_cookie = flags & BY_COOKIE};
    if (http_token_is_own_page(&page)) {
        assert(!page.origin || is_origin(&page, "http://") ||
               (page.has_token && is_origin(&page, "https://")));
        assert(!page.fetch_site || !(flags & CHANGES) || strcmp(site, "same-origin") == 0 ||
               strcmp(site, "none") == 0);
        assert(page.has_token || !page.host || is_local(page.host));
        assert(!page.by_cookie || page.origin || !(flags & CHANGES));
    }
    free(text);
    return 0;
}
