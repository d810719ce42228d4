#include "loadtest/serve/run_store.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "loadtest/base/whole_file.h"
#include "loadtest/report/run_json.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_NAME ".lock"
#define SUFFIX    ".json"
#define PATH_SIZE 4096
/* Of a temporary file beside "ID.json". */
#define TEMPORARY_SUFFIX_LENGTH (strlen(WHOLE_FILE_TEMPORARY) + 6)

/* A record holds what the service said, which is nobody else's business. */
#define RECORD_MODE 0600
/* A whole run's record has some hundred kilobytes. Whoever can write into the folder could
 * otherwise exhaust memory or, by nesting, the stack of a connection's thread. */
#define RECORD_SIZE_MAX  ((size_t)64 << 20)
#define RECORD_DEPTH_MAX 32

/* What every record has, as texts. */
static const char *const record_keys[] = {"id", "state", "started", "url"};

struct entry {
    char id[RUN_ID_SIZE];
    json_t *summary; /* what the list shows; owned */
    json_t *unsaved; /* the whole record, where the disk refused it; owned */
};

/* Lock key: (i) immutable, (m) under `lock`. No file but the index's own is read under it. */
struct run_store {
    char directory[PATH_SIZE - RUN_ID_SIZE - 16]; /* (i) */
    int lock_fd;                                  /* (i) locked as long as the store is open */
    size_t keep;                                  /* (i) */
    pthread_mutex_t lock;
    struct entry *entries; /* (m) the oldest first; room for keep + 1 */
    size_t count;          /* (m) */
};

bool run_store_is_id(const char *text)
{
    static const char form[] = "dddddddd"
                               "T"
                               "ddddddddd"
                               "Z-"
                               "xxxxxxxx";
    static_assert(sizeof form == RUN_ID_SIZE, "the id's size");
    for (size_t i = 0; i < sizeof form; i++) {
        bool is_digit = text[i] >= '0' && text[i] <= '9';
        bool ok = form[i] == 'd'   ? is_digit
                  : form[i] == 'x' ? is_digit || (text[i] >= 'a' && text[i] <= 'f')
                                   : text[i] == form[i];
        if (!ok)
            return false;
    }
    return true;
}

static void make_id(char id[RUN_ID_SIZE], const char utc[CLOCK_UTC_SIZE])
{
    uint32_t random = 0;
    size_t at = 0;
    ssize_t got = getrandom(&random, sizeof random, 0);
    assert(got == (ssize_t)sizeof random);
    for (const char *c = utc; *c && *c != 'Z'; c++)
        if (!strchr("-:.", *c))
            id[at++] = *c;
    snprintf(id + at, RUN_ID_SIZE - at, "Z-%08x", random);
    assert(run_store_is_id(id));
}

static void path_of(const struct run_store *store, const char *id, char path[PATH_SIZE])
{
    int size = snprintf(path, PATH_SIZE, "%s/%s" SUFFIX, store->directory, id);
    assert(size > 0 && size < PATH_SIZE);
}

static json_t *summary_of(const json_t *record)
{
    json_t *summary = json_object();
    for (size_t i = 0; i < sizeof record_keys / sizeof record_keys[0]; i++)
        json_object_set(summary, record_keys[i], json_object_get(record, record_keys[i]));
    json_t *word = json_object_get(json_object_get(record, "verdict"), "status");
    json_object_set_new(summary, "verdict", word ? json_incref(word) : json_null());
    return summary;
}

static void clear_entry(struct entry *entry)
{
    json_decref(entry->summary);
    json_decref(entry->unsaved);
}

/* The lock is held, except in run_store_open(). */
static struct entry *find(struct run_store *store, const char *id)
{
    for (size_t i = 0; i < store->count; i++)
        if (strcmp(store->entries[i].id, id) == 0)
            return &store->entries[i];
    return NULL;
}

/* Takes the oldest runs out, but never the newest, even when a clock that was set back makes it
 * look old. The lock is held, except in run_store_open(). */
static void remove_surplus(struct run_store *store, const char *newest)
{
    char path[PATH_SIZE];
    while (store->count > store->keep) {
        size_t at = strcmp(store->entries[0].id, newest) == 0 ? 1 : 0;
        path_of(store, store->entries[at].id, path);
        if (unlink(path) && errno != ENOENT)
            log_line(LOG_WARN, "cannot remove an old run",
                     json_pack("{s:s, s:s}", "file", path, "detail", strerrordesc_np(errno)));
        clear_entry(&store->entries[at]);
        memmove(&store->entries[at], &store->entries[at + 1],
                (store->count - at - 1) * sizeof store->entries[0]);
        store->count--;
    }
}

/* Adds a run in its place. `summary` is stolen. The lock is held, except in run_store_open(). */
static void insert(struct run_store *store, const char *id, json_t *summary)
{
    size_t at = store->count;
    assert(run_store_is_id(id) && at <= store->keep); /* there is room for one more than `keep` */
    while (at > 0 && strcmp(store->entries[at - 1].id, id) > 0)
        at--;
    memmove(&store->entries[at + 1], &store->entries[at],
            (store->count - at) * sizeof store->entries[0]);
    store->entries[at] = (struct entry){.summary = summary};
    snprintf(store->entries[at].id, RUN_ID_SIZE, "%s", id);
    store->count++;
}

