/*
 * Whether a request's headers leave no doubt where it ends and for whom it is (RFC 9112, sections
 * 3.2 and 6.3). libmicrohttpd takes what it can; a proxy before it may understand the same bytes in
 * another way, and then a stranger's request could hide within another's.
 */
#ifndef FLASHOVER_COMMON_HTTP_FRAMING_H
#define FLASHOVER_COMMON_HTTP_FRAMING_H

struct MHD_Connection;

/* NULL, or what is wrong, for the error's message. `version` is "HTTP/1.1" and the like. */
const char *http_framing_mistake(struct MHD_Connection *connection, const char *version);

#endif
