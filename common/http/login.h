/*
 * How people log in: a browser's form takes the port's token once, and a cookie carries it from
 * then on. Programs send the token in a header (token.h).
 *
 * The cookie lasts as long as the browser (no Max-Age), no script can read it (HttpOnly), and no
 * other site's page makes the browser send it (SameSite=Strict): RFC 6265 and its successor's
 * draft, "Cookies: HTTP State Management Mechanism". A browser sends a cookie to every port of a
 * host, so its name has the port that the browser knows. It does not end with the process: who
 * reloads a page after a crash is still in.
 */
#ifndef FLASHOVER_COMMON_HTTP_LOGIN_H
#define FLASHOVER_COMMON_HTTP_LOGIN_H

#include "common/http/server.h"

/* The path of the form, which asks for no token: a route of each server that people log in to. */
#define HTTP_LOGIN_PATH "/login"

struct http_login {
    const char *title; /* of the form: which program asks; text without <, > and & */
    const char *token; /* what the form asks for; NULL: nothing, all are in */
    uint16_t port;     /* the server's, host byte order: for a Host without one */
};

/* Whether the request carries the cookie that http_login_enter() gave. Takes the same time whatever
 * the cookie holds. */
bool http_login_is_in(const struct http_login *login, const struct http_request *request);

/* Whether a browser asks for a page: then a form helps more than an error in JSON. */
bool http_login_wants_page(const struct http_request *request);

/* Makes the response the form, with this status. */
void http_login_form(const struct http_login *login, struct http_response *response, int status);

/* Answers the form that a browser sent. The right token: the cookie, and 303 to the page where the
 * form stood. Another one: 401, and the form again. */
void http_login_enter(const struct http_login *login, const struct http_request *request,
                      struct http_response *response);

#endif
