/*
 * The URL of --url, and the request made from it. Input: the URL.
 */
#include "loadtest/plan/target.h"

#include "tests/fuzz/input.h"

static void check_request(const struct target *target)
{
    char request[TARGET_REQUEST_SIZE];
    size_t size = target_write_request(target, 1000, request);
    unsigned lines = 0;
    assert(size < sizeof request && strlen(request) == size);
    assert(strncmp(request, "GET /", 5) == 0);
    assert(strcmp(request + size - 4, "\r\n\r\n") == 0);
    for (size_t i = 0; i < size; i++) {
        lines += request[i] == '\n';
        assert((request[i] >= 0x20 && request[i] < 0x7f) || request[i] == '\r' ||
               request[i] == '\n');
    }
    assert(lines == 5); /* no URL can add a header */
    const char *path = request + 4;
    const char *version = strstr(path, " HTTP/1.1\r\n");
    assert(version && memchr(path, ' ', (size_t)(version - path)) == NULL);
    assert(!strstr(request, "{feed}"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct fuzz_input input = {data, size_bytes};
    struct target target;
    char why[160] = "";
    char *url = fuzz_string(&input);
    if (!target_parse(&target, url, why, sizeof why)) {
        assert(strlen(why) > 0);
    } else {
        int port = atoi(target.port);
        assert(port >= 1 && port <= 65535 && target.host[0]);
        assert(target.items <= 1000);
        assert(strlen(target.base) < sizeof target.base);
        check_request(&target);
    }
    free(url);
    return 0;
}
