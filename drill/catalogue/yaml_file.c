#include "drill/catalogue/yaml_file.h"

#include "common/check.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>

__attribute__((format(printf, 3, 0))) static void write_why(struct yaml_file *file, size_t line,
                                                            const char *format, va_list arguments)
{
    if (file->refused)
        return;
    file->refused = true;
    int length = snprintf(file->why, sizeof file->why, "%s:%zu: ", file->name, line);
    if (length > 0 && (size_t)length < sizeof file->why)
        vsnprintf(file->why + length, sizeof file->why - (size_t)length, format, arguments);
    for (char *c = file->why; *c; c++)
        if (*c == '\n')
            *c = ' ';
}

__attribute__((format(printf, 3, 4))) static bool refuse_line(struct yaml_file *file, size_t line,
                                                              const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_why(file, line, format, arguments);
    va_end(arguments);
    return false;
}

static const yaml_node_t *node_at(struct yaml_file *file, int index)
{
    return yaml_document_get_node(&file->document, index);
}

static const yaml_node_pair_t *find_pair(struct yaml_file *file, const yaml_node_t *table,
                                         const char *key)
{
    if (!table || table->type != YAML_MAPPING_NODE)
        return NULL;
    for (const yaml_node_pair_t *pair = table->data.mapping.pairs.start;
         pair < table->data.mapping.pairs.top; pair++) {
        const char *text = yaml_scalar(node_at(file, pair->key));
        if (text && strcmp(text, key) == 0)
            return pair;
    }
    return NULL;
}

static size_t line_of(const yaml_node_t *node)
{
    return node ? node->start_mark.line + 1 : 1;
}

bool yaml_refuse(struct yaml_file *file, const yaml_node_t *node, const char *key,
                 const char *format, ...)
{
    const yaml_node_pair_t *pair = key ? find_pair(file, node, key) : NULL;
    va_list arguments;
    va_start(arguments, format);
    write_why(file, line_of(pair ? node_at(file, pair->key) : node), format, arguments);
    va_end(arguments);
    return false;
}

/* libyaml's tree no longer tells an alias from what it stands for, so the events are asked. */
static bool has_no_alias(struct yaml_file *file, FILE *stream)
{
    yaml_parser_t parser;
    yaml_event_t event;
    bool more = true;
    if (!yaml_parser_initialize(&parser))
        return refuse_line(file, 1, "out of memory");
    yaml_parser_set_input_file(&parser, stream);
    /* what cannot be parsed is refused by the loader, in the same words */
    while (more && !file->refused && yaml_parser_parse(&parser, &event)) {
        if (event.type == YAML_ALIAS_EVENT)
            refuse_line(file, event.start_mark.line + 1,
                        "*%s: write it out, there are no aliases here", event.data.alias.anchor);
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return !file->refused;
}

static bool load(struct yaml_file *file, FILE *stream)
{
    yaml_parser_t parser;
    yaml_document_t second = {0};
    if (!yaml_parser_initialize(&parser))
        return refuse_line(file, 1, "out of memory");
    yaml_parser_set_input_file(&parser, stream);
    if (!yaml_parser_load(&parser, &file->document))
        refuse_line(file, parser.problem_mark.line + 1, "%s",
                    parser.problem ? parser.problem : "out of memory");
    else if (yaml_parser_load(&parser, &second) && yaml_document_get_root_node(&second))
        refuse_line(file, second.start_mark.line + 1, "expected a single document");
    yaml_document_delete(&second);
    yaml_parser_delete(&parser);
    return !file->refused;
}

/* Keys are texts, and each is there once. */
static bool check_keys(struct yaml_file *file, const yaml_node_t *table)
{
    for (const yaml_node_pair_t *pair = table->data.mapping.pairs.start;
         pair < table->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = node_at(file, pair->key);
        const char *text = yaml_scalar(key);
        if (!text)
            return refuse_line(file, line_of(key), "a key must be a text");
        const yaml_node_pair_t *first = find_pair(file, table, text);
        if (first != pair)
            return refuse_line(file, line_of(key), "%.60s is there twice, also in line %zu", text,
                               line_of(node_at(file, first->key)));
    }
    return true;
}

static bool check_nodes(struct yaml_file *file)
{
    const yaml_node_t *root = yaml_document_get_root_node(&file->document);
    if (!root || root->type != YAML_MAPPING_NODE)
        return refuse_line(file, 1, "the file must be a table");
    for (const yaml_node_t *node = file->document.nodes.start; node < file->document.nodes.top;
         node++)
        if (node->type == YAML_MAPPING_NODE && !check_keys(file, node))
            return false;
    return true;
}

bool yaml_file_open(struct yaml_file *file, const char *path)
{
    const char *slash = strrchr(path, '/');
    *file = (struct yaml_file){0};
    snprintf(file->name, sizeof file->name, "%s", slash ? slash + 1 : path);
    FILE *stream = fopen(path, "rbe");
    if (!stream)
        return refuse_line(file, 1, "%s", strerror(errno));
    bool ok = has_no_alias(file, stream);
    rewind(stream);
    ok = ok && load(file, stream) && check_nodes(file);
    fclose(stream);
    return ok;
}

void yaml_file_close(struct yaml_file *file)
{
    yaml_document_delete(&file->document);
}

const yaml_node_t *yaml_file_root(struct yaml_file *file)
{
    return yaml_document_get_root_node(&file->document);
}

const yaml_node_t *yaml_value(struct yaml_file *file, const yaml_node_t *table, const char *key)
{
    const yaml_node_pair_t *pair = find_pair(file, table, key);
    return pair ? node_at(file, pair->value) : NULL;
}

bool yaml_is_table(struct yaml_file *file, const yaml_node_t *node, const char *name,
                   const char *const keys[])
{
    if (!node || node->type != YAML_MAPPING_NODE)
        return yaml_refuse(file, node, NULL, "%s must be a table", name);
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const char *key = yaml_scalar(node_at(file, pair->key));
        size_t i = 0;
        while (keys[i] && strcmp(keys[i], key) != 0)
            i++;
        if (!keys[i])
            return yaml_refuse(file, node, key, "%s: unknown key '%.60s'", name, key);
    }
    return true;
}

