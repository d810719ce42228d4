/* cmap_runner: executes files in cmap-format against the pool. See README.md beside this. */
#include "common/check.h"
#include "common/clock.h"
#include "common/options.h"
#include "tests/cmap/run_file.h"

#include <dirent.h>
#include <sys/stat.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct tally {
    unsigned passed, failed;
};

static int is_json(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return entry->d_name[0] != '.' && dot && strcmp(dot, ".json") == 0;
}

static void count(const char *path, const struct cmap_settings *settings, struct tally *tally)
{
    *(cmap_run_file(path, settings) ? &tally->passed : &tally->failed) += 1;
}

/* Runs a file, or the *.json of a folder by name. False when there is nothing to run. */
static bool run_path(const char *path, const struct cmap_settings *settings, struct tally *tally)
{
    struct stat status;
    struct dirent **entries;
    if (stat(path, &status) != 0)
        return false;
    if (!S_ISDIR(status.st_mode)) {
        count(path, settings, tally);
        return true;
    }
    int found = scandir(path, &entries, is_json, alphasort);
    for (int i = 0; i < found; i++) {
        char *file;
        int length = asprintf(&file, "%s/%s", path, entries[i]->d_name);
        assert(length > 0);
        count(file, settings, tally);
        free(file);
        free(entries[i]);
    }
    if (found >= 0)
        free(entries);
    return found > 0;
}

static int usage(const char *what)
{
    fprintf(stderr, "cmap_runner: %s; --help lists the options\n", what);
    return EXIT_USAGE;
}

static int run(char **paths, int path_count, const struct cmap_settings *settings)
{
    struct tally tally = {0};
    for (int i = 0; i < path_count; i++)
        if (!run_path(paths[i], settings, &tally)) {
            fprintf(stderr, "cmap_runner: there is no file in cmap-format at %s\n", paths[i]);
            return EXIT_USAGE;
        }
    printf("%u passed, %u failed\n", tally.passed, tally.failed);
    return tally.failed ? EXIT_FAILED : 0;
}

int main(int argc, char **argv)
{
    const char *connector = NULL;
    const char *fail_point = NULL;
    const char *conninfo = NULL;
    double patience_s = 0;
    struct option table[] = {
        {.name = "connector",
         .kind = OPTION_CHOICE,
         .value = &connector,
         .fallback = "stub",
         .choices = "stub|postgres",
         .argument = "WHAT",
         .help = "what the pool connects to"},
        {.name = "database-url",
         .kind = OPTION_TEXT,
         .value = &conninfo,
         .argument = "URL",
         .help = "the PostgreSQL of --connector postgres"},
        {.name = "failpoint",
         .kind = OPTION_CHOICE,
         .value = &fail_point,
         .fallback = "internal",
         .choices = "internal|external",
         .argument = "WHERE",
         .help = "external: a proxy in front of the server sees to blockTimeMS"},
        {.name = "patience",
         .kind = OPTION_DURATION,
         .value = &patience_s,
         .fallback = "60",
         .min = 0.1,
         .max = 3600,
         .argument = "TIME",
         .help = "a file that takes longer hangs, and fails"},
    };
    struct options_program program = {
        .name = "build/tests/cmap_runner",
        .usage = "usage: cmap_runner [OPTIONS] DIR|FILE...\n\n"
                 "Executes files in cmap-format against the pool, those of a DIR by name.\n",
        .table = table,
        .count = sizeof table / sizeof *table};
    int path_count = 0;
    switch (options_parse(&program, argc, argv, &path_count, stdout, stderr)) {
    case OPTIONS_EXIT_OK:
        return 0;
    case OPTIONS_EXIT_USAGE:
        return EXIT_USAGE;
    case OPTIONS_RUN:
        break;
    }
    bool is_postgres = strcmp(connector, "postgres") == 0;
    if (path_count == 0)
        return usage("no file is named");
    if (is_postgres && !conninfo)
        return usage("--connector postgres needs FLASHOVER_DATABASE_URL");
    struct cmap_settings settings = {.conninfo = is_postgres ? conninfo : NULL,
                                     .external_delays = strcmp(fail_point, "external") == 0,
                                     .patience_ns = (int64_t)(patience_s * (double)CLOCK_NS_PER_S)};
    return run(argv + 1, path_count, &settings);
}
