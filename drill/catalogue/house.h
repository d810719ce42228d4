/*
 * experiments/house.yaml: the settings that all drills share.
 */
#ifndef FLASHOVER_DRILL_CATALOGUE_HOUSE_H
#define FLASHOVER_DRILL_CATALOGUE_HOUSE_H

#include "drill/catalogue/yaml_file.h"

#define HOUSE_PAIRS 12

struct house {
    double rate, items, timeout_s; /* the load; callers do not retry */
    struct {
        const char *name;
        double value;
    } settings[HOUSE_PAIRS];
    int setting_count;
    struct {
        const char *name, *value;
    } toggles[HOUSE_PAIRS];
    int toggle_count;
    double role_limit; /* sessions of the service's role */
    double healthy_min_s, healthy_max_s;
    double limit_s; /* from the page to the end of time */
    struct yaml_file file;
};

/* False: file.why says what is wrong. house_close() in any case. */
bool house_open(struct house *house, const char *path) __attribute__((warn_unused_result));
void house_close(struct house *house);

/* Replaces what a scenario's table says in place of `house`, a copy of the one that all share:
 * load, settings, toggles, role_limit. Its texts live as long as both files. */
bool house_override(struct house *house, struct yaml_file *file, const yaml_node_t *node)
    __attribute__((warn_unused_result));

/* A setting's value; 0 where the house has none. */
double house_setting(const struct house *house, const char *name);

#endif
