/*
 * A YAML file as libyaml's tree of nodes, with checks that refuse what is wrong by file, line and
 * key. As in experiments/lab/yaml_lines.py every scalar is a text, and aliases and second keys are
 * refused.
 *
 * The first refusal counts; what is read after it is of no use. A function that returns false or
 * NULL has refused, unless its comment says otherwise.
 */
#ifndef FLASHOVER_DRILL_CATALOGUE_YAML_FILE_H
#define FLASHOVER_DRILL_CATALOGUE_YAML_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>

#define YAML_WHY_SIZE 300

struct yaml_file {
    yaml_document_t document;
    char name[128]; /* the last part of its path */
    bool refused;
    char why[YAML_WHY_SIZE]; /* "NAME:LINE: what is wrong" */
};

/* Reads the file, whose one document must be a table. yaml_file_close() in any case. */
bool yaml_file_open(struct yaml_file *file, const char *path) __attribute__((warn_unused_result));
void yaml_file_close(struct yaml_file *file);

/* The document's table. */
const yaml_node_t *yaml_file_root(struct yaml_file *file);

/* Refuses for what is wrong at `node`, or, with a key, at the table's entry of that key. Returns
 * false. */
bool yaml_refuse(struct yaml_file *file, const yaml_node_t *node, const char *key,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The value of a key, NULL where the table has none: that is no refusal. */
const yaml_node_t *yaml_value(struct yaml_file *file, const yaml_node_t *table, const char *key);

/* Whether `node` is a table whose keys are all among `keys`, which ends with NULL. `name` is what a
 * refusal calls it. */
bool yaml_is_table(struct yaml_file *file, const yaml_node_t *node, const char *name,
                   const char *const keys[]) __attribute__((warn_unused_result));

/* A scalar's text; NULL for anything else, which is no refusal. Lives as long as the file. */
const char *yaml_scalar(const yaml_node_t *node);

/* A key's text, which must be there and not be empty. */
const char *yaml_text(struct yaml_file *file, const yaml_node_t *table, const char *name,
                      const char *key);

/* A key's number, min..max. Where the key is missing *number stays. */
bool yaml_number(struct yaml_file *file, const yaml_node_t *table, const char *name,
                 const char *key, double min, double max, double *number)
    __attribute__((warn_unused_result));

/* The index of a key's text among `choices`, which ends with NULL; -1: refused. */
int yaml_choice(struct yaml_file *file, const yaml_node_t *table, const char *name, const char *key,
                const char *const choices[]);

/* How many entries a list has; -1, and no refusal, for anything else. */
int yaml_list_size(const yaml_node_t *node);
const yaml_node_t *yaml_list_entry(struct yaml_file *file, const yaml_node_t *list, int index);

#endif
