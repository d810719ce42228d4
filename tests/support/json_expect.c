#include "tests/support/json_expect.h"

#include "tests/support/support.h"

const json_t *json_at(const json_t *root, const char *path)
{
    const json_t *found = root;
    const char *rest = path;
    while (found && *rest) {
        char key[64];
        size_t length = strcspn(rest, ".");
        assert_in_range(length, 1, sizeof key - 1);
        memcpy(key, rest, length);
        key[length] = '\0';
        found = json_is_array(found) ? json_array_get(found, strtoul(key, NULL, 10))
                                     : json_object_get(found, key);
        rest += length + (rest[length] == '.');
    }
    if (!found)
        fail_msg("no '%s' in the JSON", path);
    return found;
}

double json_number_at(const json_t *root, const char *path)
{
    const json_t *found = json_at(root, path);
    if (!json_is_number(found))
        fail_msg("'%s' is no number", path);
    return json_number_value(found);
}

json_int_t json_integer_at(const json_t *root, const char *path)
{
    const json_t *found = json_at(root, path);
    if (!json_is_integer(found))
        fail_msg("'%s' is no integer", path);
    return json_integer_value(found);
}

const char *json_text_at(const json_t *root, const char *path)
{
    const char *text = json_string_value(json_at(root, path));
    if (!text)
        fail_msg("'%s' is no text", path);
    return text;
}

void json_expect_keys(const json_t *root, const char *path, const char *keys)
{
    const json_t *object = json_at(root, path);
    size_t count = 0;
    for (const char *at = keys; *at;) {
        char key[64];
        size_t length = strcspn(at, " ");
        assert_in_range(length, 1, sizeof key - 1);
        memcpy(key, at, length);
        key[length] = '\0';
        if (!json_object_get(object, key))
            fail_msg("no key '%s' in '%s'", key, path);
        count++;
        at += length + (at[length] == ' ');
    }
    if (json_object_size(object) != count)
        fail_msg("'%s' has more keys than %s", path, keys);
}

void json_expect(const json_t *root, const char *path, const char *expected)
{
    char *text =
        json_dumps(json_at(root, path), JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(12));
    assert_non_null(text);
    int differs = strcmp(text, expected);
    if (differs)
        print_error("'%s' is %s, not %s\n", path, text, expected);
    free(text);
    assert_int_equal(differs, 0);
}
