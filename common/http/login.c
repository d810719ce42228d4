#include "common/http/login.h"

#include "common/check.h"
#include "common/http/token.h"

#include <ctype.h>
#include <microhttpd.h>

/* Two hexadecimal digits for each character of the token: a cookie takes no ';', ',' or '"'. */
#define VALUE_SIZE (2 * HTTP_TOKEN_SIZE)
#define NAME_SIZE  32
#define FIELD      "token="

static const char *header(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

/* By the port that the browser knows, in the header Host: a container's port is published as
 * another. */
static void write_name(const struct http_login *login, const struct http_request *request,
                       char name[NAME_SIZE])
{
    const char *host = header(request, MHD_HTTP_HEADER_HOST);
    const char *colon = host ? strrchr(host, ':') : NULL;
    size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
    if (digits > 0 && digits <= 5 && colon[1 + digits] == '\0')
        snprintf(name, NAME_SIZE, "flashover_%s", colon + 1);
    else
        snprintf(name, NAME_SIZE, "flashover_%u", (unsigned)login->port);
}

static void write_value(const struct http_login *login, char value[VALUE_SIZE])
{
    assert(login->token && strlen(login->token) < HTTP_TOKEN_SIZE);
    value[0] = '\0';
    for (size_t i = 0; login->token[i]; i++)
        snprintf(value + 2 * i, 3, "%02x", (unsigned)(unsigned char)login->token[i]);
}

bool http_login_is_in(const struct http_login *login, const struct http_request *request)
{
    char name[NAME_SIZE];
    char value[VALUE_SIZE];
    if (!login->token)
        return true;
    write_name(login, request, name);
    write_value(login, value);
    const char *given = MHD_lookup_connection_value(request->connection, MHD_COOKIE_KIND, name);
    return given && http_token_equals(value, given);
}

bool http_login_wants_page(const struct http_request *request)
{
    const char *accept = header(request, MHD_HTTP_HEADER_ACCEPT);
    bool is_get = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
    return is_get && accept && strstr(accept, "text/html");
}

static void write_form(const struct http_login *login, struct http_response *response, int status,
                       const char *problem)
{
    text_clear(&response->body);
    response->status = status;
    response->content_type = "text/html; charset=utf-8";
    text_addf(&response->body,
              "<!doctype html>\n"
              "<html lang=\"en\">\n"
              "<meta charset=\"utf-8\">\n"
              "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
              "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
              "img-src data:; style-src 'unsafe-inline'; form-action 'self'\">\n"
              "<link rel=\"icon\" href=\"data:,\">\n"
              "<title>%s: log in</title>\n"
              "<style>\n"
              ":root { color-scheme: light dark; --bad: light-dark(#b3261e, #ff8a80); }\n"
              "body { font: 16px/1.5 system-ui, sans-serif; max-width: 26rem; margin: 4rem auto; "
              "padding: 0 1rem; }\n"
              "h1 { font-size: 1.4rem; }\n"
              "label { display: grid; margin-bottom: .8rem; }\n"
              "input, button { font: inherit; padding: .3rem .5rem; }\n"
              "#problem { color: var(--bad); font-weight: 600; }\n"
              "</style>\n"
              "<h1>%s</h1>\n"
              "<form method=\"post\" action=\"" HTTP_LOGIN_PATH "\">\n"
              "<label>Token <input name=\"token\" type=\"password\" "
              "autocomplete=\"current-password\" required autofocus></label>\n"
              "<button type=\"submit\">Log in</button>\n"
              "</form>\n"
              "<p id=\"problem\" role=\"alert\">%s</p>\n",
              login->title, login->title, problem);
}

static void send_to(struct http_response *response, const char *path, size_t size)
{
    response->status = MHD_HTTP_SEE_OTHER;
    response->content_type = "text/html; charset=utf-8";
    if (size > 0 && size < sizeof response->location)
        snprintf(response->location, sizeof response->location, "%.*s", (int)size, path);
    else
        snprintf(response->location, sizeof response->location, "/");
}

void http_login_form(const struct http_login *login, struct http_response *response, int status)
{
    if (login->token)
        write_form(login, response, status, "");
    else
        send_to(response, "/", 1);
}

/* The path of the page that sent the form, which is in the header Referer, if it is one of ours.
 * "//HOST" would be another one's. */
static const char *page_before(const struct http_request *request)
{
    const char *referer = header(request, MHD_HTTP_HEADER_REFERER);
    const char *host = header(request, MHD_HTTP_HEADER_HOST);
    const char *rest = referer ? strstr(referer, "://") : NULL;
    if (!rest || !host || strncmp(rest + 3, host, strlen(host)) != 0)
        return "/";
    const char *path = rest + 3 + strlen(host);
    bool is_ours = path[0] == '/' && path[1] != '/' && path[1] != '\\';
    return is_ours && strncmp(path, HTTP_LOGIN_PATH, strlen(HTTP_LOGIN_PATH)) != 0 ? path : "/";
}

static int digit_of(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* Decodes the field `token` of a form (application/x-www-form-urlencoded). False: there is none, or
 * it is too long for a token. */
static bool read_field(const struct http_request *request, char token[HTTP_TOKEN_SIZE])
{
    const char *body = request->body;
    size_t size = 0;
    if (strlen(body) != request->body_size_bytes || strncmp(body, FIELD, strlen(FIELD)) != 0)
        return false;
    for (const char *at = body + strlen(FIELD); *at && *at != '&'; at++) {
        char c = *at == '+' ? ' ' : *at;
        if (c == '%' && isxdigit((unsigned char)at[1]) && isxdigit((unsigned char)at[2])) {
            c = (char)(digit_of(at[1]) * 16 + digit_of(at[2]));
            at += 2;
        }
        if (size == HTTP_TOKEN_SIZE - 1 || c == '\0')
            return false;
        token[size++] = c;
    }
    token[size] = '\0';
    return true;
}

void http_login_enter(const struct http_login *login, const struct http_request *request,
                      struct http_response *response)
{
    char token[HTTP_TOKEN_SIZE];
    char name[NAME_SIZE];
    char value[VALUE_SIZE];
    if (login->token && (!read_field(request, token) || !http_token_equals(login->token, token))) {
        write_form(login, response, MHD_HTTP_UNAUTHORIZED, "That is not the token of this port.");
        return;
    }
    if (login->token) {
        write_name(login, request, name);
        write_value(login, value);
        text_addf(&response->cookie, "%s=%s; Path=/; HttpOnly; SameSite=Strict", name, value);
    }
    const char *path = page_before(request);
    send_to(response, path, strcspn(path, "#"));
}
