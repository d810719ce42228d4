#include "loadtest/plan/target.h"

#include "common/check.h"
#include "common/options.h"
#include "common/text.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <strings.h>
#include <unistd.h>

#define SCHEME        "http://"
#define FEED_MARK     "{feed}"
#define DEFAULT_PATH  "/v1/feeds/{feed}"
#define PROBE_TIME_MS 1000

void target_show(const char *url, char *out, size_t size)
{
    char clean[2 * TARGET_URL_SIZE];
    const char *scheme_end = strstr(url, "://");
    const char *authority = scheme_end ? scheme_end + 3 : url;
    const char *login_end = memrchr(authority, '@', strcspn(authority, "/?#"));
    if (login_end)
        snprintf(clean, sizeof clean, "%.*s***%s", (int)(authority - url), url, login_end);
    text_one_line(login_end ? clean : url, out, size);
}

static bool refuse(char *why, size_t why_size, const char *reason)
{
    snprintf(why, why_size, "%s", reason);
    return false;
}

static bool parse_authority(struct target *target, const char *authority, size_t length)
{
    char text[300];
    uint16_t port = 80;
    if (length == 0 || length >= sizeof text || memchr(authority, '{', length))
        return false;
    memcpy(text, authority, length);
    text[length] = '\0';
    const char *bracket = strchr(text, ']');
    if (!strchr(bracket ? bracket : text, ':')) {
        if (length + 4 > sizeof text)
            return false;
        memcpy(text + length, ":80", 4);
    }
    if (!options_split_address(text, target->host, sizeof target->host, &port) || port == 0)
        return false;
    bool is_ipv6 = strchr(target->host, ':');
    snprintf(target->port, sizeof target->port, "%u", (unsigned)port);
    snprintf(target->base, sizeof target->base, SCHEME "%s%s%s:%s", is_ipv6 ? "[" : "",
             target->host, is_ipv6 ? "]" : "", target->port);
    return true;
}

/* N of "items=N" in the query, or 0 for anything but one number of 1..1000. */
static uint32_t parse_items(const char *path)
{
    const char *query = strchr(path, '?');
    for (const char *at = query; at; at = strchr(at + 1, '&')) {
        if (strncmp(at + 1, "items=", 6) != 0)
            continue;
        char *end;
        unsigned long items = strtoul(at + 7, &end, 10);
        bool is_number = at[7] >= '1' && at[7] <= '9' && (*end == '\0' || *end == '&');
        return is_number && items <= 1000 ? (uint32_t)items : 0;
    }
    return 0;
}

static void split_path(struct target *target, const char *path)
{
    const char *mark = strstr(path, FEED_MARK);
    size_t length = mark ? (size_t)(mark - path) : strlen(path);
    target->has_feed = mark != NULL;
    memcpy(target->before, path, length);
    target->before[length] = '\0';
    snprintf(target->after, sizeof target->after, "%s", mark ? mark + strlen(FEED_MARK) : "");
    target->items = parse_items(path);
}

bool target_parse(struct target *target, const char *url, char *why, size_t why_size)
{
    *target = (struct target){0};
    /* half the room: base and path of the longest URL still fit where both are joined */
    if (strlen(url) >= TARGET_URL_SIZE / 2)
        return refuse(why, why_size, "is longer than 511 bytes");
    for (const char *at = url; *at; at++)
        if (*at <= 0x20 || *at >= 0x7f)
            return refuse(why, why_size, "has a space or a byte that is not ASCII");
    if (strncasecmp(url, SCHEME, strlen(SCHEME)) != 0)
        return refuse(why, why_size, "does not start with http://");
    if (strchr(url, '#'))
        return refuse(why, why_size, "has a fragment (#...), which no server gets to see");
    const char *authority = url + strlen(SCHEME);
    size_t length = strcspn(authority, "/?");
    const char *path = authority + length;
    if (memchr(authority, '@', length))
        return refuse(why, why_size, "has a user name or a password, which are not sent");
    if (!parse_authority(target, authority, length))
        return refuse(why, why_size, "is not http://HOST[:PORT 1..65535][/PATH]");
    if (*path == '?')
        return refuse(why, why_size, "has a query but no path");
    if (*path == '\0')
        path = DEFAULT_PATH;
    const char *mark = strstr(path, FEED_MARK);
    if (mark && strstr(mark + 1, FEED_MARK))
        return refuse(why, why_size, "has {feed} twice");
    split_path(target, path);
    snprintf(target->url, sizeof target->url, SCHEME "%.*s%s", (int)length, authority, path);
    return true;
}

