/* Toggles read and set over a real connection: what fails at once, and what is tried again. */
#include "common/client/toggle_client.h"

#include "tests/support/loopback.h"
#include "tests/support/support.h"

#include <signal.h>
#include <unistd.h>

#define TOGGLE(name, value) "{\"name\":\"" name "\",\"value\":\"" value "\"}"
#define PAGE(query)                                                                                \
    "{\"toggles\":[" TOGGLE("fatal", "exit") "," TOGGLE("query", query) "," TOGGLE(                \
        "map", "mutex") "," TOGGLE("admission", "none") "]}"
#define OLD PAGE("per_item")
#define NEW PAGE("batched")

static const struct toggle_values wanted = {
    .query = "batched", .map = "mutex", .admission = "none"};

struct fixture {
    struct loopback server;
    struct admin_client *admin;
    char why[512];
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    loopback_start(&fixture->server, NULL);
    fixture->admin = admin_client_new(fixture->server.url, NULL, fixture->why, sizeof fixture->why);
    *state = fixture;
    return fixture->admin ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    admin_client_free(fixture->admin);
    loopback_stop(&fixture->server);
    free(fixture);
    return 0;
}

static int get(struct fixture *fixture, struct toggle_state *found)
{
    fixture->why[0] = '\0';
    return toggle_client_get(fixture->admin, found, fixture->why, sizeof fixture->why) ? 0 : -1;
}

static int set_until(struct fixture *fixture, const struct stop *stop, int64_t deadline_ns)
{
    fixture->why[0] = '\0';
    return toggle_client_set(fixture->admin, &wanted, stop, deadline_ns, fixture->why,
                             sizeof fixture->why)
               ? 0
               : -1;
}

static int set(struct fixture *fixture)
{
    return set_until(fixture, NULL, clock_now_ns() + TEST_PATIENCE_NS);
}

static void test_three_toggles_are_read(void **state)
{
    struct fixture *fixture = *state;
    struct toggle_state found;
    loopback_reply(&fixture->server, "GET /v1/toggles", 200, OLD);
    assert_int_equal(get(fixture, &found), 0);
    assert_string_equal(found.query, "per_item");
    assert_string_equal(found.map, "mutex");
    assert_string_equal(found.admission, "none");
}

static void test_no_answer_is_made_up(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        int status;
        const char *body, *why;
    } cases[] = {
        {200, "", "does not name query, map and admission"},
        {200, "<html>", "does not name query, map and admission"},
        {200, "[]", "does not name"},
        {200, "{\"toggles\":{}}", "does not name"},
        {200, "{\"toggles\":[1,null,{},[]]}", "does not name"},
        {200, "{\"toggles\":[" TOGGLE("query", "batched") "," TOGGLE("map", "mutex") "]}",
         "does not name"},
        {200, PAGE(""), "does not name"},
        {200, PAGE("a_value_of_thirty-two_characters"), "does not name"},
        {401, "{\"message\":\"no\"}", "/v1/toggles answers 401: no (see --admin-token-file)"},
        {500, "{\"message\":\"oh\"}", "/v1/toggles answers 500: oh"},
        {500, "no JSON", "/v1/toggles answers 500: (no message)"},
        {204, "", "/v1/toggles answers 204: (no message)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct toggle_state found;
        loopback_reply(&fixture->server, "GET /v1/toggles", cases[i].status, cases[i].body);
        assert_int_equal(get(fixture, &found), -1);
        if (!strstr(fixture->why, cases[i].why))
            fail_msg("%d %s: '%s'", cases[i].status, cases[i].body, fixture->why);
    }
}

static void test_what_is_set_is_read_back(void **state)
{
    struct fixture *fixture = *state;
    char body[LOOPBACK_BODY_SIZE];
    loopback_reply(&fixture->server, "PATCH /v1/toggles", 200, "{}");
    loopback_reply(&fixture->server, "GET /v1/toggles", 200, NEW);
    assert_int_equal(set(fixture), 0);
    loopback_latest_body(&fixture->server, "PATCH /v1/toggles", body);
    assert_string_equal(body, "{\"query\":\"batched\",\"map\":\"mutex\",\"admission\":\"none\"}");
    assert_int_equal(loopback_asked(&fixture->server, "PATCH /v1/toggles"), 1);
    assert_int_equal(loopback_asked(&fixture->server, "GET /v1/toggles"), 1);
}

static void test_a_refusal_ends_it_at_once(void **state)
{
    struct fixture *fixture = *state;
    static const int statuses[] = {400, 401, 404, 409};
    for (unsigned i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        loopback_reply(&fixture->server, "PATCH /v1/toggles", statuses[i],
                       "{\"message\":\"map: no such value\"}");
        assert_int_equal(set(fixture), -1);
        assert_int_equal(loopback_asked(&fixture->server, "PATCH /v1/toggles"), i + 1);
        assert_non_null(strstr(fixture->why, "map: no such value"));
    }
    assert_int_equal(loopback_asked(&fixture->server, "GET /v1/toggles"), 0);
}

