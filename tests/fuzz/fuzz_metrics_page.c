/*
 * The load tester's reading of the service's /metrics. Input: the page.
 */
#include "common/client/service_sample.h"

#include "common/text.h"
#include "tests/fuzz/input.h"

#include <math.h>

/* A sample has only doubles. NAN stands for a value that the page does not have. */
static bool same(const struct service_sample *left, const struct service_sample *right)
{
    const double *a = (const double *)left;
    const double *b = (const double *)right;
    for (size_t i = 0; i < sizeof *left / sizeof *a; i++)
        if (a[i] != b[i] && !(isnan(a[i]) && isnan(b[i])))
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct fuzz_input input = {data, size_bytes};
    struct service_sample sample;
    struct service_sample more;
    struct text longer = {0};
    char *page = fuzz_string(&input);
    service_sample_parse(&sample, page);
    /* lines that cannot be read change nothing; the newline ends a page that is cut in a line */
    text_add(&longer, "# HELP x\n\nx\n{} 1\ny{\n");
    text_add(&longer, page);
    text_add(&longer, "\nx{a=\"b\"}\n");
    assert(!longer.failed);
    service_sample_parse(&more, longer.data);
    assert(same(&sample, &more));
    text_clear(&longer);
    free(page);
    return 0;
}
