/*
 * The bearer token that a port wants, kept in a file.
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

#endif
