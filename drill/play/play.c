#include "drill/play/play.h"

#include "common/check.h"
#include "common/client/admin_client.h"
#include "common/clock.h"
#include "common/option_row.h"
#include "drill/catalogue/change.h"

#include <jansson.h>

#define PROGRAM    "drill play"
#define REQUEST_MS 5000
#define LOOK_NS    (500 * CLOCK_NS_PER_MS)
/* The drill program is gone for good. */
#define MOST_FAILED 60
/* What all of them expect of a change. */
#define EXPECT_TO       1
#define EXPECT_WITHIN_S 20

/* The ways of working, in the order of `ways`. */
enum way {
    PLAY_RIGHT,
    PLAY_NOTHING,
    PLAY_RESTART,
    PLAY_POOL,
    PLAY_ROLLBACK,
    PLAY_SWEEP,
    PLAY_CLAIMS
};
#define WAYS "right|nothing|restart|pool|rollback|sweep|claims"

struct play {
    const char *scenario, *as;
    const char *people_url, *people_token_file, *facilitator_url, *facilitator_token_file;
    int64_t seed;
    double healthy_s, lead_times, give_up_s;
    enum way way;
    struct admin_client *people, *facilitator; /* owned */
    struct text answer;
    struct stop *stop;
    char why[256];
};

static bool parse(int argc, char **argv, struct play *play, int *status)
{
    int positional_count;
    struct option table[] = {
        CHOICE_ROW("as", &play->as, "right", WAYS, "WAY", "how the people work"),
        TEXT_ROW("url", &play->people_url, "http://127.0.0.1:8095", "URL", "people's port"),
        TEXT_ROW("token-file", &play->people_token_file, NULL, "FILE", "its token"),
        TEXT_ROW("facilitator-url", &play->facilitator_url, "http://127.0.0.1:8096", "URL",
                 "the facilitator's port"),
        TEXT_ROW("facilitator-token-file", &play->facilitator_token_file, NULL, "FILE",
                 "its token"),
        NUMBER_ROW(INTEGER, "seed", &play->seed, "1", 0, 1e15, "N", "of the plan"),
        NUMBER_ROW(REAL, "healthy-s", &play->healthy_s, "60", 10, 3600, "N",
                   "how long all is well"),
        NUMBER_ROW(REAL, "lead-times", &play->lead_times, "1", 0, 10, "N",
                   "multiplies the changes' lead times"),
        NUMBER_ROW(REAL, "give-up-s", &play->give_up_s, "600", 10, 14400, "N",
                   "ends the drill so long after the page"),
    };
    const struct options_program program = {
        .name = PROGRAM,
        .usage =
            "usage: drill play NAME [OPTIONS]\n\nPlays a drill with scripted people, and prints "
            "the grade.",
        .table = table,
        .count = sizeof table / sizeof table[0]};
    enum options_outcome outcome =
        options_parse(&program, argc, argv, &positional_count, stdout, stderr);
    *status = outcome == OPTIONS_EXIT_OK ? 0 : 2;
    if (outcome != OPTIONS_RUN)
        return false;
    if (positional_count != 1) {
        fprintf(stderr, PROGRAM ": wants the name of one drill (see --help)\n");
        return false;
    }
    play->scenario = argv[1];
    static const char *const ways[] = {"right",    "nothing", "restart", "pool",
                                       "rollback", "sweep",   "claims"};
    while (strcmp(ways[play->way], play->as) != 0)
        play->way++;
    return true;
}

/* The answer to a request that must succeed; NULL and `why` otherwise. */
static json_t *ask(struct play *play, struct admin_client *client, const char *method,
                   const char *path, json_t *body)
{
    char reason[128];
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    int status = admin_client_request(client, method, path, text, REQUEST_MS, &play->answer, reason,
                                      sizeof reason);
    json_decref(body);
    free(text);
    json_t *answer = play->answer.data ? json_loads(play->answer.data, 0, NULL) : NULL;
    if (status == 200 && answer)
        return answer;
    const char *message = json_string_value(json_object_get(answer, "message"));
    snprintf(play->why, sizeof play->why, "%s: %d %.120s", path, status,
             status == 0 ? reason
             : message   ? message
                         : "");
    json_decref(answer);
    return NULL;
}

