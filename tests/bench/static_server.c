/*
 * A server for measuring load testers: one thread, epoll, and the same body of the size of a feed
 * for every request. It costs as little as a server can, so that the load tester is measured.
 *
 * Listens on a free port of 127.0.0.1, prints its URL on a line, and ends with its standard input.
 */
#include "common/check.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <unistd.h>

#define BODY_BYTES  18000 /* a feed of 300 items */
#define CONNECTIONS 1000

/* MHD first calls with only the head. After an answer at that point MHD would close the connection,
 * since it takes the rest of the request as unwanted. So this answers at the second call. */
static enum MHD_Result answer(void *body, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **request)
{
    (void)url, (void)method, (void)version, (void)upload, (void)upload_size;
    if (!*request) {
        *request = body;
        return MHD_YES;
    }
    return MHD_queue_response(connection, MHD_HTTP_OK, body);
}

int main(void)
{
    static char bytes[BODY_BYTES];
    char ignored[64];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    memset(bytes, 'x', sizeof bytes);
    struct MHD_Response *body =
        MHD_create_response_from_buffer(sizeof bytes, bytes, MHD_RESPMEM_PERSISTENT);
    assert(body);
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, answer, body, MHD_OPTION_SOCK_ADDR, &address,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS, MHD_OPTION_END);
    if (!daemon) {
        fprintf(stderr, "static_server: cannot listen\n");
        return 1;
    }
    printf("http://127.0.0.1:%u/\n",
           (unsigned)MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    while (read(STDIN_FILENO, ignored, sizeof ignored) > 0)
        ;
    MHD_stop_daemon(daemon);
    MHD_destroy_response(body);
    return 0;
}
