/* The drills' files: what is wrong is refused by file, line and key; what is right is read whole.
 */
#include "drill/catalogue/catalogue.h"

#include "tests/support/support.h"

#include <sys/stat.h>
#include <unistd.h>

#define GOOD                                                                                       \
    "title: A title\n"                                                                             \
    "cause: A cause.\n"                                                                            \
    "drill:\n"                                                                                     \
    "  level: 1\n"                                                                                 \
    "  version:\n"                                                                                 \
    "    summary: Less waiting\n"                                                                  \
    "    toggles: {map: unsafe}\n"                                                                 \
    "  trigger:\n"                                                                                 \
    "    every_min_s: 20\n"                                                                        \
    "    every_max_s: 40\n"                                                                        \
    "    steps:\n"                                                                                 \
    "      - sql: {role: nightly, statements: [BEGIN, SELECT 1], hold_s: 3}\n"                     \
    "        after_s: 2\n"                                                                         \
    "  claims: {latent: unsafe-map, trigger: a-deployment, sustains: restarts}\n"                  \
    "  effects:\n"                                                                                 \
    "    repairs: [code-lock]\n"                                                                   \
    "    worse: [pool-x10]\n"                                                                      \
    "  hints: [one, two, three, four]\n"

static const struct house house = {.rate = 20,
                                   .items = 10,
                                   .settings = {{"pool-size", 6}},
                                   .setting_count = 1,
                                   .toggles = {{"map", "mutex"}},
                                   .toggle_count = 1};
static char folder[] = "/tmp/flashover-drill-XXXXXX";
static char path[100];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/a-drill.yaml", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void write_file(const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

/* GOOD with one part, which must be there once, in another form. */
static void write_changed(const char *old, const char *new)
{
    char text[2 * sizeof GOOD];
    const char *at = strstr(GOOD, old);
    assert_non_null(at);
    assert_null(strstr(at + 1, old));
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - GOOD), GOOD, new, at + strlen(old));
    write_file(text);
}

static void test_a_whole_drill(void **state)
{
    struct scenario scenario;
    (void)state;
    write_file(GOOD);
    if (!scenario_open(&scenario, path, &house))
        fail_msg("%s", scenario.file.why);
    const struct scenario_drill *drill = &scenario.drill;
    assert_string_equal(scenario.name, "a-drill");
    assert_string_equal(scenario.title, "A title");
    assert_int_equal(drill->level, 1);
    assert_int_equal(drill->toggle_count, 1);
    assert_string_equal(drill->toggles[0].name, "map");
    assert_string_equal(drill->toggles[0].value, "unsafe");
    assert_string_equal(drill->summary, "Less waiting");
    assert_int_equal(drill->trigger_count, 1);
    assert_int_equal(drill->trigger[0].kind, STEP_SQL);
    assert_int_equal(drill->trigger[0].statement_count, 2);
    assert_string_equal(drill->trigger[0].role, "nightly");
    assert_true(drill->trigger[0].after_s == 2 && drill->trigger[0].hold_s == 3);
    assert_int_equal(drill->claims[CLAIM_SUSTAINS], CLAIM_RESTARTS);
    assert_int_equal(drill->effects[CHANGE_CODE_LOCK], EFFECT_REPAIRS);
    assert_int_equal(drill->effects[CHANGE_POOL_X10], EFFECT_WORSE);
    assert_int_equal(drill->effects[CHANGE_RESTART], EFFECT_NOTHING);
    assert_string_equal(drill->hints[3], "four");
    scenario_close(&scenario);
}

