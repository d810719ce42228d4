#include "common/check.h"
#include "common/options.h"
#include "common/stop.h"
#include "drill/catalogue/catalogue.h"
#include "drill/play/play.h"
#include "drill/report/grade.h"
#include "drill/report/lint.h"
#include "drill/report/postmortem.h"
#include "drill/serve/command.h"

#include <curl/curl.h>
#include <errno.h>
#include <unistd.h>

/* Outlives the command: signal handlers point to it. */
static struct stop stop;

static const char usage[] =
    "usage: drill COMMAND [OPTIONS]\n\n"
    "  serve        runs drills on the lab, for people and their facilitator\n"
    "  play NAME    plays a drill with scripted people, and prints the grade\n"
    "  list [DIR]   the scenarios of DIR (default: experiments) that can be drilled\n"
    "  check [DIR]  refuses what is wrong in DIR, by file, line and key\n"
    "  grade DIR [CATALOGUE]  the grade of the drill whose record is in DIR, as JSON\n"
    "  export DIR   the draft of a postmortem, from the record in a drill's folder\n"
    "  lint FILE [DIR]  what a postmortem lacks, and where it blames; with DIR its times\n"
    "                   are held against the record\n\n"
    "drill serve --help lists its options.\n"
    "exit: 0 done, 1 trouble, 2 usage or a broken file\n";

/* Reads the catalogue; status 2 where a file of it is broken. */
static int show(const char *folder, bool list)
{
    static struct catalogue catalogue;
    bool ok = catalogue_open(&catalogue, folder, stderr);
    for (unsigned i = 0; list && i < catalogue.count; i++)
        printf("%-28s level %u  %s\n", catalogue.scenarios[i]->name,
               catalogue.scenarios[i]->drill.level, catalogue.scenarios[i]->title);
    if (ok && !list && catalogue.broken == 0)
        printf("%u drills are complete\n", catalogue.count);
    bool whole = ok && catalogue.broken == 0;
    catalogue_close(&catalogue);
    return whole ? 0 : 2;
}

static int export(const char *folder)
{
    struct replay replay;
    struct text draft = {0};
    bool ok = replay_open(&replay, folder);
    if (ok)
        postmortem_write(&replay, &draft);
    if (!ok)
        fprintf(stderr, "drill export: %s: there is no record of a drill\n", folder);
    else if (draft.failed || fwrite(draft.data, 1, draft.size_bytes, stdout) != draft.size_bytes)
        ok = false;
    replay_close(&replay);
    text_clear(&draft);
    return ok && fflush(stdout) == 0 ? 0 : 1;
}

static int grade(const char *folder, const char *catalogue_folder)
{
    static struct catalogue catalogue;
    struct replay replay;
    json_t *result = NULL;
    bool ok = replay_open(&replay, folder);
    if (!ok)
        fprintf(stderr, "drill grade: %s: there is no record of a drill\n", folder);
    ok = ok && catalogue_open(&catalogue, catalogue_folder, stderr);
    const char *name = json_string_value(json_object_get(replay.start, "scenario"));
    const struct scenario *scenario = ok && name ? catalogue_find(&catalogue, name) : NULL;
    if (ok && !scenario)
        fprintf(stderr, "drill grade: the scenario '%.60s' is not in %s\n", name ? name : "",
                catalogue_folder);
    if (scenario) {
        struct grade grade = grade_drill(&replay, &scenario->drill);
        result = grade_json(&grade);
        json_dumpf(result, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(4));
        putchar('\n');
    }
    json_decref(result);
    replay_close(&replay);
    catalogue_close(&catalogue);
    return scenario ? 0 : 1;
}

/* All of a file; NULL with errno. The caller frees it. */
static char *read_file(const char *path)
{
    char *text = NULL;
    size_t capacity = 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    ssize_t length = getdelim(&text, &capacity, '\0', file);
    bool failed = ferror(file) != 0;
    fclose(file);
    if (failed) {
        free(text);
        return NULL;
    }
    return length < 0 ? strdup("") : text;
}

/* Status 1 for errors; warnings are for people to think about. */
static int lint(const char *path, const char *folder)
{
    struct replay replay = {0};
    char *text = read_file(path);
    if (!text) {
        fprintf(stderr, "drill lint: %s: %s\n", path, strerror(errno));
        return 2;
    }
    if (folder && !replay_open(&replay, folder)) {
        fprintf(stderr, "drill lint: %s: there is no record of a drill\n", folder);
        replay_close(&replay);
        free(text);
        return 2;
    }
    struct lint_result result = lint_postmortem(text, path, folder ? &replay : NULL, stdout);
    printf("%u errors, %u warnings\n", result.errors, result.warnings);
    replay_close(&replay);
    free(text);
    return result.errors > 0;
}

static int dispatch(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    bool list = strcmp(command, "list") == 0;
    if (strcmp(command, "serve") == 0)
        return serve_command(argc - 1, argv + 1, &stop);
    if (strcmp(command, "play") == 0)
        return play_command(argc - 1, argv + 1, &stop);
    if ((list || strcmp(command, "check") == 0) && argc <= 3)
        return show(argc > 2 ? argv[2] : "experiments", list);
    if (strcmp(command, "grade") == 0 && (argc == 3 || argc == 4))
        return grade(argv[2], argc == 4 ? argv[3] : "experiments");
    if (strcmp(command, "export") == 0 && argc == 3)
        return export(argv[2]);
    if (strcmp(command, "lint") == 0 && (argc == 3 || argc == 4))
        return lint(argv[2], argc == 4 ? argv[3] : NULL);
    if (strcmp(command, "--version") == 0) {
        printf("drill %s\n", options_version);
        return 0;
    }
    if (strcmp(command, "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    fprintf(stderr,
            *command ? "drill: unknown command or arguments: '%s' (see --help)\n"
                     : "drill: a command is missing (see --help)%s\n",
            command);
    return 2;
}

int main(int argc, char **argv)
{
    if (!stop_init(&stop)) {
        perror("drill");
        return 1;
    }
    stop_on_signals(&stop);
    stop_ignore_file_signals();
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int status = dispatch(argc, argv);
    curl_global_cleanup();
    return status;
}
