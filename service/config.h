/*
 * The service's options, of the rows of service/options.tbl.h.
 */
#ifndef FLASHOVER_SERVICE_CONFIG_H
#define FLASHOVER_SERVICE_CONFIG_H

#include "common/options.h"
#include "service/pool/pool.h"
#include "service/toggles/settings.h"
#include "service/toggles/toggles.h"

struct config {
    /* A field for each option: int64_t, double or const char *, which is NULL where a text has
     * neither a value nor a default. */
#define OPTION_FIELD_INTEGER                                       int64_t
#define OPTION_FIELD_REAL                                          double
#define OPTION_FIELD_TEXT                                          const char *
#define OPTION_FIELD_CHOICE                                        const char *
#define OPTION(KIND, name, field, fallback, range, argument, help) OPTION_FIELD_##KIND field;
#include "service/options.tbl.h"
    const char *toggles[TOGGLES];
    enum value_origin toggle_origins[TOGGLES];
    enum value_origin setting_origins[SETTINGS];

    /* From admin_token_file; NULL: callers need none. Lives as long as the process. */
    const char *admin_token;
    char pool_name[256]; /* HOST:PORT of database_url */
    /* The option whose password stands on the command line, or NULL. */
    const char *shown_password;
};

/* Reads the options. On anything but OPTIONS_RUN one line on stderr gives the reason, or --help was
 * printed. What is no option is left in argv[1..*positional_count]. */
enum options_outcome config_read(struct config *config, int argc, char **argv,
                                 int *positional_count);

/* What only serving needs: checks the addresses and the options against each other, and reads the
 * token. False: one line on stderr gives the reason, and the exit status is 2. */
bool config_check_serving(struct config *config) __attribute__((warn_unused_result));

/* Puts the stored settings in force: an object as store_read() returns it, or NULL where the
 * database could not be asked. Fills `settings`, and the fields of those options. */
void config_take_settings(struct config *config, const json_t *stored, struct settings *settings);

/* The pool as the service has it, but for its connector. */
struct db_pool_config config_pool(const struct config *config);

#endif
