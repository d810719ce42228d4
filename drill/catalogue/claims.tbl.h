/*
 * What people can claim of a drill, one list for all of them.
 *
 * CLAIM(ID, key, ASKED, words): ASKED is LATENT, TRIGGER or SUSTAINS.
 */
#ifndef CLAIM
#define CLAIM(ID, key, ASKED, words)
#endif

CLAIM(UNSAFE_MAP, "unsafe-map", LATENT,
      "threads write a shared map without a lock; the map notices")
CLAIM(LOST_WRITES, "lost-writes", LATENT,
      "threads write a shared map without a lock; nobody notices")
CLAIM(QUERY_AN_ITEM, "query-an-item", LATENT, "a query and a connection for each item")
CLAIM(NESTED, "nested-checkout", LATENT, "a connection is held while another is waited for")
CLAIM(NOT_GIVEN_BACK, "not-given-back", LATENT, "after an error a connection is not given back")
CLAIM(DEAD_THREADS, "dead-threads", LATENT, "threads die with a connection in hand")
CLAIM(DEADLINE_IGNORED, "deadline-ignored", LATENT, "work goes on for callers who have given up")
CLAIM(NO_IDLE_TIMEOUT, "no-idle-timeout", LATENT, "nothing ends a transaction that is idle")
CLAIM(NO_LOCK_TIMEOUT, "no-lock-timeout", LATENT, "a migration waits for its lock without an end")
CLAIM(RETRIES_UNBOUNDED, "retries-unbounded", LATENT, "callers retry without a budget")
CLAIM(POOL_TOO_SMALL, "pool-too-small", LATENT, "the pool is too small")
CLAIM(SLOW_DATABASE, "slow-database", LATENT, "the database is too slow")
CLAIM(LARGER_REQUESTS, "larger-requests", TRIGGER, "callers ask for more items")
CLAIM(MORE_REQUESTS, "more-requests", TRIGGER, "a burst of requests")
CLAIM(A_LOCK, "a-lock", TRIGGER, "a lock in the database for some seconds")
CLAIM(IDLE_TRANSACTION, "idle-transaction", TRIGGER, "a job's transaction that is left open")
CLAIM(MIGRATION, "migration", TRIGGER, "a migration behind a long report")
CLAIM(A_DEPLOYMENT, "a-deployment", TRIGGER, "the deployment alone; the usual load does the rest")
CLAIM(NETWORK, "network", TRIGGER, "the network")
CLAIM(NOTHING, "nothing", SUSTAINS, "nothing: it lasts as long as its trigger")
CLAIM(THE_LOAD, "the-load", SUSTAINS, "the usual load, which is more than can be served")
CLAIM(RESTARTS, "restarts", SUSTAINS, "each restart comes up with the same fault")
CLAIM(LEAKED, "leaked-connections", SUSTAINS, "connections that never come back")
CLAIM(LATE_WORK, "late-work", SUSTAINS, "a queue of work that nobody waits for")
CLAIM(HELD_LOCK, "held-lock", SUSTAINS, "a lock that stays held")
CLAIM(RETRIES, "retries", SUSTAINS, "the callers' own retries")

#undef CLAIM
