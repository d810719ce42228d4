/*
 * What people can change in a drill, the same list in all of them: a row each, in the order of the
 * page.
 *
 * CHANGE(ID, key, KIND, lead_s, words): KIND is EVIDENCE, SESSION, LOAD (beside everything else) or
 * DEPLOYMENT (one at a time). lead_s: from the decision until it is in force; for code until it is
 * built and deployed.
 */
#ifndef CHANGE
#define CHANGE(ID, key, KIND, lead_s, words)
#endif

CHANGE(KEEP_EVIDENCE, "keep-evidence", EVIDENCE, 2,
       "keep a dump, the pool's events and the sessions")
CHANGE(END_SESSION, "end-session", SESSION, 3, "end a session of the database")
CHANGE(CANCEL_QUERY, "cancel-query", SESSION, 3, "cancel a session's query")
CHANGE(LOAD_50, "load-50", LOAD, 0, "shed half of the load")
CHANGE(LOAD_25, "load-25", LOAD, 0, "shed three quarters of the load")
CHANGE(LOAD_100, "load-100", LOAD, 0, "take all of the load again")
CHANGE(RETRIES_OFF, "retries-off", LOAD, 0, "callers retry no more")
CHANGE(RETRY_BUDGET, "retry-budget", LOAD, 0, "callers retry at most a tenth of their requests")
CHANGE(RESTART, "restart", DEPLOYMENT, 10, "restart the service")
CHANGE(POOL_X2, "pool-x2", DEPLOYMENT, 10, "twice the connections in the pool")
CHANGE(POOL_X5, "pool-x5", DEPLOYMENT, 10, "five times the connections in the pool")
CHANGE(POOL_X10, "pool-x10", DEPLOYMENT, 10, "ten times the connections in the pool")
CHANGE(DEADLINE_X2, "deadline-x2", DEPLOYMENT, 10, "twice the time for a request")
CHANGE(DEADLINE_X5, "deadline-x5", DEPLOYMENT, 10, "five times the time for a request")
CHANGE(ROLE_LIMIT_X2, "role-limit-x2", DEPLOYMENT, 10, "twice the sessions for the service's role")
CHANGE(IDLE_TIMEOUT, "idle-timeout", DEPLOYMENT, 10,
       "end transactions that are idle for half a second")
CHANGE(CLIENT_CHECK, "client-check", DEPLOYMENT, 10,
       "the server looks whether its clients are alive")
CHANGE(MIGRATION_BACK, "migration-back", DEPLOYMENT, 20, "take the migration back")
CHANGE(MIGRATION_AGAIN, "migration-lock-timeout", DEPLOYMENT, 20,
       "the migration again, with a lock time-out and tries")
CHANGE(ROLLBACK, "rollback", DEPLOYMENT, 30, "roll back to an older version")
CHANGE(CODE_LOCK, "code-lock", DEPLOYMENT, 180, "a lock around the map of results")
CHANGE(CODE_SLOTS, "code-slots", DEPLOYMENT, 180, "a slot for each item in place of the map")
CHANGE(CODE_ONE_QUERY, "code-one-query", DEPLOYMENT, 180, "one query for a feed")
CHANGE(CODE_PIPELINED, "code-pipelined", DEPLOYMENT, 180, "pipelined queries on one connection")
CHANGE(CODE_AT_MOST_8, "code-at-most-8", DEPLOYMENT, 180, "at most eight items at a time")
CHANGE(CODE_GIVE_BACK, "code-give-back", DEPLOYMENT, 180,
       "connections are given back on every path")
CHANGE(CODE_PASS_DEADLINE, "code-pass-deadline", DEPLOYMENT, 180,
       "the deadline is passed on to every wait")
CHANGE(CODE_CALL_OFF, "code-call-off", DEPLOYMENT, 180, "the rest is called off at the first error")

#undef CHANGE
