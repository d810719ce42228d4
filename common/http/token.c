#include "common/http/token.h"

#include "common/check.h"
#include "common/log.h"
#include "common/options.h"

#include <errno.h>
#include <strings.h>
#include <sys/stat.h>

static bool is_read_by_others(FILE *file)
{
    struct stat status;
    return fstat(fileno(file), &status) == 0 && (status.st_mode & S_IROTH);
}

static const char *token_mistake(const char *token)
{
    size_t length = strlen(token);
    if (length == 0)
        return "holds no token";
    for (size_t i = 0; i < length; i++)
        if (token[i] <= ' ' || token[i] > '~')
            return "holds a token with a character that is not printable ASCII, or a blank";
    return length < HTTP_TOKEN_MIN ? "holds a token that is too short" : NULL;
}

bool http_token_read(const char *path, char token[HTTP_TOKEN_SIZE], char error[HTTP_ERROR_SIZE])
{
    char line[HTTP_TOKEN_SIZE + 2] = ""; /* with its end, "\r\n" at most */
    token[0] = '\0';
    FILE *file = fopen(path, "re");
    if (!file) {
        snprintf(error, HTTP_ERROR_SIZE, "cannot read '%s': %s", path, strerrordesc_np(errno));
        return false;
    }
    if (!fgets(line, sizeof line, file))
        line[0] = '\0';
    bool has_readers = is_read_by_others(file);
    fclose(file);
    line[strcspn(line, "\r\n")] = '\0';
    const char *mistake = strlen(line) >= HTTP_TOKEN_SIZE
                              ? "holds a token of more than 255 characters"
                              : token_mistake(line);
    if (mistake) {
        snprintf(error, HTTP_ERROR_SIZE, "'%s' %s", path, mistake);
        return false;
    }
    snprintf(token, HTTP_TOKEN_SIZE, "%s", line);
    if (has_readers)
        log_line(LOG_WARN, "everybody on this machine can read the token",
                 json_pack("{s:s}", "file", path));
    return true;
}

bool http_token_equals(const char *token, const char *given)
{
    if (strlen(given) != strlen(token))
        return false;
    unsigned difference = 0;
    for (size_t i = 0; token[i]; i++)
        difference |= (unsigned)((unsigned char)token[i] ^ (unsigned char)given[i]);
    return difference == 0;
}

bool http_token_matches(const char *token, const char *authorization)
{
    return authorization && strncasecmp(authorization, "Bearer ", 7) == 0 &&
           http_token_equals(token, authorization + 7);
}

static bool is_this_machine(const char *host)
{
    char name[256];
    uint16_t port;
    return options_is_loopback(host) ||
           (options_split_address(host, name, sizeof name, &port) && options_is_loopback(name));
}

static bool changes_nothing(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

/* A proxy may speak TLS for a port that has a token. */
static bool is_origin_of(const char *origin, const char *host, bool maybe_tls)
{
    const char *end = strstr(origin, "://");
    size_t size = end ? (size_t)(end - origin) : 0;
    bool is_http = size == 4 && strncmp(origin, "http", 4) == 0;
    bool is_https = size == 5 && strncmp(origin, "https", 5) == 0;
    return host && (is_http || (is_https && maybe_tls)) && strcmp(end + 3, host) == 0;
}

bool http_token_is_own_page(const struct http_token_page *page)
{
    const char *host = page->host;
    const char *origin = page->origin;
    const char *site = page->fetch_site;
    if (origin && !is_origin_of(origin, host, page->has_token))
        return false;
    if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0 &&
        !changes_nothing(page->method))
        return false;
    if (page->by_cookie && !origin && !changes_nothing(page->method))
        return false;
    return page->has_token || !host || is_this_machine(host);
}
