/*
 * The drill over HTTP: one port for people, one for the facilitator. Both ask for a token.
 * Described for callers in docs/openapi.yaml.
 */
#ifndef FLASHOVER_DRILL_SERVE_API_H
#define FLASHOVER_DRILL_SERVE_API_H

#include "common/http/login.h"
#include "drill/engine/engine.h"

/* Lock key: (i) immutable while the servers run; the rest guards itself. */
struct api {
    struct engine *engine;
    const struct catalogue *catalogue; /* (i) */
    struct http_login login;           /* (i) of this port */
};

/* The routes of the two ports; the context is a struct api of its own for each. */
extern const struct http_route people_routes[];
extern const size_t people_route_count;
extern const struct http_route facilitator_routes[];
extern const size_t facilitator_route_count;

#endif
