/*
 * What the pool connects to: the stub of the unit tests or a real PostgreSQL, with the file's fail
 * point in front of it. The fail point of the format is one of MongoDB's server; here it acts on
 * connects, which is all that the files use it for.
 */
#ifndef FLASHOVER_TESTS_CMAP_DATABASE_H
#define FLASHOVER_TESTS_CMAP_DATABASE_H

#include "service/db/conn.h"
#include "tests/cmap/scenario.h"
#include "tests/support/stub_connector.h"

struct cmap_settings {
    const char *conninfo; /* of the real PostgreSQL; NULL: the stub */
    bool external_delays; /* blockTimeMS is left to a proxy in front of the server */
    int64_t patience_ns;  /* for one file */
};

/* Lock key: (i) immutable once initialised, (a) atomic. */
struct cmap_database {
    struct db_connector connector;       /* (i) behind the fail point */
    const struct cmap_fail_point *point; /* (i) NULL: none that acts on this pool */
    int64_t block_ns;                    /* (i) */
    _Atomic long times_left;             /* (a) CMAP_ALWAYS: without end */
    bool is_stub;                        /* (i) */
    struct stub stub;                    /* its own lock */
    struct db_conn_config conn_config;   /* (i) */
    char address[160];                   /* (i) HOST:PORT, as the pool's messages name it */
};

/* In place, for a database that will not move; settings and scenario must outlive it. */
void cmap_database_init(struct cmap_database *database, const struct cmap_settings *settings,
                        const struct cmap_scenario *scenario);

/* For the pool's configuration. */
struct db_connector cmap_database_connector(struct cmap_database *database);

/* After the pool is gone: how many connections it left open. 0 for a real PostgreSQL, where nobody
 * counts. */
unsigned cmap_database_left_open(struct cmap_database *database);

#endif
