/* A pool over the stub, and threads that check out of it. */
#ifndef FLASHOVER_TEST_POOL_FIXTURE_H
#define FLASHOVER_TEST_POOL_FIXTURE_H

#include "tests/unit/support.h"

#include "service/db_pool.h"
#include "service/variants/admission.h"
#include "tests/unit/stub_connector.h"

#include <stdatomic.h>

struct fixture {
    struct stub stub;
    struct db_pool *pool;
};

/* As the service has it, but for its bounds. */
struct db_pool_config make_config(struct stub *stub, unsigned max_size, unsigned max_connecting);

/* Opens the pool and makes it ready; the stub is initialised. */
void open_with(struct fixture *fixture, const struct db_pool_config *config);

/* The same, stub and all. */
void open_pool(struct fixture *fixture, unsigned max_size, unsigned max_connecting,
               int64_t drain_ms);

/* Every test ends here: nothing checked out, nothing open. */
void close_pool(struct fixture *fixture);

/* A checkout that will have enough time. */
struct db_checkout in_time(void);

/* Checks out, or fails the test. */
struct db_lease *checkout(struct fixture *fixture);

/* A thread that checks out, and holds for so long, or else until it is told to go on. */
struct customer {
    struct fixture *fixture;
    struct db_checkout request;
    int64_t hold_ms;
    pthread_t thread;
    _Atomic int served; /* 0 waiting, otherwise its turn from 1, or -1: failed */
    _Atomic bool give_back;
    struct failure failure;
    int64_t waited_ns;
};

/* Counts who is served; to be set to 0 by the test. */
extern _Atomic int turns;

void start_customer(struct customer *customer, struct fixture *fixture);

/* Starts a customer and returns when it stands in the queue as the `place`th. */
void queue_up(struct customer *customer, struct fixture *fixture, unsigned place);

/* It gives its connection back, and its thread ends. */
void leave(struct customer *customer);

#endif
