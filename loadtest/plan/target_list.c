#include "loadtest/plan/target_list.h"

#include "common/check.h"

#include <strings.h>

bool target_list_add(struct target_list *list, const char *text, char *why, size_t why_size)
{
    struct target target;
    char url[TARGET_URL_SIZE];
    char reason[256];
    bool is_url = strstr(text, "://");
    if (list->count == OPTION_LIST_MAX) {
        snprintf(why, why_size, "more than %d targets", OPTION_LIST_MAX);
        return false;
    }
    int size = snprintf(url, sizeof url, "%s%s", is_url ? "" : "http://", text);
    if (size >= (int)sizeof url || !target_parse(&target, url, reason, sizeof reason) ||
        (!is_url && strpbrk(text, "/?"))) {
        char shown[129];
        target_show(text, shown, sizeof shown);
        snprintf(why, why_size, "'%s' is neither HOST:PORT nor http://HOST[:PORT]", shown);
        return false;
    }
    memcpy(list->entries[list->count].host, target.host, sizeof target.host);
    memcpy(list->entries[list->count].port, target.port, sizeof target.port);
    list->count++;
    return true;
}

bool target_list_has(const struct target_list *list, const struct target *target)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcasecmp(list->entries[i].host, target->host) == 0 &&
            strcmp(list->entries[i].port, target->port) == 0)
            return true;
    return false;
}

void target_list_describe(const struct target_list *list, char *out, size_t size)
{
    size_t at = 0;
    if (size > 0)
        out[0] = '\0';
    for (size_t i = 0; i < list->count && at < size; i++) {
        bool is_ipv6 = strchr(list->entries[i].host, ':');
        at +=
            (size_t)snprintf(out + at, size - at, "%s%s%s%s:%s", i ? ", " : "", is_ipv6 ? "[" : "",
                             list->entries[i].host, is_ipv6 ? "]" : "", list->entries[i].port);
    }
}
