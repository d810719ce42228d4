/*
 * The service's figures over time, one point a look. Bounded: when it is full, every second point
 * goes, and from then on only every second look is kept, and so on.
 */
#ifndef FLASHOVER_COMMON_CLIENT_SERVICE_SERIES_H
#define FLASHOVER_COMMON_CLIENT_SERVICE_SERIES_H

#include "common/client/service_sample.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERVICE_SERIES_MAX 1024

struct service_point {
    int64_t at_ns;     /* monotonic */
    bool is_up;        /* false: the look failed, and the sample is not valid */
    unsigned restarts; /* seen until then */
    struct service_sample sample;
};

struct service_series {
    struct service_point points[SERVICE_SERIES_MAX];
    size_t count;
    unsigned stride; /* looks a point, a power of two; 0 stands for 1 */
    unsigned skipped;
};

void service_series_add(struct service_series *series, const struct service_point *point);

#endif
