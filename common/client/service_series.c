#include "common/client/service_series.h"

#include "common/check.h"

static void thin_out(struct service_series *series)
{
    for (size_t i = 0; 2 * i < series->count; i++)
        series->points[i] = series->points[2 * i];
    series->count = (series->count + 1) / 2;
}

void service_series_add(struct service_series *series, const struct service_point *point)
{
    if (series->stride == 0)
        series->stride = 1;
    if (++series->skipped < series->stride)
        return;
    series->skipped = 0;
    if (series->count == SERVICE_SERIES_MAX) {
        thin_out(series);
        series->stride *= 2;
    }
    series->points[series->count++] = *point;
}
