#include "service/variants/map/table.h"

#include "common/check.h"
#include "common/random.h"
#include "service/variants/map/map.h"

/* Go's map: bucketCnt 8, load factor 13/2. */
#define BUCKET_ENTRIES          8
#define LOAD_FACTOR_NUMERATOR   13
#define LOAD_FACTOR_DENOMINATOR 2

struct bucket {
    unsigned used; /* entries 0..used-1 are taken */
    struct video entries[BUCKET_ENTRIES];
    struct bucket *overflow;
};

struct map_buckets {
    size_t count; /* a power of two; one object with the array, so that no reader can see one
                     without the other */
    struct bucket array[];
};

struct map_allocation {
    struct map_allocation *next;
    max_align_t memory[];
};

/* Zeroed memory that lives as long as the table. The list is atomic, so that racing writers lose
 * none of it. */
static void *allocate(struct map_table *table, size_t size_bytes)
{
    struct map_allocation *allocation = calloc(1, sizeof *allocation + size_bytes);
    if (!allocation)
        return NULL;
    allocation->next = atomic_load(&table->allocations);
    while (!atomic_compare_exchange_weak(&table->allocations, &allocation->next, allocation))
        continue;
    return allocation->memory;
}

static struct map_buckets *make_buckets(struct map_table *table, size_t count)
{
    assert(count > 0 && (count & (count - 1)) == 0); /* a hash is masked with count - 1 */
    struct map_buckets *buckets = allocate(table, sizeof *buckets + count * sizeof(struct bucket));
    if (buckets)
        buckets->count = count;
    return buckets;
}

/* Where an entry is, or is to be: in `bucket`, which has `used` entries so far. */
struct place {
    struct bucket *bucket;
    unsigned at, used;
};

/* The entry of this id, or the next free one. False without memory. */
static bool find_place(struct map_table *table, struct map_buckets *buckets, int64_t id,
                       struct place *place)
{
    struct bucket *bucket = &buckets->array[random_mix((uint64_t)id) & (buckets->count - 1)];
    for (;;) {
        unsigned used = bucket->used;
        unsigned at = 0;
        while (at < used && bucket->entries[at].id != id)
            at++;
        *place = (struct place){bucket, at, used};
        if (at < BUCKET_ENTRIES)
            return true;
        struct bucket *next = bucket->overflow;
        if (!next) {
            next = allocate(table, sizeof *next);
            if (!next)
                return false;
            bucket->overflow = next;
        }
        bucket = next;
    }
}

/* An entry is counted once it is written: a thread that copies the table meanwhile may miss it, but
 * never sees half of one. True when it is a new one. */
static bool write_entry(const struct place *place, const struct video *video)
{
    /* Holds with several writers, too: both were read before anything was written. */
    assert(place->at <= place->used && place->at < BUCKET_ENTRIES);
    bool is_new = place->at == place->used;
    place->bucket->entries[place->at] = *video;
    if (is_new)
        place->bucket->used = place->used + 1;
    return is_new;
}

static bool copy_all(struct map_table *table, const struct map_buckets *from,
                     struct map_buckets *to)
{
    struct place place;
    for (size_t i = 0; i < from->count; i++)
        for (const struct bucket *bucket = &from->array[i]; bucket; bucket = bucket->overflow)
            for (unsigned j = 0; j < bucket->used; j++) {
                if (!find_place(table, to, bucket->entries[j].id, &place))
                    return false;
                write_entry(&place, &bucket->entries[j]);
            }
    return true;
}

/* Go moves a few buckets with every write; here all move at once, when the table is full. */
static bool grow(struct map_table *table)
{
    struct map_buckets *old = table->buckets;
    struct map_buckets *doubled = make_buckets(table, 2 * old->count);
    if (!doubled || !copy_all(table, old, doubled))
        return false;
    table->buckets = doubled;
    return true;
}

/* Whether so many entries are too many for so many buckets. */
static bool is_full(size_t entries, size_t buckets)
{
    return entries >= BUCKET_ENTRIES &&
           entries * LOAD_FACTOR_DENOMINATOR >= buckets * LOAD_FACTOR_NUMERATOR;
}

bool map_table_init(struct map_table *table, unsigned entries)
{
    size_t buckets = 1;
    while (entries > 0 && is_full(entries - 1, buckets))
        buckets *= 2;
    table->count = 0;
    atomic_init(&table->allocations, NULL);
    table->buckets = make_buckets(table, buckets);
    return table->buckets != NULL;
}

bool map_table_put(struct map_table *table, const struct video *video)
{
    if (is_full(table->count, table->buckets->count) && !grow(table))
        return false;
    struct place place;
    if (!find_place(table, table->buckets, video->id, &place))
        return false;
    map_pass(MAP_WRITING); /* between reading and writing, where a second writer does the harm */
    table->count += write_entry(&place, video);
    return true;
}

void map_table_each(const struct map_table *table,
                    void (*visit)(void *context, const struct video *video), void *context)
{
    const struct map_buckets *buckets = table->buckets;
    for (size_t i = 0; i < buckets->count; i++)
        for (const struct bucket *bucket = &buckets->array[i]; bucket; bucket = bucket->overflow)
            for (unsigned j = 0; j < bucket->used; j++)
                visit(context, &bucket->entries[j]);
}

static bool has(const struct map_buckets *buckets, int64_t id)
{
    const struct bucket *bucket = &buckets->array[random_mix((uint64_t)id) & (buckets->count - 1)];
    for (; bucket; bucket = bucket->overflow)
        for (unsigned i = 0; i < bucket->used; i++)
            if (bucket->entries[i].id == id)
                return true;
    return false;
}

static void count_entry(void *context, const struct video *video)
{
    unsigned *entries = context;
    (void)video;
    ++*entries;
}

bool map_table_holds(const struct map_table *table, const int64_t *ids, unsigned count)
{
    unsigned entries = 0;
    map_table_each(table, count_entry, &entries);
    bool holds = table->count == count && entries == count;
    for (unsigned i = 0; holds && i < count; i++)
        holds = has(table->buckets, ids[i]);
    return holds;
}

void map_table_destroy(struct map_table *table)
{
    struct map_allocation *allocation = atomic_load(&table->allocations);
    while (allocation) {
        struct map_allocation *next = allocation->next;
        free(allocation);
        allocation = next;
    }
    atomic_store(&table->allocations, NULL);
    table->buckets = NULL;
}
