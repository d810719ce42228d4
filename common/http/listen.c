#include "common/http/listen.h"

#include "common/options.h"

#include <errno.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_BACKLOG 1024

int http_listen(const char *address, uint16_t *port, char error[HTTP_ERROR_SIZE])
{
    char host[256];
    char service[8];
    struct addrinfo *found = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct sockaddr_storage bound;
    socklen_t bound_size = sizeof bound;

    if (!options_split_address(address, host, sizeof host, port)) {
        snprintf(error, HTTP_ERROR_SIZE, "'%s' is not HOST:PORT", address);
        return -1;
    }
    snprintf(service, sizeof service, "%u", *port);
    int failure = getaddrinfo(host, service, &hints, &found);
    if (failure) {
        snprintf(error, HTTP_ERROR_SIZE, "%s: %s", address, gai_strerror(failure));
        return -1;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    0); /* a name's first address */
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) == 0 &&
              bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, LISTEN_BACKLOG) == 0 &&
              getsockname(fd, (struct sockaddr *)&bound, &bound_size) == 0;
    if (!ok) {
        snprintf(error, HTTP_ERROR_SIZE, "cannot listen on %s: %s", address, strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    } else if (getnameinfo((struct sockaddr *)&bound, bound_size, NULL, 0, service, sizeof service,
                           NI_NUMERICSERV) == 0) {
        *port = (uint16_t)strtoul(service, NULL, 10);
    }
    freeaddrinfo(found);
    return fd;
}
