/*
 * The toggle `admission`: whether a waiter whose deadline has passed is still handed a connection.
 */
#ifndef FLASHOVER_SERVICE_VARIANTS_ADMISSION_ADMISSION_H
#define FLASHOVER_SERVICE_VARIANTS_ADMISSION_ADMISSION_H

#include "service/pool/pool.h"

struct admission_ops {
    db_pool_admit *admit;
};

extern const struct admission_ops admission_deadline;
extern const struct admission_ops admission_blind;

#endif
