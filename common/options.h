/*
 * Options: one table per program, from which arguments and environment are read, --help is printed
 * and docs/configuration.md is checked. `--name value` or `--name=value`; environment
 * FLASHOVER_NAME (upper case, '-' as '_'); the command line beats the environment, which beats the
 * default. Used before threads start.
 */
#ifndef FLASHOVER_COMMON_OPTIONS_H
#define FLASHOVER_COMMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum option_kind {
    OPTION_INTEGER,  /* value: int64_t, min..max */
    OPTION_REAL,     /* value: double, min..max */
    OPTION_DURATION, /* value: double, seconds, min..max; "2", "1.5s", "200ms", "2m", "1h" */
    OPTION_TEXT,     /* value: const char *, any text; NULL when neither given nor defaulted */
    OPTION_CHOICE,   /* value: const char *, one of `choices` */
    OPTION_LIST,     /* value: struct option_list, any texts; may be given several times */
};

#define OPTION_LIST_MAX 32

struct option_list {
    const char *values[OPTION_LIST_MAX];
    size_t count;
};

enum option_origin { OPTION_FROM_DEFAULT, OPTION_FROM_ENVIRONMENT, OPTION_FROM_COMMAND_LINE };

struct option {
    const char *name; /* without the dashes */
    enum option_kind kind;
    void *value;          /* where the value goes, of the kind's type */
    const char *fallback; /* the default, as a user would write it; NULL: none (TEXT, LIST) */
    double min, max;      /* INTEGER, REAL, DURATION */
    const char *choices;  /* CHOICE: "batched|per_item" */
    const char *argument; /* what --help calls the value */
    const char *help;
    enum option_origin origin; /* filled by options_parse */
};

struct options_program {
    const char *name;  /* as typed: "build/service" */
    const char *usage; /* the lines of --help above the options */
    struct option *table;
    size_t count;
};

enum options_outcome {
    OPTIONS_RUN,        /* all values are set */
    OPTIONS_EXIT_OK,    /* --help or --version was answered: exit with 0 */
    OPTIONS_EXIT_USAGE, /* one line on `err` named the option, the value and the range: exit with 2
                         */
};

/* Reads defaults, environment and argv[1..]. Values of TEXT, CHOICE and LIST point into argv, the
 * environment or the table. What is no option is moved to the front of argv (argv[1..]) and counted
 * in *positional_count; "--" ends the options. */
enum options_outcome options_parse(const struct options_program *program, int argc, char **argv,
                                   int *positional_count, FILE *out, FILE *err);

/* Gives each option of a table its default, whatever the environment says. */
void options_set_defaults(struct option *table, size_t count);

/* Sets an option as the command line does; a LIST gets one more. False, and nothing is changed,
 * when `text` is not in its range. The value may point into `text`. */
bool options_set(struct option *option, const char *text);

/* The range as --help and errors name it: "1..1000", "0..60 s", "auto|feed|status", "text". */
void options_range(const struct option *option, char *out, size_t size);

/* Splits "HOST:PORT", "[V6]:PORT" (PORT 0..65535) into host (at least 256 bytes) and port. False
 * where it is neither. */
bool options_split_address(const char *address, char *host, size_t host_size, uint16_t *port)
    __attribute__((warn_unused_result));

/* Whether a host is numeric loopback, or the name that always is. */
bool options_is_loopback(const char *host);

/* Reads a duration as OPTION_DURATION does ("2", "1.5s", "200ms", "2m", "1h"), min_s..max_s. */
bool options_parse_duration(const char *text, double min_s, double max_s, double *seconds);

/* The version that --version prints. */
extern const char *const options_version;

#endif