/* What was entered is in the record; what was refused does not matter to the people here. */
static void enter(struct play *play, const char *path, json_t *body)
{
    json_t *answer = ask(play, play->people, "POST", path, body);
    json_decref(answer);
}

static void decide(struct play *play, enum change change, json_int_t argument)
{
    enter(play, "/v1/drill/changes",
          json_pack("{s:s, s:I, s:{s:s, s:s, s:i, s:i}}", "change", change_definitions[change].key,
                    "argument", argument, "expect", "figure", "bad_percent", "direction", "falls",
                    "to", EXPECT_TO, "within_s", EXPECT_WITHIN_S));
}

static void claim(struct play *play, const char *key)
{
    enter(play, "/v1/drill/claims", json_pack("{s:s}", "claim", key));
}

static double time_of(const json_t *drill, const char *name)
{
    const json_t *time = json_object_get(json_object_get(drill, "times"), name);
    return json_is_number(time) ? json_number_value(time) : -1;
}

static bool is_state(const json_t *drill, const char *state)
{
    const char *text = json_string_value(json_object_get(drill, "state"));
    return text && strcmp(text, state) == 0;
}

/* Nothing is under way. */
static bool is_idle(const json_t *drill)
{
    size_t i;
    json_t *made;
    json_array_foreach (json_object_get(drill, "made"), i, made) {
        const char *state = json_string_value(json_object_get(made, "state"));
        if (state && strcmp(state, "under way") == 0)
            return false;
    }
    return true;
}

/* The first of the changes that the truth calls a repair. */
static enum change find_repair(const json_t *truth)
{
    size_t i;
    json_t *offered;
    json_array_foreach (json_object_get(truth, "offered"), i, offered) {
        const char *effect = json_string_value(json_object_get(offered, "effect"));
        const char *key = json_string_value(json_object_get(offered, "change"));
        if (effect && key && strcmp(effect, "repairs") == 0)
            return change_by_key(key);
    }
    return CHANGES;
}

/* The oldest version, as those roll back who do not look. */
static json_int_t oldest_version(const json_t *drill)
{
    const json_t *first = json_array_get(json_object_get(drill, "versions"), 0);
    return json_integer_value(json_object_get(first, "version"));
}

/* Bad requests in percent, of the last minute. */
static json_int_t bad_percent(struct play *play, const json_t *drill)
{
    char path[64];
    double now_s = json_number_value(json_object_get(drill, "now_s"));
    double bad = 0;
    double demanded = 0;
    size_t i;
    json_t *row;
    snprintf(path, sizeof path, "/v1/drill/rows?from=%.0f", now_s > 60 ? now_s - 60 : 0);
    json_t *answer = ask(play, play->people, "GET", path, NULL);
    json_array_foreach (json_object_get(answer, "rows"), i, row) {
        demanded += json_number_value(json_object_get(row, "demanded"));
        bad += json_number_value(json_object_get(row, "demanded")) -
               json_number_value(json_object_get(row, "right"));
    }
    json_decref(answer);
    return demanded > 0 ? (json_int_t)(100 * bad / demanded) : 0;
}

static void answer_page(struct play *play, const json_t *drill)
{
    enter(play, "/v1/drill/entries",
          json_pack("{s:s, s:s, s:i, s:s}", "kind", "acknowledge", "text", "on it", "severity", 2,
                    "commander", "script"));
    enter(play, "/v1/drill/entries",
          json_pack("{s:s, s:s, s:I}", "kind", "impact", "text", "requests fail", "percent",
                    bad_percent(play, drill)));
    for (int i = 0; i < 2; i++)
        enter(play, "/v1/drill/entries",
              json_pack("{s:s, s:s}", "kind", "said", "text", "we are on it; more in ten minutes"));
}

