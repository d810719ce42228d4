#include "loadtest/cli/command.h"

#include "common/check.h"
#include "common/descriptors.h"
#include "common/options.h"
#include "loadtest/base/whole_file.h"
#include "loadtest/engine/load_run.h"
#include "loadtest/judge/verdict.h"
#include "loadtest/report/run_json.h"

bool command_parse(const struct options_program *program, int argc, char **argv,
                   enum exit_code *status)
{
    int positional_count;
    enum options_outcome outcome =
        options_parse(program, argc, argv, &positional_count, stdout, stderr);
    *status = outcome == OPTIONS_EXIT_OK ? EXIT_PASS : EXIT_USAGE;
    if (outcome == OPTIONS_RUN && positional_count == 0)
        return true;
    if (outcome == OPTIONS_RUN)
        fprintf(stderr, "%s: unexpected '%s' (see --help)\n", program->name, argv[1]);
    return false;
}

bool command_try_file(const char *program, const char *option, const char *path)
{
    char why[512];
    if (!path || whole_file_try(path, why, sizeof why))
        return true;
    fprintf(stderr, "%s: %s: %s\n", program, option, why);
    return false;
}

bool command_report(const char *program, struct text *report, const char *json_path, json_t *json)
{
    char why[512];
    fwrite(report->data, 1, report->size_bytes, stdout);
    bool done = !report->failed && fflush(stdout) == 0;
    text_clear(report);
    if (json_path && (!json || !run_json_write_file(json_path, 0644, json, why, sizeof why))) {
        fprintf(stderr, "%s: --json: %s\n", program, json ? why : "out of memory");
        done = false;
    }
    json_decref(json);
    return done;
}

enum exit_code command_plan(const char *program, const struct load_options *options,
                            struct test_plan *plan)
{
    char why[512];
    enum exit_code code = load_options_resolve(options, plan, why, sizeof why);
    if (code != EXIT_PASS) {
        fprintf(stderr, "%s: %s\n", program, why);
        return code;
    }
    uint64_t descriptors = descriptors_raise();
    if (descriptors < plan->load.max_in_flight + 64)
        fprintf(stderr,
                "%s: only %llu descriptors (ulimit -n) for --max-in-flight %llu: requests beyond "
                "will be counted as refused\n",
                program, (unsigned long long)descriptors,
                (unsigned long long)plan->load.max_in_flight);
    return EXIT_PASS;
}
