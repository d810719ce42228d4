#include "service/toggles/stored_value.h"

#include "common/log.h"
#include "common/text.h"

/* At most this much of a stored name or value is written. */
#define SHOWN_BYTES 40

const char *const value_origin_names[] = {"default", "option", "database"};

void stored_value_warn(const char *message, const char *kind, const char *name, const char *value,
                       const char *allowed)
{
    static struct log_limit limit;
    char shown_name[SHOWN_BYTES + 1];
    char shown_value[SHOWN_BYTES + 1];
    text_one_line(name, shown_name, sizeof shown_name);
    text_one_line(value, shown_value, sizeof shown_value);
    log_line_limited(
        &limit, LOG_WARN, message,
        json_pack("{s:s, s:s, s:s*}", kind, shown_name, "value", shown_value, "choices", allowed));
}
