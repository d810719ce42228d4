/*
 * The service's commands beside serving.
 */
#ifndef FLASHOVER_SERVICE_COMMANDS_H
#define FLASHOVER_SERVICE_COMMANDS_H

#include "service/config.h"

/* `service toggle NAME=VALUE…`: writes to the database, so it works while the service is down.
 * Without arguments it lists what is stored. Returns the exit status: 0; 1 when the database could
 * not be reached; 2 for wrong arguments. */
int command_toggle(const struct config *config, int count, char *const *assignments);

/* `service set NAME=VALUE…`: the same with settings; NAME= removes the stored value, so that the
 * start option counts again. */
int command_set(const struct config *config, int count, char *const *assignments);

/* `service healthcheck`: 0 when the service of --listen answers /readyz with 200 within two
 * seconds, else 1. */
int command_healthcheck(const struct config *config);

#endif
