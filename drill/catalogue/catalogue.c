#include "drill/catalogue/catalogue.h"

#include "common/check.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>

static int is_yaml(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > 5 && strcmp(entry->d_name + length - 5, ".yaml") == 0;
}

static void read_one(struct catalogue *catalogue, const char *path, FILE *err)
{
    struct scenario *scenario = malloc(sizeof *scenario);
    if (!scenario) {
        fprintf(err, "drill: %s: out of memory\n", path);
        catalogue->broken++;
        return;
    }
    bool ok = scenario_open(scenario, path, &catalogue->house);
    if (!ok)
        fprintf(err, "drill: %s\n", scenario->file.why);
    catalogue->broken += !ok;
    if (ok && scenario->has_drill && catalogue->count < CATALOGUE_MAX) {
        catalogue->scenarios[catalogue->count++] = scenario;
        return;
    }
    scenario_close(scenario);
    free(scenario);
}

bool catalogue_open(struct catalogue *catalogue, const char *folder, FILE *err)
{
    char path[PATH_MAX];
    char scenarios[PATH_MAX];
    struct dirent **names;
    *catalogue = (struct catalogue){0};
    snprintf(path, sizeof path, "%s/house.yaml", folder);
    bool ok = house_open(&catalogue->house, path);
    if (!ok)
        fprintf(err, "drill: %s\n", catalogue->house.file.why);
    snprintf(scenarios, sizeof scenarios, "%s/scenarios", folder);
    int count = scandir(scenarios, &names, is_yaml, alphasort);
    if (count < 0) {
        fprintf(err, "drill: %s: %s\n", scenarios, strerror(errno));
        return false;
    }
    for (int i = 0; i < count; i++) {
        int length = snprintf(path, sizeof path, "%s/%s", scenarios, names[i]->d_name);
        if (length > 0 && (size_t)length < sizeof path)
            read_one(catalogue, path, err);
        free(names[i]);
    }
    free(names);
    if (ok && catalogue->count == 0)
        fprintf(err, "drill: %s: no scenario here can be drilled\n", scenarios);
    return ok && catalogue->count > 0;
}

void catalogue_close(struct catalogue *catalogue)
{
    for (unsigned i = 0; i < catalogue->count; i++) {
        scenario_close(catalogue->scenarios[i]);
        free(catalogue->scenarios[i]);
    }
    house_close(&catalogue->house);
}

const struct scenario *catalogue_find(const struct catalogue *catalogue, const char *name)
{
    for (unsigned i = 0; i < catalogue->count; i++)
        if (strcmp(catalogue->scenarios[i]->name, name) == 0)
            return catalogue->scenarios[i];
    return NULL;
}
