/*
 * Who may use a port: whoever has its bearer token, which is kept in a file; or whoever is on this
 * machine, but no page of another site in a browser on this machine.
 */
#ifndef FLASHOVER_HTTP_TOKEN_H
#define FLASHOVER_HTTP_TOKEN_H

#include "common/http_server.h"

#define HTTP_TOKEN_SIZE 256

/* Reads the first line of the file, which must not be empty: whoever can read the token owns the
 * port. False with one line in `error` that names the file. */
bool http_token_read(const char *path, char token[HTTP_TOKEN_SIZE], char error[HTTP_ERROR_SIZE]);

/* Whether the value of the header Authorization (NULL: there is none) carries the token; takes a
 * time that does not tell how much of it was right. */
bool http_token_matches(const char *token, const char *authorization);

/* Whether a request to a port on loopback is not made by another site's page, judged by its headers
 * Host and Origin (NULL: there is none). A page that sends requests elsewhere than to where it came
 * from has an Origin of its own; one whose name was made to point at this machine has that name for
 * a Host. */
bool http_token_is_local(const char *host, const char *origin);

#endif
