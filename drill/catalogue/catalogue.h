/*
 * All scenarios that can be drilled, and the house: read once, at the start. A broken file is
 * reported, and the others load.
 */
#ifndef FLASHOVER_DRILL_CATALOGUE_CATALOGUE_H
#define FLASHOVER_DRILL_CATALOGUE_CATALOGUE_H

#include "drill/catalogue/house.h"
#include "drill/catalogue/scenario.h"

#include <stdio.h>

#define CATALOGUE_MAX 64

struct catalogue {
    struct house house;
    struct scenario *scenarios[CATALOGUE_MAX]; /* by name; those with a drill */
    unsigned count;
    unsigned broken; /* files that were refused */
};

/* Reads `folder`/house.yaml and `folder`/scenarios/NAME.yaml. Each refusal is a line on `err`.
 * False: there is no house, or no scenario that can be drilled. catalogue_close() in any case. */
bool catalogue_open(struct catalogue *catalogue, const char *folder, FILE *err)
    __attribute__((warn_unused_result));
void catalogue_close(struct catalogue *catalogue);

/* The scenario of this name, or NULL. */
const struct scenario *catalogue_find(const struct catalogue *catalogue, const char *name);

#endif
