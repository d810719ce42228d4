/* Looks into JSON by a path such as "run.stages.0.from". A missing path fails the test. */
#ifndef FLASHOVER_TESTS_SUPPORT_JSON_EXPECT_H
#define FLASHOVER_TESTS_SUPPORT_JSON_EXPECT_H

#include <jansson.h>

/* Borrowed from `root`. "" is `root` itself. */
const json_t *json_at(const json_t *root, const char *path);

/* An integer or a real. */
double json_number_at(const json_t *root, const char *path);
json_int_t json_integer_at(const json_t *root, const char *path);
const char *json_text_at(const json_t *root, const char *path);

/* The object at `path` has exactly these keys, separated by blanks. */
void json_expect_keys(const json_t *root, const char *path, const char *keys);

/* The value at `path` is this in compact form. */
void json_expect(const json_t *root, const char *path, const char *expected);

#endif
