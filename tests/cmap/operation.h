/* Executes single operations of a scenario. */
#ifndef FLASHOVER_TESTS_CMAP_OPERATION_H
#define FLASHOVER_TESTS_CMAP_OPERATION_H

#include "tests/cmap/session.h"

/* Executes the operation in the calling thread, whoever it is meant for. An error of CMAP's goes
 * into *error, which is left alone otherwise; all else that goes wrong is noted in session->why. */
void cmap_operation_execute(struct cmap_session *session, const struct cmap_operation *operation,
                            struct cmap_error *error);

#endif