const char *yaml_scalar(const yaml_node_t *node)
{
    return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

const char *yaml_text(struct yaml_file *file, const yaml_node_t *table, const char *name,
                      const char *key)
{
    const char *text = yaml_scalar(yaml_value(file, table, key));
    if (text && text[strspn(text, " \t\n")])
        return text;
    yaml_refuse(file, table, key, "%s: %s is missing, or no text", name, key);
    return NULL;
}

bool yaml_number(struct yaml_file *file, const yaml_node_t *table, const char *name,
                 const char *key, double min, double max, double *number)
{
    const yaml_node_t *node = yaml_value(file, table, key);
    const char *text = yaml_scalar(node);
    char *end = NULL;
    if (!node)
        return true;
    double value = text && strspn(text, "0123456789.-") == strlen(text) ? strtod(text, &end) : NAN;
    if (end && end != text && !*end && value >= min && value <= max) {
        *number = value;
        return true;
    }
    return yaml_refuse(file, table, key, "%s: %s must be a number in the range %g..%g", name, key,
                       min, max);
}

static void list_choices(const char *const choices[], char *out, size_t size)
{
    size_t length = 0;
    *out = '\0';
    for (size_t i = 0; choices[i] && length < size; i++) {
        int more = snprintf(out + length, size - length, i > 0 ? ", %s" : "%s", choices[i]);
        length += more > 0 ? (size_t)more : 0;
    }
}

int yaml_choice(struct yaml_file *file, const yaml_node_t *table, const char *name, const char *key,
                const char *const choices[])
{
    char listed[YAML_WHY_SIZE / 2];
    const char *text = yaml_scalar(yaml_value(file, table, key));
    for (int i = 0; text && choices[i]; i++)
        if (strcmp(choices[i], text) == 0)
            return i;
    list_choices(choices, listed, sizeof listed);
    yaml_refuse(file, table, key, "%s: %s must be one of %s", name, key, listed);
    return -1;
}

int yaml_list_size(const yaml_node_t *node)
{
    if (!node || node->type != YAML_SEQUENCE_NODE)
        return -1;
    return (int)(node->data.sequence.items.top - node->data.sequence.items.start);
}

const yaml_node_t *yaml_list_entry(struct yaml_file *file, const yaml_node_t *list, int index)
{
    assert(index >= 0 && index < yaml_list_size(list));
    return node_at(file, list->data.sequence.items.start[index]);
}
