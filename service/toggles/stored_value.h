/*
 * What toggles and settings share: a value's origin, and the log line for a stored row that makes
 * no sense.
 */
#ifndef FLASHOVER_SERVICE_TOGGLES_STORED_VALUE_H
#define FLASHOVER_SERVICE_TOGGLES_STORED_VALUE_H

enum value_origin { VALUE_FROM_DEFAULT, VALUE_FROM_OPTION, VALUE_FROM_DATABASE };

/* "default", "option", "database" */
extern const char *const value_origin_names[];

/* Warns of a row: `kind` is "toggle" or "setting". `allowed`: NULL where the name is unknown. A
 * table can hold any number of rows, of any size, and all are read after each change: so few lines
 * a second are written, each of them short. */
void stored_value_warn(const char *message, const char *kind, const char *name, const char *value,
                       const char *allowed);

#endif