static void test_a_service_in_trouble_is_asked_again(void **state)
{
    struct fixture *fixture = *state;
    loopback_reply(&fixture->server, "PATCH /v1/toggles", 503, "");
    loopback_reply(&fixture->server, "PATCH /v1/toggles", 500, "{}");
    loopback_reply(&fixture->server, "PATCH /v1/toggles", 200, "{}");
    loopback_reply(&fixture->server, "GET /v1/toggles", 200, NEW);
    assert_int_equal(set(fixture), 0);
    assert_int_equal(loopback_asked(&fixture->server, "PATCH /v1/toggles"), 3);
}

static void test_values_that_do_not_show_are_set_again(void **state)
{
    struct fixture *fixture = *state;
    loopback_reply(&fixture->server, "PATCH /v1/toggles", 200, "{}");
    loopback_reply(&fixture->server, "GET /v1/toggles", 200, OLD);
    loopback_reply(&fixture->server, "GET /v1/toggles", 500, "");
    loopback_reply(&fixture->server, "GET /v1/toggles", 200, NEW);
    assert_int_equal(set(fixture), 0);
    assert_int_equal(loopback_asked(&fixture->server, "PATCH /v1/toggles"), 3);
}

static void test_each_of_the_three_must_show(void **state)
{
    struct fixture *fixture = *state;
    static const char *const pages[] = {OLD,
                                        "{\"toggles\":[" TOGGLE("query", "batched") "," TOGGLE(
                                            "map", "unsafe") "," TOGGLE("admission", "none") "]}",
                                        "{\"toggles\":[" TOGGLE("query", "batched") "," TOGGLE(
                                            "map", "mutex") "," TOGGLE("admission", "limit") "]}"};
    loopback_reply(&fixture->server, "PATCH /v1/toggles", 200, "{}");
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        loopback_reply(&fixture->server, "GET /v1/toggles", 200, pages[i]);
        assert_int_equal(set_until(fixture, NULL, clock_now_ns()), -1);
        assert_string_equal(fixture->why, "/v1/toggles took the values, but does not show them");
    }
}

static void test_it_ends_at_the_deadline(void **state)
{
    struct fixture *fixture = *state;
    int64_t began_ns = clock_now_ns();
    loopback_reply(&fixture->server, "PATCH /v1/toggles", 500, "{\"message\":\"oh\"}");
    assert_int_equal(set_until(fixture, NULL, began_ns), -1); /* already over: one try */
    assert_int_equal(loopback_asked(&fixture->server, "PATCH /v1/toggles"), 1);
    began_ns = clock_now_ns();
    assert_int_equal(set_until(fixture, NULL, began_ns + 150 * CLOCK_NS_PER_MS), -1);
    assert_in_range(clock_now_ns() - began_ns, 150 * CLOCK_NS_PER_MS, TEST_PATIENCE_NS);
    assert_in_range(loopback_asked(&fixture->server, "PATCH /v1/toggles"), 2, 4);
    assert_non_null(strstr(fixture->why, "answers 500: oh"));
}

static void test_it_ends_when_a_stop_is_asked_for(void **state)
{
    struct fixture *fixture = *state;
    struct stop stop;
    assert_true(stop_init(&stop));
    stop_request(&stop, SIGTERM);
    loopback_reply(&fixture->server, "PATCH /v1/toggles", 500, "");
    assert_int_equal(set_until(fixture, &stop, clock_now_ns() + TEST_PATIENCE_NS), -1);
    assert_int_equal(loopback_asked(&fixture->server, "PATCH /v1/toggles"), 1);
    stop_destroy(&stop);
}

static void test_nobody_there_until_the_deadline(void **state)
{
    (void)state;
    char url[LOOPBACK_URL_SIZE];
    struct fixture nobody = {.why = ""};
    struct toggle_state found;
    int fd = loopback_take_port(false, url);
    nobody.admin = admin_client_new(url, NULL, nobody.why, sizeof nobody.why);
    assert_int_equal(get(&nobody, &found), -1);
    assert_non_null(strstr(nobody.why, url));
    int64_t deadline_ns = clock_now_ns() + 150 * CLOCK_NS_PER_MS;
    assert_int_equal(set_until(&nobody, NULL, deadline_ns), -1);
    assert_true(clock_now_ns() >= deadline_ns);
    assert_non_null(strstr(nobody.why, url));
    admin_client_free(nobody.admin);
    close(fd);
}

/* Each request times out after two seconds. Past the deadline there is only one request. */
static void test_silence_is_not_waited_for_forever(void **state)
{
    (void)state;
    char url[LOOPBACK_URL_SIZE];
    struct fixture silent = {.why = ""};
    int fd = loopback_take_port(true, url);
    silent.admin = admin_client_new(url, NULL, silent.why, sizeof silent.why);
    int64_t began_ns = clock_now_ns();
    assert_int_equal(set_until(&silent, NULL, began_ns), -1);
    assert_in_range(clock_now_ns() - began_ns, CLOCK_NS_PER_S, TEST_PATIENCE_NS);
    assert_non_null(strstr(silent.why, "imeout"));
    admin_client_free(silent.admin);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_three_toggles_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_answer_is_made_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_set_is_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_refusal_ends_it_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_service_in_trouble_is_asked_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values_that_do_not_show_are_set_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_each_of_the_three_must_show, setup, teardown),
        cmocka_unit_test_setup_teardown(test_it_ends_at_the_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(test_it_ends_when_a_stop_is_asked_for, setup, teardown),
        cmocka_unit_test(test_nobody_there_until_the_deadline),
        cmocka_unit_test(test_silence_is_not_waited_for_forever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