/* Appends the parameters of a query, each with its '?' or '&', but for the number of items. */
static void add_other_parameters(struct text *out, const char *query)
{
    bool is_first = true;
    while (*query) {
        size_t length = strcspn(query + 1, "&");
        if (strncmp(query + 1, "items=", 6) != 0) {
            text_add(out, is_first ? "?" : "&");
            text_append(out, query + 1, length);
            is_first = false;
        }
        query += 1 + length;
    }
}

bool target_set_items(struct target *target, uint32_t items)
{
    struct text url = {0};
    const char *query = strchrnul(target->url, '?');
    text_append(&url, target->url, (size_t)(query - target->url));
    add_other_parameters(&url, query);
    bool has_query = url.data && strchr(url.data, '?');
    text_addf(&url, "%citems=%u", has_query ? '&' : '?', (unsigned)items);
    bool fits = !url.failed && url.size_bytes < TARGET_URL_SIZE / 2;
    if (fits) {
        snprintf(target->url, sizeof target->url, "%s", url.data);
        const char *authority = target->url + strlen(SCHEME);
        split_path(target, authority + strcspn(authority, "/?"));
    }
    text_clear(&url);
    return fits;
}

static bool accepts_connection(const struct sockaddr *address, socklen_t size_bytes)
{
    bool accepted = false;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    int failed = connect(fd, address, size_bytes);
    if (!failed) {
        accepted = true;
    } else if (errno == EINPROGRESS) {
        struct pollfd watched = {.fd = fd, .events = POLLOUT};
        int error = 0;
        socklen_t size = sizeof error;
        accepted = poll(&watched, 1, PROBE_TIME_MS) == 1 &&
                   getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
    }
    close(fd);
    return accepted;
}

static void add_address(struct target *target, const struct addrinfo *found)
{
    if (target->address_count == TARGET_ADDRESSES_MAX)
        return;
    struct target_address *address = &target->addresses[target->address_count++];
    assert(found->ai_addrlen <= sizeof address->socket);
    memcpy(&address->socket, found->ai_addr, found->ai_addrlen);
    address->size_bytes = found->ai_addrlen;
}

bool target_resolve(struct target *target, char *why, size_t why_size)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(target->host, target->port, &hints, &found);
    if (failed) {
        snprintf(why, why_size, "cannot find the host '%s': %s", target->host,
                 failed == EAI_SYSTEM ? strerrordesc_np(errno) : gai_strerror(failed));
        return false;
    }
    const struct addrinfo *preferred = found;
    if (found->ai_next)
        for (const struct addrinfo *at = found; at; at = at->ai_next)
            if (accepts_connection(at->ai_addr, at->ai_addrlen)) {
                preferred = at;
                break;
            }
    target->address_count = 0;
    add_address(target, preferred);
    for (const struct addrinfo *at = found; at; at = at->ai_next)
        if (at != preferred)
            add_address(target, at);
    freeaddrinfo(found);
    return true;
}

bool target_accepts(const struct target *target)
{
    for (unsigned i = 0; i < target->address_count; i++)
        if (accepts_connection((const struct sockaddr *)&target->addresses[i].socket,
                               target->addresses[i].size_bytes))
            return true;
    return false;
}

size_t target_write_request(const struct target *target, uint32_t feed_id,
                            char out[TARGET_REQUEST_SIZE])
{
    char feed[12] = "";
    if (target->has_feed)
        snprintf(feed, sizeof feed, "%u", (unsigned)feed_id);
    int size = snprintf(out, TARGET_REQUEST_SIZE,
                        "GET %s%s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: flashover-loadtest/%s\r\n"
                        "Accept: application/json\r\n\r\n",
                        target->before, feed, target->after, target->base + strlen(SCHEME),
                        options_version);
    assert(size > 0 && size < TARGET_REQUEST_SIZE);
    return (size_t)size;
}
