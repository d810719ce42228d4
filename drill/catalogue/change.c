#include "drill/catalogue/change.h"

#include <stddef.h>
#include <string.h>

const struct change_definition change_definitions[] = {
#define CHANGE(ID, key_, KIND, lead_s_, words_)                                                    \
    {.key = (key_), .kind = CHANGE_IS_##KIND, .lead_s = (lead_s_), .words = (words_)},
#include "drill/catalogue/changes.tbl.h"
};

const char *const change_effect_names[] = {"nothing", "mitigates", "repairs", "worse", NULL};

const struct claim_definition claim_definitions[] = {
#define CLAIM(ID, key_, ASKED, words_) {.key = (key_), .asked = CLAIM_##ASKED, .words = (words_)},
#include "drill/catalogue/claims.tbl.h"
};

enum change change_by_key(const char *key)
{
    enum change change = 0;
    while (change < CHANGES && strcmp(change_definitions[change].key, key) != 0)
        change++;
    return change;
}

enum claim claim_by_key(const char *key)
{
    enum claim claim = 0;
    while (claim < CLAIMS && strcmp(claim_definitions[claim].key, key) != 0)
        claim++;
    return claim;
}
