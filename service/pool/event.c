#include "service/pool/event.h"

#include "common/check.h"

const char *db_pool_event_name(enum db_pool_event_type type)
{
    static const char *const names[DB_POOL_EVENT_TYPES] = {
        [POOL_CREATED] = "ConnectionPoolCreated",
        [POOL_READY] = "ConnectionPoolReady",
        [POOL_CLEARED] = "ConnectionPoolCleared",
        [POOL_CLOSED] = "ConnectionPoolClosed",
        [CONNECTION_CREATED] = "ConnectionCreated",
        [CONNECTION_READY] = "ConnectionReady",
        [CONNECTION_CLOSED] = "ConnectionClosed",
        [CHECK_OUT_STARTED] = "ConnectionCheckOutStarted",
        [CHECK_OUT_FAILED] = "ConnectionCheckOutFailed",
        [CHECKED_OUT] = "ConnectionCheckedOut",
        [CHECKED_IN] = "ConnectionCheckedIn",
    };
    assert(type < DB_POOL_EVENT_TYPES);
    return names[type];
}

const char *db_pool_reason_name(enum db_pool_reason reason)
{
    static const char *const names[DB_POOL_REASONS] = {
        [REASON_NONE] = "",
        [CLOSED_STALE] = "stale",
        [CLOSED_IDLE] = "idle",
        [CLOSED_ERROR] = "error",
        [CLOSED_POOL_CLOSED] = "poolClosed",
        [CLOSED_LIFETIME] = "lifetime",
        [FAILED_POOL_CLOSED] = "poolClosed",
        [FAILED_TIMEOUT] = "timeout",
        [FAILED_CONNECTION_ERROR] = "connectionError",
        [FAILED_QUEUE_FULL] = "queueFull",
        [FAILED_NESTED] = "nestedCheckout",
        [FAILED_CALLED_OFF] = "calledOff",
    };
    assert(reason < DB_POOL_REASONS);
    return names[reason];
}
