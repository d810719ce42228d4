#include "drill/catalogue/house.h"

#include "common/check.h"

static bool read_load(struct yaml_file *file, const yaml_node_t *node, struct house *house)
{
    static const char *const keys[] = {"rate", "items", "timeout_s", NULL};
    return yaml_is_table(file, node, "load", keys) &&
           yaml_number(file, node, "load", "rate", 1, 1000, &house->rate) &&
           yaml_number(file, node, "load", "items", 1, 1000, &house->items) &&
           yaml_number(file, node, "load", "timeout_s", 0.1, 60, &house->timeout_s) &&
           ((house->rate > 0 && house->items > 0 && house->timeout_s > 0) ||
            yaml_refuse(file, node, NULL, "load: rate, items or timeout_s is missing"));
}

/* Calls `take` for each key and text of a table. */
static bool read_pairs(struct yaml_file *file, const yaml_node_t *root, const char *name,
                       bool (*take)(struct house *house, const char *key, const char *text),
                       struct house *house)
{
    const yaml_node_t *node = yaml_value(file, root, name);
    if (!node || node->type != YAML_MAPPING_NODE)
        return yaml_refuse(file, root, name, "%s must be a table", name);
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const char *key = yaml_scalar(yaml_document_get_node(&file->document, pair->key));
        const char *text = yaml_scalar(yaml_document_get_node(&file->document, pair->value));
        if (!text || !take(house, key, text))
            return yaml_refuse(file, node, key,
                               "%s: %.40s has a value that cannot be, or there are too many", name,
                               key);
    }
    return true;
}

static bool take_setting(struct house *house, const char *key, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    int i = 0;
    while (i < house->setting_count && strcmp(house->settings[i].name, key) != 0)
        i++;
    if (i == HOUSE_PAIRS || end == text || *end || value < 0)
        return false;
    house->settings[i].name = key;
    house->settings[i].value = value;
    house->setting_count = i == house->setting_count ? i + 1 : house->setting_count;
    return true;
}

static bool take_toggle(struct house *house, const char *key, const char *text)
{
    int i = 0;
    while (i < house->toggle_count && strcmp(house->toggles[i].name, key) != 0)
        i++;
    if (i == HOUSE_PAIRS || !*text)
        return false;
    house->toggles[i].name = key;
    house->toggles[i].value = text;
    house->toggle_count = i == house->toggle_count ? i + 1 : house->toggle_count;
    return true;
}

bool house_override(struct house *house, struct yaml_file *file, const yaml_node_t *node)
{
    static const char *const keys[] = {"load", "settings", "toggles", "role_limit", NULL};
    if (!yaml_is_table(file, node, "house", keys) ||
        !yaml_number(file, node, "house", "role_limit", 1, 1000, &house->role_limit))
        return false;
    const yaml_node_t *load = yaml_value(file, node, "load");
    if (load && !read_load(file, load, house))
        return false;
    if (yaml_value(file, node, "settings") &&
        !read_pairs(file, node, "settings", take_setting, house))
        return false;
    return !yaml_value(file, node, "toggles") ||
           read_pairs(file, node, "toggles", take_toggle, house);
}

static bool read_healthy(struct yaml_file *file, const yaml_node_t *root, struct house *house)
{
    const yaml_node_t *list = yaml_value(file, root, "healthy_s");
    const char *least = NULL;
    const char *most = NULL;
    if (yaml_list_size(list) == 2) {
        least = yaml_scalar(yaml_list_entry(file, list, 0));
        most = yaml_scalar(yaml_list_entry(file, list, 1));
    }
    house->healthy_min_s = least ? strtod(least, NULL) : 0;
    house->healthy_max_s = most ? strtod(most, NULL) : 0;
    return (house->healthy_min_s >= 10 && house->healthy_max_s >= house->healthy_min_s) ||
           yaml_refuse(file, root, "healthy_s", "healthy_s must be [least, most], 10 at least");
}

bool house_open(struct house *house, const char *path)
{
    static const char *const keys[] = {"load",      "settings", "toggles", "role_limit",
                                       "healthy_s", "limit_s",  NULL};
    struct yaml_file *file = &house->file;
    *house = (struct house){0};
    if (!yaml_file_open(file, path))
        return false;
    const yaml_node_t *root = yaml_file_root(file);
    return yaml_is_table(file, root, "the file", keys) &&
           read_load(file, yaml_value(file, root, "load"), house) &&
           read_pairs(file, root, "settings", take_setting, house) &&
           read_pairs(file, root, "toggles", take_toggle, house) &&
           yaml_number(file, root, "the file", "role_limit", 1, 1000, &house->role_limit) &&
           yaml_number(file, root, "the file", "limit_s", 60, 14000, &house->limit_s) &&
           read_healthy(file, root, house) &&
           ((house->role_limit > 0 && house->limit_s > 0) ||
            yaml_refuse(file, root, NULL, "role_limit or limit_s is missing"));
}

void house_close(struct house *house)
{
    yaml_file_close(&house->file);
}

double house_setting(const struct house *house, const char *name)
{
    for (int i = 0; i < house->setting_count; i++)
        if (strcmp(house->settings[i].name, name) == 0)
            return house->settings[i].value;
    return 0;
}
