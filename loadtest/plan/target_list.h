/*
 * Where a client's run may be sent to: HOST:PORT as written. A name is not looked up to compare it:
 * 'localhost' and '127.0.0.1' are two entries.
 */
#ifndef FLASHOVER_LOADTEST_PLAN_TARGET_LIST_H
#define FLASHOVER_LOADTEST_PLAN_TARGET_LIST_H

#include "common/options.h"
#include "loadtest/plan/target.h"

struct target_list {
    struct {
        char host[256];
        char port[6];
    } entries[OPTION_LIST_MAX];
    size_t count;
};

/* Adds the host and port of "HOST:PORT" or of a URL. False with the reason in `why`. */
bool target_list_add(struct target_list *list, const char *text, char *why, size_t why_size)
    __attribute__((warn_unused_result));

/* Whether the target's host (in any case) and port are in the list. */
bool target_list_has(const struct target_list *list, const struct target *target);

/* Writes the entries: "127.0.0.1:8080, [::1]:8080", cut short where there is no room. */
void target_list_describe(const struct target_list *list, char *out, size_t size);

#endif
