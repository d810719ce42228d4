/* Looks into JSON by a path such as "run.stages.0.from"; what is not there fails the test. */
#ifndef FLASHOVER_TEST_JSON_EXPECT_H
#define FLASHOVER_TEST_JSON_EXPECT_H

#include <jansson.h>

/* Borrowed from `root`. "" is `root` itself. */
const json_t *json_at(const json_t *root, const char *path);

/* An integer or a real. */
double json_number_at(const json_t *root, const char *path);
json_int_t json_integer_at(const json_t *root, const char *path);
const char *json_text_at(const json_t *root, const char *path);

/* The object there has exactly these keys, which blanks separate. */
void json_expect_keys(const json_t *root, const char *path, const char *keys);

/* What is there is, written down compactly, this. */
void json_expect(const json_t *root, const char *path, const char *expected);

#endif
