#include "service/base/failure.h"

#include "common/check.h"

#include <stdarg.h>

bool failure_set(struct failure *failure, enum failure_kind kind, const char *format, ...)
{
    va_list arguments;
    assert(kind > FAILURE_NONE && kind < FAILURE_KINDS);
    failure->kind = kind;
    failure->sqlstate[0] = '\0';
    va_start(arguments, format);
    vsnprintf(failure->message, sizeof failure->message, format, arguments);
    va_end(arguments);
    return false;
}

const char *failure_name(enum failure_kind kind)
{
    static const char *const names[FAILURE_KINDS] = {
        [FAILURE_NONE] = "none",
        [FAILURE_CHECKOUT_TIMEOUT] = "checkout_timeout",
        [FAILURE_WRITE_DEADLINE] = "write_deadline",
        [FAILURE_READ_DEADLINE] = "read_deadline",
        [FAILURE_REQUEST_DEADLINE] = "request_deadline",
        [FAILURE_LIMIT] = "limit",
        [FAILURE_UNAVAILABLE] = "unavailable",
        [FAILURE_DATABASE] = "database_error",
        [FAILURE_INCOMPLETE] = "incomplete",
        [FAILURE_NOT_FOUND] = "not_found",
        [FAILURE_CALLED_OFF] = "called_off",
    };
    assert(kind < FAILURE_KINDS && names[kind]);
    return names[kind];
}