static void test_what_is_wrong_is_refused_by_line_and_key(void **state)
{
    static const struct {
        const char *old, *new, *said;
    } wrong[] = {
        {"title: A title\n", "", "a-drill.yaml:1: the file: title is missing"},
        {"cause: A cause.", "cause: ' '", "a-drill.yaml:2: the file: cause is missing, or no text"},
        {"cause:", "title: x\ncause:", "a-drill.yaml:2: title is there twice, also in line 1"},
        {"level: 1", "level: 4", "a-drill.yaml:4: drill: level must be a number in the range 0..3"},
        {"level: 1", "level: 1.5", "a-drill.yaml:4: drill: level is missing, or no whole number"},
        {"  level: 1\n", "", "a-drill.yaml:4: drill: level is missing"},
        {"level: 1", "levle: 1", "a-drill.yaml:4: drill: unknown key 'levle'"},
        {"drill:", "drlil:", "a-drill.yaml:3: the file: unknown key 'drlil'"},
        {"    summary: Less waiting\n", "", "a-drill.yaml:6: version: summary is missing"},
        {"{map: unsafe}", "map", "a-drill.yaml:7: version: toggles must be a table"},
        {"{map: unsafe}", "{map: ''}", "a-drill.yaml:7: version.toggles: map has no value"},
        {"every_max_s: 40", "every_max_s: 10", "a-drill.yaml:10: trigger: wants every_min_s"},
        {"every_min_s: 20", "every_min_s: x",
         "a-drill.yaml:9: trigger: every_min_s must be a number"},
        {"sql: {role: nightly", "sql: {role: root", "a-drill.yaml:12: sql: role must be one of"},
        {"[BEGIN, SELECT 1]", "[]", "a-drill.yaml:12: statements must be a list of 1 to 6"},
        {"sql:", "sqll:", "a-drill.yaml:12: a step: unknown key 'sqll'"},
        {"        after_s: 2\n", "        load: {items: 3}\n",
         "a-drill.yaml:12: a step wants one of"},
        {"latent: unsafe-map", "latent: restarts",
         "a-drill.yaml:14: claims: latent: there is no claim"},
        {"latent: unsafe-map, ", "", "a-drill.yaml:14: claims: latent is missing"},
        {"[code-lock]", "[code-look]", "a-drill.yaml:16: effects: 'code-look' is no change"},
        {"[pool-x10]", "[code-lock]",
         "a-drill.yaml:17: effects: 'code-lock' is no change, or is there twice"},
        {"    repairs: [code-lock]\n", "", "a-drill.yaml:16: effects: repairs is missing"},
        {"[one, two, three, four]", "[one]", "a-drill.yaml:18: drill: hints must be a list of 4"},
        {"[one, two, three, four]", "[one, two, '', four]",
         "a-drill.yaml:18: hints: a hint must be"},
        {"A title", "&x A title\nknown_from: *x", "a-drill.yaml:2: *x: write it out"},
        {"[one, two, three, four]", "[one", "a-drill.yaml:19: "},
        {"title: A title", "? [a]\n: b", "a-drill.yaml:1: a key must be a text"},
        {"title: A title", "---\ntitle: x\n---\ntitle: y",
         "a-drill.yaml:3: expected a single document"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct scenario scenario;
        write_changed(wrong[i].old, wrong[i].new);
        bool ok = scenario_open(&scenario, path, &house);
        if (ok || strncmp(scenario.file.why, wrong[i].said, strlen(wrong[i].said)) != 0)
            fail_msg("'%s' said: %s", wrong[i].new, ok ? "nothing" : scenario.file.why);
        scenario_close(&scenario);
    }
}

static void test_what_is_no_scenario_at_all(void **state)
{
    static const char *const wrong[] = {"", "just words", "[]", "\xff\xfe\x01", "\t"};
    struct scenario scenario;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        write_file(wrong[i]);
        assert_false(scenario_open(&scenario, path, &house));
        assert_memory_equal(scenario.file.why, "a-drill.yaml:1: ", 16);
        scenario_close(&scenario);
    }
    assert_false(scenario_open(&scenario, "/nowhere/at-all.yaml", &house));
    assert_string_equal(scenario.file.why, "at-all.yaml:1: No such file or directory");
    scenario_close(&scenario);
}