/* How deep the brackets nest, without those in strings. */
static unsigned depth_of(const char *json, size_t size_bytes)
{
    unsigned depth = 0;
    unsigned deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < size_bytes; i++) {
        char c = json[i];
        if (in_string && c == '\\') {
            i++;
        } else if (c == '"') {
            in_string = !in_string;
        } else if (!in_string && (c == '{' || c == '[')) {
            deepest = ++depth > deepest ? depth : deepest;
        } else if (!in_string && (c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return deepest;
}

static json_t *load_file(const char *path)
{
    json_error_t error;
    size_t size_bytes = 0;
    char *json = whole_file_read(path, RECORD_SIZE_MAX, &size_bytes);
    json_t *root = json && depth_of(json, size_bytes) <= RECORD_DEPTH_MAX
                       ? json_loadb(json, size_bytes, 0, &error)
                       : NULL;
    free(json);
    return root;
}

/* Reads a record, whose id must be its file's name. NULL for anything else. */
static json_t *read_record(const struct run_store *store, const char *id)
{
    char path[PATH_SIZE];
    path_of(store, id, path);
    json_t *record = load_file(path);
    bool ok = true;
    for (size_t i = 0; i < sizeof record_keys / sizeof record_keys[0]; i++)
        ok = ok && json_is_string(json_object_get(record, record_keys[i]));
    if (ok && strcmp(json_string_value(json_object_get(record, "id")), id) == 0)
        return record;
    json_decref(record);
    return NULL;
}

/* A run whose process is gone. */
static void call_lost(struct run_store *store, const char *id, json_t *record)
{
    char path[PATH_SIZE];
    char why[PATH_SIZE + 128];
    path_of(store, id, path);
    json_object_set_new(record, "state", json_string(RUN_STATE_LOST));
    if (!run_json_write_file(path, RECORD_MODE, record, why, sizeof why))
        log_line(LOG_WARN, "cannot mark a lost run", json_pack("{s:s}", "detail", why));
}

static void take_file(struct run_store *store, const char *name)
{
    char id[RUN_ID_SIZE];
    char path[PATH_SIZE];
    size_t length = strlen(name);
    snprintf(id, sizeof id, "%s", name);
    if (!run_store_is_id(id) || strncmp(name + RUN_ID_SIZE - 1, SUFFIX, strlen(SUFFIX)) != 0)
        return;
    size_t whole = RUN_ID_SIZE - 1 + strlen(SUFFIX);
    if (length == whole + TEMPORARY_SUFFIX_LENGTH &&
        strncmp(name + whole, WHOLE_FILE_TEMPORARY, strlen(WHOLE_FILE_TEMPORARY)) == 0) {
        snprintf(path, sizeof path, "%s/%s", store->directory, name);
        unlink(path);
    }
    if (length != whole)
        return;
    json_t *record = read_record(store, id);
    if (!record) {
        log_line(LOG_WARN, "a file that is no run", json_pack("{s:s}", "file", name));
        return;
    }
    if (strcmp(json_string_value(json_object_get(record, "state")), RUN_STATE_RUNNING) == 0)
        call_lost(store, id, record);
    insert(store, id, summary_of(record));
    json_decref(record);
    remove_surplus(store, "");
}

static bool lock_directory(struct run_store *store, char *why, size_t why_size)
{
    char path[PATH_SIZE];
    if (mkdir(store->directory, 0777) && errno != EEXIST) {
        snprintf(why, why_size, "cannot make '%s': %s", store->directory, strerrordesc_np(errno));
        return false;
    }
    snprintf(path, sizeof path, "%s/" LOCK_NAME, store->directory);
    store->lock_fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    if (store->lock_fd < 0) {
        snprintf(why, why_size, "cannot write to '%s': %s", store->directory,
                 strerrordesc_np(errno));
        return false;
    }
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB)) {
        snprintf(why, why_size, "'%s' belongs to another load tester that runs", store->directory);
        return false;
    }
    return true;
}

struct run_store *run_store_open(const char *directory, size_t keep, char *why, size_t why_size)
{
    assert(keep >= 1);
    struct run_store *store = calloc(1, sizeof *store);
    struct entry *entries = calloc(keep + 1, sizeof *entries);
    struct dirent **listing;
    int found;
    snprintf(why, why_size, "out of memory");
    if (!store || !entries)
        goto failed;
    store->keep = keep;
    store->entries = entries;
    store->lock_fd = -1;
    if (snprintf(store->directory, sizeof store->directory, "%s", directory) >=
        (int)sizeof store->directory) {
        snprintf(why, why_size, "the name is too long");
        goto failed;
    }
    if (!lock_directory(store, why, why_size))
        goto failed;
    found = scandir(directory, &listing, NULL, alphasort);
    if (found < 0) {
        snprintf(why, why_size, "cannot read '%s': %s", directory, strerrordesc_np(errno));
        goto failed;
    }
    for (int i = 0; i < found; i++) {
        take_file(store, listing[i]->d_name);
        free(listing[i]);
    }
    free(listing);
    CHECK_PTHREAD(pthread_mutex_init(&store->lock, NULL));
    return store;
failed:
    if (store && store->entries && store->lock_fd >= 0)
        close(store->lock_fd);
    free(entries);
    free(store);
    return NULL;
}

