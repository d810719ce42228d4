#include "service/http/http_failure.h"

#include "tests/support/pool_fixture.h"

#include <jansson.h>

struct expected {
    enum failure_kind kind;
    int status, ecode, retry_after_s;
};

static void check(struct service *service, const struct expected *expected)
{
    const struct http_request request = {.id = "abc-1", .arrived_ns = clock_now_ns()};
    struct http_response response = {0};
    struct query_outcome outcome = {0};
    (void)failure_set(&outcome.failure, expected->kind, "why \"%d\"", (int)expected->kind);
    outcome.failed_items[expected->kind] = 3;
    http_failure_answer(service, &request, 42, &outcome, &response);
    assert_int_equal(response.status, expected->status);
    assert_int_equal(response.retry_after_s, expected->retry_after_s);
    json_t *body = json_loadb(response.body.data, response.body.size_bytes, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(body, "ecode")), expected->ecode);
    assert_string_equal(json_string_value(json_object_get(body, "message")),
                        outcome.failure.message);
    assert_string_equal(json_string_value(json_object_get(body, "request_id")), "abc-1");
    assert_int_equal(atomic_load(&service->metrics.request_failures[expected->kind]), 1);
    json_decref(body);
    text_clear(&response.body);
}

/* The contract's table of errors. */
static void test_each_failure_has_its_answer(void **state)
{
    static const struct expected table[] = {
        {FAILURE_CHECKOUT_TIMEOUT, 503, -500, 1},
        {FAILURE_WRITE_DEADLINE, 504, -500, 0},
        {FAILURE_READ_DEADLINE, 504, -500, 0},
        {FAILURE_REQUEST_DEADLINE, 504, -504, 0},
        {FAILURE_LIMIT, 503, -503, 1},
        {FAILURE_UNAVAILABLE, 503, -503, 0},
        {FAILURE_DATABASE, 502, -502, 0},
        {FAILURE_INCOMPLETE, 500, -500, 0},
        {FAILURE_NOT_FOUND, 404, -404, 0},
    };
    static struct service service;
    struct fixture fixture;
    (void)state;
    open_pool(&fixture, 1, 1, 1000);
    service.environment.pool = fixture.pool;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        check(&service, &table[i]);
    close_pool(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_failure_has_its_answer),
    };
    return cmocka_run_group_tests_name("http_failure", tests, NULL, NULL);
}
