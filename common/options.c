#include "common/options.h"

#include "common/check.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>

const char *const options_version = "0.1.0";

#define ENVIRONMENT_NAME_SIZE 128

static void environment_name(const char *option, char out[ENVIRONMENT_NAME_SIZE])
{
    int at = snprintf(out, ENVIRONMENT_NAME_SIZE, "FLASHOVER_");
    assert((size_t)at + strlen(option) < ENVIRONMENT_NAME_SIZE);
    for (; *option; option++)
        out[at++] = *option == '-' ? '_' : (char)toupper((unsigned char)*option);
    out[at] = '\0';
}

void options_range(const struct option *option, char *out, size_t size)
{
    if (option->kind == OPTION_CHOICE)
        snprintf(out, size, "%s", option->choices);
    else if (option->kind == OPTION_TEXT || option->kind == OPTION_LIST)
        snprintf(out, size, "text");
    else
        snprintf(out, size, "%.10g..%.10g%s", option->min, option->max,
                 option->kind == OPTION_DURATION ? " s" : "");
}

static bool is_choice(const char *choices, const char *value)
{
    size_t length = strchr(value, '|') ? 0 : strlen(value);
    for (const char *at = choices; length > 0 && at; at = strchr(at, '|')) {
        at += *at == '|';
        if (strncmp(at, value, length) == 0 && (at[length] == '|' || at[length] == '\0'))
            return true;
    }
    return false;
}

static bool parse_integer(const char *text, double min, double max, int64_t *out)
{
    const char *digits = *text == '-' ? text + 1 : text;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || !isdigit((unsigned char)*digits) || *end || (double)value < min ||
        (double)value > max)
        return false;
    *out = value;
    return true;
}

/* The factor of a duration's unit to seconds; 0 for what is no unit. */
static double duration_unit(const char *unit)
{
    if (*unit == '\0' || strcmp(unit, "s") == 0)
        return 1;
    if (strcmp(unit, "ms") == 0)
        return 1e-3;
    if (strcmp(unit, "m") == 0)
        return 60;
    return strcmp(unit, "h") == 0 ? 3600 : 0;
}

static bool parse_real(const struct option *option, const char *text, double *out)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (errno || end == text || isspace((unsigned char)*text) || !isfinite(value))
        return false;
    if (option->kind == OPTION_DURATION)
        value *= duration_unit(end);
    else if (*end)
        return false;
    bool unit_ok = option->kind != OPTION_DURATION || duration_unit(end) > 0;
    if (!unit_ok || value < option->min || value > option->max)
        return false;
    *out = value;
    return true;
}

/* Values of the command line replace those of the environment, and add up among themselves. */
static bool list_add(struct option *option, const char *text, enum option_origin origin)
{
    struct option_list *list = option->value;
    if (origin != option->origin)
        list->count = 0;
    if (list->count == OPTION_LIST_MAX)
        return false;
    list->values[list->count++] = text;
    return true;
}

static bool option_set(struct option *option, const char *text, enum option_origin origin)
{
    bool ok = true;
    switch (option->kind) {
    case OPTION_INTEGER:
        ok = parse_integer(text, option->min, option->max, option->value);
        break;
    case OPTION_REAL:
    case OPTION_DURATION:
        ok = parse_real(option, text, option->value);
        break;
    case OPTION_CHOICE:
        ok = is_choice(option->choices, text);
        if (ok)
            *(const char **)option->value = text;
        break;
    case OPTION_LIST:
        ok = list_add(option, text, origin);
        break;
    case OPTION_TEXT:
        *(const char **)option->value = text;
        break;
    }
    if (ok)
        option->origin = origin;
    return ok;
}

static void complain(const struct options_program *program, const struct option *option,
                     const char *prefix, const char *name, const char *value, FILE *err)
{
    char range[256];
    options_range(option, range, sizeof range);
    fprintf(err, "%s: %s%s: '%s' is not in the range %s\n", program->name, prefix, name, value,
            range);
}

bool options_set(struct option *option, const char *text)
{
    return option_set(option, text, OPTION_FROM_COMMAND_LINE);
}

void options_set_defaults(struct option *table, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct option *option = &table[i];
        option->origin = OPTION_FROM_DEFAULT;
        if (option->fallback) {
            bool ok = option_set(option, option->fallback, OPTION_FROM_DEFAULT);
            assert(ok);
        } else if (option->kind == OPTION_TEXT) {
            *(const char **)option->value = NULL;
        } else {
            assert(option->kind == OPTION_LIST);
            ((struct option_list *)option->value)->count = 0;
        }
    }
}