/* Tries once more to write what the disk refused. The lock is held, or nobody else is there. */
static void save_unsaved(struct run_store *store)
{
    char path[PATH_SIZE];
    char why[PATH_SIZE + 128];
    for (size_t i = 0; i < store->count; i++) {
        struct entry *entry = &store->entries[i];
        path_of(store, entry->id, path);
        if (!entry->unsaved ||
            !run_json_write_file(path, RECORD_MODE, entry->unsaved, why, sizeof why))
            continue;
        json_decref(entry->unsaved);
        entry->unsaved = NULL;
    }
}

void run_store_close(struct run_store *store)
{
    if (!store)
        return;
    save_unsaved(store);
    for (size_t i = 0; i < store->count; i++)
        clear_entry(&store->entries[i]);
    close(store->lock_fd);
    CHECK_PTHREAD(pthread_mutex_destroy(&store->lock));
    free(store->entries);
    free(store);
}

bool run_store_begin(struct run_store *store, const char *url, json_t *asked, char id[RUN_ID_SIZE],
                     char *why, size_t why_size)
{
    char path[PATH_SIZE];
    char utc[CLOCK_UTC_SIZE];
    clock_format_utc(utc);
    CHECK_PTHREAD(pthread_mutex_lock(&store->lock));
    do
        make_id(id, utc);
    while (find(store, id));
    path_of(store, id, path);
    json_t *record = json_pack("{s:s, s:s, s:s, s:s, s:O}", "id", id, "state", RUN_STATE_RUNNING,
                               "started", utc, "url", url, "asked", asked);
    snprintf(why, why_size, "out of memory");
    bool written = record && run_json_write_file(path, RECORD_MODE, record, why, why_size);
    if (written) {
        save_unsaved(store); /* there is room again */
        insert(store, id, summary_of(record));
        remove_surplus(store, id);
    } else {
        unlink(path); /* what is not known to be on the disk may be there all the same */
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&store->lock));
    json_decref(record);
    return written;
}

bool run_store_end(struct run_store *store, const char *id, const char *state, json_t *result,
                   char *why, size_t why_size)
{
    char path[PATH_SIZE];
    char utc[CLOCK_UTC_SIZE];
    path_of(store, id, path);
    clock_format_utc(utc);
    json_t *record = read_record(store, id);
    if (!record) { /* somebody tidied up by hand: what the list has is all that is left */
        CHECK_PTHREAD(pthread_mutex_lock(&store->lock));
        struct entry *entry = find(store, id);
        record = entry ? json_copy(entry->summary) : json_object();
        CHECK_PTHREAD(pthread_mutex_unlock(&store->lock));
    }
    bool is_whole = json_object_set_new(record, "state", json_string(state)) == 0 &&
                    json_object_set_new(record, "ended", json_string(utc)) == 0 &&
                    json_object_update(record, result) == 0;
    json_decref(result);
    if (!is_whole) {
        json_decref(record);
        CHECK_PTHREAD(pthread_mutex_lock(&store->lock));
        struct entry *entry = find(store, id);
        if (entry)
            (void)json_object_set_new(entry->summary, "state", json_string(RUN_STATE_LOST));
        CHECK_PTHREAD(pthread_mutex_unlock(&store->lock));
        snprintf(why, why_size, "out of memory");
        return false;
    }
    bool written = run_json_write_file(path, RECORD_MODE, record, why, why_size);
    CHECK_PTHREAD(pthread_mutex_lock(&store->lock));
    struct entry *entry = find(store, id);
    if (entry) {
        json_decref(entry->summary);
        entry->summary = summary_of(record);
        if (!written)
            entry->unsaved = json_incref(record);
        else
            save_unsaved(store);
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&store->lock));
    json_decref(record);
    return written;
}

json_t *run_store_list(struct run_store *store)
{
    json_t *list = json_array();
    CHECK_PTHREAD(pthread_mutex_lock(&store->lock));
    for (size_t i = store->count; i > 0; i--)
        json_array_append_new(list, json_deep_copy(store->entries[i - 1].summary));
    CHECK_PTHREAD(pthread_mutex_unlock(&store->lock));
    return list;
}

json_t *run_store_load(struct run_store *store, const char *id)
{
    json_t *unsaved = NULL;
    if (!run_store_is_id(id))
        return NULL;
    CHECK_PTHREAD(pthread_mutex_lock(&store->lock));
    const struct entry *entry = find(store, id);
    bool known = entry;
    if (entry && entry->unsaved)
        unsaved = json_deep_copy(entry->unsaved);
    CHECK_PTHREAD(pthread_mutex_unlock(&store->lock));
    return unsaved || !known ? unsaved : read_record(store, id);
}
