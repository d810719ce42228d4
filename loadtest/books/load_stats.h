/*
 * What a run measures. One per worker thread, filled by it alone, merged after join.
 */
#ifndef FLASHOVER_LOADTEST_BOOKS_LOAD_STATS_H
#define FLASHOVER_LOADTEST_BOOKS_LOAD_STATS_H

#include "common/histogram.h"
#include "loadtest/books/error_table.h"
#include "loadtest/books/ledger.h"
#include "loadtest/books/recent.h"
#include "loadtest/books/seconds.h"
#include "loadtest/books/timeline.h"
#include "loadtest/check/feed_check.h"

/* What tells whether the generator itself was the bottleneck. */
struct generator_stats {
    int64_t cpu_ns;              /* of all its threads */
    double busiest_share;        /* of one core, by the thread that used it most; 0..1 */
    uint64_t out_of_descriptors; /* connects that failed for want of a descriptor or of memory */
    uint64_t out_of_ports;       /* and for want of a local port */
};

struct load_stats {
    struct ledger ledger;
    struct error_table errors;
    struct feed_defects defects;
    /* Response time: from the intended start to the whole answer, whatever its status. Every
     * scheduled request is in it. One that got no answer stands at its timeout, one in flight when
     * the run was stopped at its age: a lower bound each, from which on percentiles are at least
     * what they say. */
    struct histogram response_all;
    int64_t censored_from_ns;     /* the smallest such bound; CLOCK_NEVER: all were answered */
    struct histogram response_ok; /* the same of right answers alone: survivors */
    /* Service time: from the first byte sent to the whole answer; answered requests only. */
    struct histogram service;
    struct histogram first_byte; /* from the first byte sent to the first one back; likewise */
    struct histogram connect;    /* what a new connection took */
    /* How late the generator itself was: from the intended start to taking the request up. */
    struct histogram lag;
    struct timeline timeline; /* times are after the run's start */
    struct recent recent;     /* the same of the last second; not merged */
    struct seconds seconds;   /* the same by seconds */
    struct generator_stats generator;
};

/* How a scheduled request ended. Times are monotonic, 0 where the moment never came. */
struct request_end {
    enum outcome outcome;
    int64_t start_ns; /* of the run */
    int64_t intended_ns;
    int64_t sent_ns;
    int64_t first_byte_ns;
    int64_t at_ns;
    int64_t timeout_ns; /* duration */
    bool is_probe;
};

/* For a run of span_ns, until its last request has ended. False without memory. */
bool load_stats_init(struct load_stats *stats, int64_t span_ns) __attribute__((warn_unused_result));
void load_stats_destroy(struct load_stats *stats);

/* Both must have been made for the same span. */
void load_stats_merge(struct load_stats *into, const struct load_stats *from);

/* Whether this percentile of response_all is only known to be at least what it says: unanswered
 * requests stand at its value or below, and can but move it up. */
bool load_stats_is_censored(const struct load_stats *stats, double percent);

/* Notes what the calling thread, which sends since start_ns, has used of its CPU. Called when the
 * last request has been sent, and at the end: the share is that of the sending, which the wait for
 * the last answers would thin out. Within the first second it is not taken. */
void load_stats_measure_cpu(struct load_stats *stats, int64_t start_ns);

/* Books the end of a request, dropped ones included. */
void load_stats_end(struct load_stats *stats, const struct request_end *end);

#endif
