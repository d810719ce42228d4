#include "common/client/admin_client.h"

#include "common/check.h"

#include <curl/curl.h>
#include <errno.h>

#define TOKEN_SIZE 4096

struct admin_client {
    CURL *curl;
    struct curl_slist *headers;
    char *base_url;
};

/* Reads the token's line. It goes into a header, so nothing but printable ASCII is let through. */
static bool read_token(const char *path, char token[TOKEN_SIZE], char *why, size_t why_size)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        snprintf(why, why_size, "cannot read the token file %s: %s", path, strerrordesc_np(errno));
        return false;
    }
    bool read = fgets(token, TOKEN_SIZE, file);
    fclose(file);
    size_t length = read ? strcspn(token, "\r\n") : 0;
    token[length] = '\0';
    bool usable = length > 0;
    for (size_t i = 0; i < length; i++)
        usable = usable && token[i] > 0x20 && token[i] < 0x7f;
    if (!usable) {
        snprintf(why, why_size, "the first line of the token file %s is no token", path);
        return false;
    }
    return true;
}

/* False when memory ran out. */
static bool add_header(struct admin_client *client, const char *header)
{
    struct curl_slist *longer = curl_slist_append(client->headers, header);
    if (!longer)
        return false;
    client->headers = longer;
    return true;
}

struct admin_client *admin_client_new(const char *base_url, const char *token_file, char *why,
                                      size_t why_size)
{
    char token[TOKEN_SIZE];
    char header[TOKEN_SIZE + 32];
    const char *authority = strstr(base_url, "://");
    authority = authority ? authority + 3 : base_url;
    if (memchr(authority, '@', strcspn(authority, "/?#"))) {
        snprintf(why, why_size,
                 "it has a user name or a password; the port takes a token, and "
                 "--admin-token-file names its file");
        return NULL;
    }
    if (token_file && !read_token(token_file, token, why, why_size))
        return NULL;
    struct admin_client *client = calloc(1, sizeof *client);
    if (!client)
        goto failed;
    size_t length = strlen(base_url);
    while (length > 0 && base_url[length - 1] == '/')
        length--;
    client->base_url = strndup(base_url, length);
    client->curl = curl_easy_init();
    if (!client->base_url || !client->curl || !add_header(client, "Content-Type: application/json"))
        goto failed;
    if (token_file) {
        snprintf(header, sizeof header, "Authorization: Bearer %s", token);
        if (!add_header(client, header))
            goto failed;
    }
    return client;
failed:
    snprintf(why, why_size, "out of memory");
    admin_client_free(client);
    return NULL;
}

void admin_client_free(struct admin_client *client)
{
    if (!client)
        return;
    curl_slist_free_all(client->headers);
    if (client->curl)
        curl_easy_cleanup(client->curl);
    free(client->base_url);
    free(client);
}

static size_t take_bytes(char *bytes, size_t one, size_t size_bytes, void *argument)
{
    struct text *answer = argument;
    size_t room = ADMIN_ANSWER_BYTES - answer->size_bytes;
    text_append(answer, bytes, size_bytes < room ? size_bytes : room);
    return answer->failed || size_bytes > room ? 0 : one * size_bytes;
}

int admin_client_request(struct admin_client *client, const char *method, const char *path,
                         const char *body, int timeout_ms, struct text *answer, char *why,
                         size_t why_size)
{
    char url[1024];
    CURL *curl = client->curl;
    long status = 0;
    text_clear(answer);
    if (snprintf(url, sizeof url, "%s%s", client->base_url, path) >= (int)sizeof url) {
        snprintf(why, why_size, "the URL is too long");
        return 0;
    }
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L); /* threads */
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, client->headers);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    if (body)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    CURLcode failed = curl_easy_perform(curl);
    if (failed) {
        snprintf(why, why_size, "%s: %s", url, curl_easy_strerror(failed));
        return 0;
    }
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}