static bool set_environment(const struct options_program *program, FILE *err)
{
    for (size_t i = 0; i < program->count; i++) {
        struct option *option = &program->table[i];
        char variable[ENVIRONMENT_NAME_SIZE];
        environment_name(option->name, variable);
        /* compose passes variables that are not set as empty ones */
        const char *given = getenv(variable);
        if (given && *given && !option_set(option, given, OPTION_FROM_ENVIRONMENT)) {
            complain(program, option, "", variable, given, err);
            return false;
        }
    }
    return true;
}

static void print_help(const struct options_program *program, FILE *out)
{
    fprintf(out, "%s\n\nOptions (each also as environment FLASHOVER_NAME):\n", program->usage);
    for (size_t i = 0; i < program->count; i++) {
        const struct option *option = &program->table[i];
        char range[256];
        char name[64];
        options_range(option, range, sizeof range);
        snprintf(name, sizeof name, "--%s %s", option->name, option->argument);
        fprintf(out, "  %-32s %s (%s; default %s)\n", name, option->help, range,
                option->fallback ? option->fallback : "none");
    }
}

static struct option *find_option(const struct options_program *program, const char *name,
                                  size_t length)
{
    for (size_t i = 0; i < program->count; i++) {
        struct option *option = &program->table[i];
        if (strlen(option->name) == length && strncmp(option->name, name, length) == 0)
            return option;
    }
    return NULL;
}

/* Takes the option at argv[*at]; moves *at over its value when that is an argument of its own. */
static bool take_option(const struct options_program *program, int argc, char **argv, int *at,
                        FILE *err)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    struct option *option = find_option(program, name, length);
    if (!option) {
        fprintf(err, "%s: unknown option '%s' (see --help)\n", program->name, argv[*at]);
        return false;
    }
    const char *value = equals ? equals + 1 : NULL;
    if (!value && *at + 1 < argc)
        value = argv[++*at];
    if (!value) {
        fprintf(err, "%s: --%s needs a value\n", program->name, option->name);
        return false;
    }
    if (!option_set(option, value, OPTION_FROM_COMMAND_LINE)) {
        complain(program, option, "--", option->name, value, err);
        return false;
    }
    return true;
}

enum options_outcome options_parse(const struct options_program *program, int argc, char **argv,
                                   int *positional_count, FILE *out, FILE *err)
{
    bool options_over = false;
    *positional_count = 0;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help(program, out);
            return OPTIONS_EXIT_OK;
        }
        if (strcmp(argv[i], "--version") == 0) {
            fprintf(out, "%s %s\n", program->name, options_version);
            return OPTIONS_EXIT_OK;
        }
    }
    options_set_defaults(program->table, program->count);
    if (!set_environment(program, err))
        return OPTIONS_EXIT_USAGE;
    for (int i = 1; i < argc; i++) {
        if (options_over || strncmp(argv[i], "--", 2) != 0)
            argv[1 + (*positional_count)++] = argv[i];
        else if (argv[i][2] == '\0')
            options_over = true;
        else if (!take_option(program, argc, argv, &i, err))
            return OPTIONS_EXIT_USAGE;
    }
    return OPTIONS_RUN;
}

bool options_parse_duration(const char *text, double min_s, double max_s, double *seconds)
{
    const struct option option = {.kind = OPTION_DURATION, .min = min_s, .max = max_s};
    return parse_real(&option, text, seconds);
}

bool options_is_loopback(const char *host)
{
    struct in_addr v4;
    if (strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0)
        return true;
    return inet_pton(AF_INET, host, &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127;
}

bool options_split_address(const char *address, char *host, size_t host_size, uint16_t *port)
{
    const char *colon = strrchr(address, ':');
    int64_t number;
    if (!colon || colon == address || !parse_integer(colon + 1, 0, 65535, &number) ||
        colon[1] == '-')
        return false;
    const char *from = address;
    const char *to = colon;
    if (*from == '[') {
        if (to[-1] != ']' || !memchr(from, ':', (size_t)(to - from)))
            return false; /* not an IPv6 address in brackets */
        from++;
        to--;
    } else if (memchr(from, ':', (size_t)(to - from))) {
        return false; /* an IPv6 address without brackets */
    }
    size_t length = (size_t)(to - from);
    if (length == 0 || length >= host_size)
        return false;
    memcpy(host, from, length);
    host[length] = '\0';
    *port = (uint16_t)number;
    return true;
}
