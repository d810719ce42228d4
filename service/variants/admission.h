/*
 * The toggle `admission`: whether a waiter whose deadline has passed is still handed a connection.
 */
#ifndef FLASHOVER_ADMISSION_H
#define FLASHOVER_ADMISSION_H

#include "service/db_pool.h"

struct admission_ops {
    const char *name;
    db_pool_admit *admit;
};

extern const struct admission_ops admission_deadline;
extern const struct admission_ops admission_blind;

#endif
