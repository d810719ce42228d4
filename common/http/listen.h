/*
 * A listening socket, so that the reason of a failure can be named.
 */
#ifndef FLASHOVER_COMMON_HTTP_LISTEN_H
#define FLASHOVER_COMMON_HTTP_LISTEN_H

#include "common/http/server.h"

/* Listens on HOST:PORT; of a name with several addresses, on the first. The socket is non-blocking,
 * and the caller's to close; *port is the port in host byte order. -1 and one line in `error`
 * otherwise. */
int http_listen(const char *address, uint16_t *port, char error[HTTP_ERROR_SIZE]);

#endif
