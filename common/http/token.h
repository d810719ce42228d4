/*
 * Who may use a port. A port with a token, which is kept in a file, takes requests that carry it. A
 * port without one takes requests from this machine. Neither takes what another site's page sends
 * from a browser.
 */
#ifndef FLASHOVER_COMMON_HTTP_TOKEN_H
#define FLASHOVER_COMMON_HTTP_TOKEN_H

#include "common/http/server.h"

#define HTTP_TOKEN_SIZE 256

/* Reads the first line of the file: HTTP_TOKEN_MIN to 255 characters that a header can carry, so
 * printable ASCII without blanks. False with one line in `error` that names the file. Others than
 * the owner and the group can read it: a warning in the log. */
#define HTTP_TOKEN_MIN 6
bool http_token_read(const char *path, char token[HTTP_TOKEN_SIZE], char error[HTTP_ERROR_SIZE]);

/* Whether the value of the header Authorization (NULL: there is none) carries the token. The time
 * it takes does not depend on how much of the token was right. */
bool http_token_matches(const char *token, const char *authorization);

/* Whether two texts are equal. The time it takes depends on the length of `token` alone. */
bool http_token_equals(const char *token, const char *given);

/* What tells who sent a request; a header that is not there is NULL. */
struct http_token_page {
    const char *method, *host, *origin, *fetch_site;
    bool has_token; /* the port asks for one */
    bool by_cookie; /* and has it from a cookie (login.h) */
};

/* Whether a request is free of another site's page. A page that sends requests to another site
 * carries its own Origin; a browser may leave that out, and says "cross-site" or "same-site" in
 * Sec-Fetch-Site: such a request changes nothing (GET and HEAD are what a link sends). A browser
 * adds a cookie to requests of all pages, so what changes something by one needs the Origin. On a
 * port without a token, which is on loopback, Host must be this machine's: a page whose host name
 * was made to point here (DNS rebinding) carries that name. */
bool http_token_is_own_page(const struct http_token_page *page);

#endif
