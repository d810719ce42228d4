/* A pool over the stub, and threads that check out of it. */
#ifndef FLASHOVER_TESTS_SUPPORT_POOL_FIXTURE_H
#define FLASHOVER_TESTS_SUPPORT_POOL_FIXTURE_H

#include "tests/support/support.h"

#include "service/pool/pool.h"
#include "service/variants/admission/admission.h"
#include "tests/support/stub_connector.h"

#include <stdatomic.h>

struct fixture {
    struct stub stub;
    struct db_pool *pool;
};

/* As in the service, but over the stub and with other limits. */
struct db_pool_config make_config(struct stub *stub, unsigned max_size, unsigned max_connecting);

/* Opens the pool and makes it ready; the stub is initialised. */
void open_with(struct fixture *fixture, const struct db_pool_config *config);

/* The same, stub and all. */
void open_pool(struct fixture *fixture, unsigned max_size, unsigned max_connecting,
               int64_t drain_ms);

/* Ends a test: nothing may be checked out or open. */
void close_pool(struct fixture *fixture);

/* A checkout with ample time. */
struct db_checkout in_time(void);

/* Checks out, or fails the test. */
struct db_slot *checkout(struct fixture *fixture);

/* A thread that checks out, and checks in after hold_ms, or if that is 0 after leave(). */
struct customer {
    struct fixture *fixture;
    struct db_checkout request;
    int64_t hold_ms;
    pthread_t thread;
    _Atomic int served; /* 0: waiting; from 1: its turn; -1: failed */
    _Atomic bool give_back;
    struct failure failure;
    int64_t waited_ns;
};

/* Counts the customers served; the test sets it to 0. */
extern _Atomic int turns;

void start_customer(struct customer *customer, struct fixture *fixture);

/* Starts a customer and returns when it stands in the queue as the `place`th. */
void queue_up(struct customer *customer, struct fixture *fixture, unsigned place);

/* Makes the customer give its connection back, and joins its thread. */
void leave(struct customer *customer);

#endif
