#include "loadtest/plan/prediction.h"

#include <math.h>

struct prediction prediction_compute(const struct prediction_input *input)
{
    double hold_s = input->hold_s;
    double queries = input->per_item ? input->items + 1 : 1;
    double capacity = input->pool_size / (queries * hold_s);
    double rounds = input->per_item ? ceil(input->items / input->pool_size) : 0;
    double offered = input->rate_per_s;
    double first = INFINITY;
    if (isnan(capacity))
        first = NAN;
    else if (offered > capacity)
        first = input->request_timeout_s * offered / (offered - capacity);
    return (struct prediction){.capacity_per_s = capacity,
                               .alone_s = hold_s + rounds * hold_s,
                               .first_timeout_s = first,
                               .by_processors_per_s = input->processors / input->processor_s};
}
