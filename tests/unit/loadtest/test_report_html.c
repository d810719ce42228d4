/* The HTML report as text: every mark is filled in, and a run's JSON cannot break out of its place.
 * tests/integration/test_loadtest_report.py tests the report in a browser. */
#include "tests/support/support.h"

#include <stdlib.h>
#include <unistd.h>

#include "loadtest/base/whole_file.h"
#include "loadtest/report/report_html.h"

#define EVIL "</script><script>alert(1)</script><!--\xe2\x80\xa8 \xe6\xb1\xa0 \xf0\x9f\x94\xa5"

static char *between(const char *text, const char *before, const char *after)
{
    const char *begin = strstr(text, before);
    assert_non_null(begin);
    begin += strlen(before);
    const char *end = strstr(begin, after);
    assert_non_null(end);
    return strndup(begin, (size_t)(end - begin));
}

static void test_json_comes_back_as_it_was(void **state)
{
    (void)state;
    struct text page = {0};
    json_t *run = json_pack("{s:s, s:[s], s:f}", EVIL, EVIL, "messages", EVIL, "value", 0.25);
    assert_non_null(run);
    report_html_write(&page, run);
    assert_false(page.failed);
    char *json =
        between(page.data, "<script type=\"application/json\" id=\"result\">", "</script>");
    assert_null(strchr(json, '<'));
    json_t *read = json_loads(json, 0, NULL);
    assert_true(json_equal(read, run));
    assert_string_equal(json_string_value(json_array_get(json_object_get(read, "messages"), 0)),
                        EVIL);
    json_decref(read);
    json_decref(run);
    free(json);
    text_clear(&page);
}

static void test_every_mark_is_filled(void **state)
{
    (void)state;
    struct text page = {0};
    json_t *run = json_object();
    report_html_write(&page, run);
    assert_non_null(strstr(page.data, "Chart.js v"));
    static const char *const marks[] = {"{{style}}",  "{{chart}}", "{{charts}}",
                                        "{{script}}", "{{run}}",   "{{outcomes}}"};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        assert_null(strstr(page.data, marks[i]));
    assert_non_null(strstr(page.data, "[[\"ok\",\"ok\",true],[\"wrong\","));
    assert_non_null(strstr(page.data, "[\"dropped\",\"dropped\",false]]"));
    assert_int_equal(strlen(page.data), page.size_bytes);
    assert_string_equal(page.data + page.size_bytes - strlen("</html>\n"), "</html>\n");
    json_decref(run);
    text_clear(&page);
}

static void test_a_file_is_whole_or_as_it_was(void **state)
{
    (void)state;
    char folder[] = "/tmp/flashover-whole-XXXXXX";
    char path[64];
    char why[512];
    char content[16] = "";
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    assert_true(whole_file_write(path, 0644, "one", 3, why, sizeof why));
    assert_true(whole_file_write(path, 0644, "two!", 4, why, sizeof why));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fread(content, 1, sizeof content - 1, file), 4);
    fclose(file);
    assert_string_equal(content, "two!");
    unlink(path);
    snprintf(path, sizeof path, "%s/none/file", folder);
    assert_false(whole_file_write(path, 0644, "x", 1, why, sizeof why));
    assert_non_null(strstr(why, "No such file or directory"));
    /* A folder has this name, so the temporary file is written and must be removed again. */
    assert_false(whole_file_write(folder, 0644, "x", 1, why, sizeof why));
    assert_int_equal(rmdir(folder), 0);
    static char long_path[5000];
    memset(long_path, 'x', sizeof long_path - 1);
    assert_false(whole_file_write(long_path, 0644, "x", 1, why, sizeof why));
    assert_non_null(strstr(why, "File name too long"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_comes_back_as_it_was),
        cmocka_unit_test(test_every_mark_is_filled),
        cmocka_unit_test(test_a_file_is_whole_or_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
