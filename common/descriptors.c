#include "common/descriptors.h"

#include "common/log.h"

#include <sys/resource.h>

uint64_t descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return 0;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) ? before : limit.rlim_max;
}

unsigned descriptors_fit(const char *option, unsigned wanted, unsigned others)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= (rlim_t)wanted + others)
        return wanted;
    unsigned fits = limit.rlim_cur > others ? (unsigned)limit.rlim_cur - others : 1;
    log_line(LOG_WARN, "the limit of open files has no room for all connections",
             json_pack("{s:s, s:I, s:i, s:i}", "option", option, "open_files",
                       (json_int_t)limit.rlim_cur, "wanted", (int)wanted, "taken", (int)fits));
    return fits;
}