static void claim_right(struct play *play, const json_t *truth)
{
    const char *asked;
    json_t *key;
    json_object_foreach (json_object_get(truth, "right_claims"), asked, key)
        claim(play, json_string_value(key));
}

/* What the people do next, when nothing of theirs is under way. `step` counts. */
static void act(struct play *play, const json_t *drill, const json_t *truth, unsigned step)
{
    static const enum change blind[] = {[PLAY_RESTART] = CHANGE_RESTART,
                                        [PLAY_POOL] = CHANGE_POOL_X10,
                                        [PLAY_ROLLBACK] = CHANGE_ROLLBACK};
    switch (play->way) {
    case PLAY_NOTHING:
        return;
    case PLAY_RIGHT:
        if (step == 0) {
            answer_page(play, drill);
            claim_right(play, truth);
            decide(play, find_repair(truth), 0);
        }
        return;
    case PLAY_SWEEP:
        if (step < CHANGES)
            decide(play, (enum change)step, oldest_version(drill));
        return;
    case PLAY_CLAIMS:
        if (step < CLAIMS)
            claim(play, claim_definitions[step].key);
        return;
    default:
        if (step == 0)
            decide(play, blind[play->way], oldest_version(drill));
    }
}

static bool begin(struct play *play)
{
    json_t *answer = ask(play, play->facilitator, "POST", "/v1/drills",
                         json_pack("{s:s, s:I, s:f, s:f}", "scenario", play->scenario, "seed",
                                   (json_int_t)play->seed, "healthy_s", play->healthy_s,
                                   "lead_times", play->lead_times));
    json_decref(answer);
    return answer != NULL;
}

static void end(struct play *play)
{
    json_t *answer = ask(play, play->facilitator, "POST", "/v1/drill/stop", json_object());
    json_decref(answer);
}

/* From the start to the end. False: `why`. */
static bool run(struct play *play)
{
    unsigned step = 0;
    unsigned failed = 0; /* looks, one after the other */
    bool over = false;
    if (!begin(play))
        return false;
    while (!over && failed < MOST_FAILED && !stop_requested(play->stop)) {
        json_t *drill = ask(play, play->people, "GET", "/v1/drill", NULL);
        json_t *truth = ask(play, play->facilitator, "GET", "/v1/drill", NULL);
        double paged_s = time_of(drill, "t1");
        double now_s = json_number_value(json_object_get(drill, "now_s"));
        over = is_state(drill, "over");
        failed = drill && truth ? 0 : failed + 1;
        if (!over && paged_s >= 0 && is_idle(drill) && truth)
            act(play, drill, truth, step++);
        if (!over && paged_s >= 0 && now_s > paged_s + play->give_up_s)
            end(play);
        json_decref(drill);
        json_decref(truth);
        if (!over)
            (void)stop_wait_until(play->stop, clock_now_ns() + LOOK_NS);
    }
    if (!over)
        end(play);
    return failed < MOST_FAILED;
}

static bool connect_ports(struct play *play)
{
    play->people =
        admin_client_new(play->people_url, play->people_token_file, play->why, sizeof play->why);
    play->facilitator = play->people
                            ? admin_client_new(play->facilitator_url, play->facilitator_token_file,
                                               play->why, sizeof play->why)
                            : NULL;
    return play->facilitator != NULL;
}

int play_command(int argc, char **argv, struct stop *stop)
{
    struct play play = {.stop = stop};
    int status;
    if (!parse(argc, argv, &play, &status))
        return status;
    bool ok = connect_ports(&play) && run(&play);
    json_t *grade = ok ? ask(&play, play.facilitator, "GET", "/v1/drill/grade", NULL) : NULL;
    if (grade) {
        json_dumpf(grade, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(4));
        putchar('\n');
    } else {
        fprintf(stderr, PROGRAM ": %s\n", play.why);
    }
    status = grade ? 0 : 1;
    json_decref(grade);
    admin_client_free(play.people);
    admin_client_free(play.facilitator);
    text_clear(&play.answer);
    return status;
}
