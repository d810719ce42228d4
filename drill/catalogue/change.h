/*
 * The changes and claims of a drill, by key.
 */
#ifndef FLASHOVER_DRILL_CATALOGUE_CHANGE_H
#define FLASHOVER_DRILL_CATALOGUE_CHANGE_H

enum change {
#define CHANGE(ID, key, KIND, lead_s, words) CHANGE_##ID,
#include "drill/catalogue/changes.tbl.h"
    CHANGES
};

enum change_kind { CHANGE_IS_EVIDENCE, CHANGE_IS_SESSION, CHANGE_IS_LOAD, CHANGE_IS_DEPLOYMENT };

struct change_definition {
    const char *key;
    enum change_kind kind;
    double lead_s;
    const char *words;
};

extern const struct change_definition change_definitions[CHANGES];

/* What a change does to a drill, as the matrix has it. */
enum change_effect { EFFECT_NOTHING, EFFECT_MITIGATES, EFFECT_REPAIRS, EFFECT_WORSE, EFFECTS };

/* "nothing", "mitigates", "repairs", "worse", NULL */
extern const char *const change_effect_names[EFFECTS + 1];

enum claim {
#define CLAIM(ID, key, ASKED, words) CLAIM_##ID,
#include "drill/catalogue/claims.tbl.h"
    CLAIMS
};

enum claim_asked { CLAIM_LATENT, CLAIM_TRIGGER, CLAIM_SUSTAINS, CLAIM_ASKED };

struct claim_definition {
    const char *key;
    enum claim_asked asked;
    const char *words;
};

extern const struct claim_definition claim_definitions[CLAIMS];

/* The change or claim of this key, or CHANGES, CLAIMS. */
enum change change_by_key(const char *key);
enum claim claim_by_key(const char *key);

#endif
