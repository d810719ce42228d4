/* The record: lines come back in order, a torn end is cut off, and a full disk loses nothing that
 * was there. */
#include "drill/record/record.h"

#include "tests/support/support.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

static char parent[] = "/tmp/flashover-record-XXXXXX";
static char folder[100], file[120];

static int make_parent(void **state)
{
    (void)state;
    if (!mkdtemp(parent))
        return -1;
    snprintf(folder, sizeof folder, "%s/a-drill", parent);
    snprintf(file, sizeof file, "%s/record.jsonl", folder);
    return 0;
}

static int remove_all(void **state)
{
    (void)state;
    unlink(file);
    rmdir(folder);
    return 0;
}

static int remove_parent(void **state)
{
    (void)state;
    return rmdir(parent);
}

struct found {
    unsigned count;
    char kinds[200];
};

static bool take(void *context, const json_t *line)
{
    struct found *found = context;
    size_t length = strlen(found->kinds);
    assert_true(json_is_string(json_object_get(line, "at")));
    assert_true(json_is_real(json_object_get(line, "mono_s")));
    snprintf(found->kinds + length, sizeof found->kinds - length, "%s ",
             json_string_value(json_object_get(line, "kind")));
    return ++found->count < 100;
}

static void assert_kinds(const char *kinds, int passed_over)
{
    struct found found = {0};
    assert_int_equal(record_read(folder, take, &found), passed_over);
    assert_string_equal(found.kinds, kinds);
}

static struct record *open_record(void)
{
    char why[200] = "";
    struct record *record = record_open(folder, why, sizeof why);
    if (!record)
        fail_msg("%s", why);
    return record;
}

static void append_raw(const char *text)
{
    FILE *stream = fopen(file, "ae");
    assert_non_null(stream);
    fputs(text, stream);
    assert_int_equal(fclose(stream), 0);
}

static void test_lines_come_back_in_order(void **state)
{
    (void)state;
    struct record *record = open_record();
    assert_true(record_append(record, "row", json_pack("{s:i}", "second", 1), false));
    assert_true(record_append(record, "note", json_pack("{s:s}", "text", "a\nb \xc3\xa9"), true));
    record_close(record);
    record = open_record(); /* goes on */
    assert_true(record_append(record, "end", json_object(), true));
    record_close(record);
    assert_kinds("row note end ", 0);
}

static void test_a_torn_end_is_cut_off(void **state)
{
    (void)state;
    struct record *record = open_record();
    assert_true(record_append(record, "row", json_object(), false));
    record_close(record);
    append_raw("{\"kind\":\"torn\"");
    assert_kinds("row ", 0);
    record = open_record();
    assert_true(record_append(record, "end", json_object(), false));
    record_close(record);
    assert_kinds("row end ", 0);
}

static void test_what_is_no_line_of_ours_is_counted(void **state)
{
    (void)state;
    record_close(open_record());
    append_raw("no JSON\n[1]\n{\"at\":\"x\",\"mono_s\":1.5,\"kind\":\"row\"}\n");
    assert_kinds("row ", 2);
}

static void test_a_full_disk_loses_nothing(void **state)
{
    const struct rlimit none = {.rlim_cur = 300, .rlim_max = RLIM_INFINITY};
    struct rlimit before;
    (void)state;
    struct record *record = open_record();
    assert_true(record_append(record, "row", json_object(), false));
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    char text[400];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_false(record_append(record, "note", json_pack("{s:s}", "text", text), true));
    assert_true(strlen(record_trouble(record)) > 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_kinds("row ", 0);
    assert_true(record_append(record, "note", json_pack("{s:s}", "text", text), true));
    assert_string_equal(record_trouble(record), "");
    record_close(record);
    assert_kinds("row note ", 0);
}

static void test_a_folder_that_cannot_be(void **state)
{
    char why[200] = "";
    struct found found = {0};
    (void)state;
    assert_null(record_open("/nowhere/at/all", why, sizeof why));
    assert_string_equal(why, "/nowhere/at/all: No such file or directory");
    assert_int_equal(record_read("/nowhere/at/all", take, &found), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_lines_come_back_in_order, remove_all),
        cmocka_unit_test_teardown(test_a_torn_end_is_cut_off, remove_all),
        cmocka_unit_test_teardown(test_what_is_no_line_of_ours_is_counted, remove_all),
        cmocka_unit_test_teardown(test_a_full_disk_loses_nothing, remove_all),
        cmocka_unit_test(test_a_folder_that_cannot_be),
    };
    return cmocka_run_group_tests_name("record", tests, make_parent, remove_parent);
}
