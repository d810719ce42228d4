/*
 * fatal=exit_thread: only the thread that found the other writer ends, as the write-up believed it.
 * BUG, mended in abort.c: the process lives on without what that thread held.
 */
#include "common/log.h"
#include "service/base/thread_state.h"
#include "service/variants/fatal/fatal.h"

#include <pthread.h>

static void concurrent_map_writes(void)
{
    /* Not many lines: each death takes a connection with it, so there are no more than those. */
    log_line(LOG_ERROR,
             "fatal error: concurrent map writes: this thread ends, without Done() and still "
             "holding its connection (fatal=exit_thread)",
             json_pack("{s:I, s:s}", "thread", (json_int_t)thread_state_tid(), "request_id",
                       thread_state_request(NULL)));
    /* FLAW: nobody checks the connection in, the WaitGroup never falls to 0, and the fan-out's last
     * reference is never dropped, so its state is never freed. A restart mends all of it. */
    pthread_exit(NULL);
}

const struct fatal_ops fatal_exit_thread = {concurrent_map_writes};
