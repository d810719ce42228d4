/*
 * Rows of option tables, one an option: initialisers of struct option (common/options.h). `value_`
 * is where the value goes; a table that is copied for each caller leaves it NULL.
 */
#ifndef FLASHOVER_COMMON_OPTION_ROW_H
#define FLASHOVER_COMMON_OPTION_ROW_H

#include "common/options.h"

#define NUMBER_ROW(kind_, name_, value_, fallback_, min_, max_, argument_, help_)                  \
    {                                                                                              \
        .name = (name_), .kind = OPTION_##kind_, .value = (value_), .fallback = (fallback_),       \
        .min = (min_), .max = (max_), .argument = (argument_), .help = (help_)                     \
    }

#define TEXT_ROW(name_, value_, fallback_, argument_, help_)                                       \
    {                                                                                              \
        .name = (name_), .kind = OPTION_TEXT, .value = (value_), .fallback = (fallback_),          \
        .argument = (argument_), .help = (help_)                                                   \
    }

#define CHOICE_ROW(name_, value_, fallback_, choices_, argument_, help_)                           \
    {                                                                                              \
        .name = (name_), .kind = OPTION_CHOICE, .value = (value_), .fallback = (fallback_),        \
        .choices = (choices_), .argument = (argument_), .help = (help_)                            \
    }

#define LIST_ROW(name_, value_, argument_, help_)                                                  \
    {                                                                                              \
        .name = (name_), .kind = OPTION_LIST, .value = (value_), .argument = (argument_),          \
        .help = (help_)                                                                            \
    }

/* Every command that writes its result as JSON has it. */
#define JSON_ROW(value_)                                                                           \
    TEXT_ROW("json", value_, NULL, "FILE", "where the result goes as JSON, too")

#endif
