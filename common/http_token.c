#include "common/http_token.h"

#include "common/check.h"
#include "common/options.h"

#include <errno.h>

bool http_token_read(const char *path, char token[HTTP_TOKEN_SIZE], char error[HTTP_ERROR_SIZE])
{
    token[0] = '\0';
    FILE *file = fopen(path, "re");
    if (!file) {
        snprintf(error, HTTP_ERROR_SIZE, "cannot read '%s': %s", path, strerrordesc_np(errno));
        return false;
    }
    bool ok = fgets(token, HTTP_TOKEN_SIZE, file) != NULL;
    fclose(file);
    token[strcspn(token, "\r\n")] = '\0';
    if (ok && *token)
        return true;
    snprintf(error, HTTP_ERROR_SIZE, "'%s' holds no token", path);
    return false;
}

bool http_token_matches(const char *token, const char *authorization)
{
    if (!authorization || strncmp(authorization, "Bearer ", 7) != 0 ||
        strlen(authorization + 7) != strlen(token))
        return false;
    unsigned difference = 0;
    for (size_t i = 0; token[i]; i++)
        difference |= (unsigned)((unsigned char)token[i] ^ (unsigned char)authorization[7 + i]);
    return difference == 0;
}

bool http_token_is_local(const char *host, const char *origin)
{
    char name[256];
    uint16_t port;
    if (origin && (!host || strncmp(origin, "http://", 7) != 0 || strcmp(origin + 7, host) != 0))
        return false;
    if (!host || options_is_loopback(host))
        return true;
    return options_split_address(host, name, sizeof name, &port) == 0 && options_is_loopback(name);
}