static void test_a_scenario_of_the_proof_alone(void **state)
{
    struct scenario scenario;
    (void)state;
    write_file("title: A title\ncause: A cause.\nload: {rate: 5}\n");
    assert_true(scenario_open(&scenario, path, &house));
    assert_false(scenario.has_drill);
    scenario_close(&scenario);
}

static void test_a_scenario_with_a_house_of_its_own(void **state)
{
    struct scenario scenario;
    (void)state;
    write_changed("  level: 1\n",
                  "  level: 1\n  house:\n    settings: {pool-size: 20, pool-min: 0}\n"
                  "    toggles: {query: batched}\n    role_limit: 100\n");
    if (!scenario_open(&scenario, path, &house))
        fail_msg("%s", scenario.file.why);
    assert_true(scenario.drill.has_house);
    assert_true(house_setting(&scenario.drill.house, "pool-size") == 20);
    assert_int_equal(scenario.drill.house.setting_count, 2);
    assert_int_equal(scenario.drill.house.toggle_count, 2);
    assert_true(scenario.drill.house.rate == 20 && scenario.drill.house.role_limit == 100);
    scenario_close(&scenario);
    write_changed("  level: 1\n", "  level: 1\n  house: {lod: 1}\n");
    assert_false(scenario_open(&scenario, path, &house));
    assert_string_equal(scenario.file.why, "a-drill.yaml:5: house: unknown key 'lod'");
    scenario_close(&scenario);
}

/* A broken file is told, and the others load. */
static void test_a_folder(void **state)
{
    struct catalogue catalogue;
    char sub[120];
    char file[200];
    char *said = NULL;
    size_t size = 0;
    (void)state;
    snprintf(sub, sizeof sub, "%s/scenarios", folder);
    assert_int_equal(mkdir(sub, 0700), 0);
    static const struct {
        const char *name, *text;
    } files[] = {{"house.yaml", "load: {rate: 20, items: 10, timeout_s: 5}\n"
                                "settings: {pool-size: 6}\ntoggles: {map: mutex}\nrole_limit: 8\n"
                                "healthy_s: [120, 240]\nlimit_s: 2400\n"},
                 {"scenarios/good.yaml", GOOD},
                 {"scenarios/other.yaml", "title: x\ncause: y\n"},
                 {"scenarios/bad.yaml", "title: x\ncuase: y\n"}};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(file, sizeof file, "%s/%s", folder, files[i].name);
        FILE *stream = fopen(file, "we");
        assert_non_null(stream);
        fputs(files[i].text, stream);
        assert_int_equal(fclose(stream), 0);
    }
    FILE *err = open_memstream(&said, &size);
    assert_true(catalogue_open(&catalogue, folder, err));
    fclose(err);
    assert_string_equal(said, "drill: bad.yaml:2: the file: unknown key 'cuase'\n");
    free(said);
    assert_int_equal(catalogue.count, 1);
    assert_int_equal(catalogue.broken, 1);
    assert_non_null(catalogue_find(&catalogue, "good"));
    assert_null(catalogue_find(&catalogue, "other"));
    assert_true(house_setting(&catalogue.house, "pool-size") == 6);
    assert_true(house_setting(&catalogue.house, "nothing") == 0);
    catalogue_close(&catalogue);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(file, sizeof file, "%s/%s", folder, files[i].name);
        unlink(file);
    }
    assert_int_equal(rmdir(sub), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_whole_drill),
        cmocka_unit_test(test_what_is_wrong_is_refused_by_line_and_key),
        cmocka_unit_test(test_what_is_no_scenario_at_all),
        cmocka_unit_test(test_a_scenario_of_the_proof_alone),
        cmocka_unit_test(test_a_scenario_with_a_house_of_its_own),
        cmocka_unit_test(test_a_folder),
    };
    return cmocka_run_group_tests_name("scenario", tests, make_folder, remove_folder);
}
