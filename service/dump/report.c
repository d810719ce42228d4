#include "service/dump/report.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdatomic.h>

/* A group names so many of its requests and threads. */
enum { NAMED_REQUESTS = 3, NAMED_THREADS = 20 };

/* What stands on top of these files' functions, and they themselves, only say how a stack was
 * taken. */
static const char *const own_files[] = {"service/dump/stack_slots.c", "service/dump/crash_dump.c",
                                        "service/dump/thread_dump.c"};

/* Slots of the same kind: `threads` points into the sorted list. */
struct group {
    const struct stack_slot *const *threads;
    unsigned count;
    const char *state;
    const char *role; /* "" where it is not registered */
    bool is_timed;    /* its threads have said since when */
    int64_t shortest_ms, longest_ms;
    const char *mark; /* a note on the thread, or NULL */
};

static bool has_answered(const struct stack_slot *slot)
{
    return atomic_load(&slot->status) == STACK_ANSWERED;
}

static const char *state_of(const struct stack_slot *slot)
{
    if (!has_answered(slot))
        return "no answer";
    return slot->thread.role ? thread_state_name(slot->thread.state) : "other";
}

static int compare_kind(const struct stack_slot *a, const struct stack_slot *b)
{
    if (has_answered(a) != has_answered(b))
        return has_answered(a) ? -1 : 1;
    if (!has_answered(a))
        return 0;
    const char *a_role = a->thread.role ? a->thread.role : "";
    const char *b_role = b->thread.role ? b->thread.role : "";
    if (a->thread.state != b->thread.state)
        return a->thread.state < b->thread.state ? -1 : 1;
    if (strcmp(a_role, b_role) != 0)
        return strcmp(a_role, b_role);
    if (a->depth != b->depth)
        return a->depth < b->depth ? -1 : 1;
    return memcmp(a->addresses, b->addresses, a->depth * sizeof a->addresses[0]);
}

static int compare_slots(const void *left, const void *right)
{
    const struct stack_slot *a = *(const struct stack_slot *const *)left;
    const struct stack_slot *b = *(const struct stack_slot *const *)right;
    int order = compare_kind(a, b);
    if (order != 0)
        return order;
    order = strcmp(a->thread.request, b->thread.request);
    return order != 0 ? order : (a->thread.tid > b->thread.tid) - (a->thread.tid < b->thread.tid);
}

static int compare_groups(const void *left, const void *right)
{
    const struct group *a = left;
    const struct group *b = right;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return compare_slots(a->threads, b->threads);
}

static struct group make_group(const struct stack_slots *slots,
                               const struct stack_slot *const *threads, unsigned count)
{
    assert(count > 0);
    const struct stack_slot *first = threads[0];
    struct group group = {.threads = threads,
                          .count = count,
                          .state = state_of(first),
                          .role =
                              has_answered(first) && first->thread.role ? first->thread.role : "",
                          .shortest_ms = INT64_MAX};
    group.is_timed = group.role[0] != '\0';
    for (unsigned i = 0; i < count && group.is_timed; i++) {
        int64_t ms = (slots->at_ns - threads[i]->thread.since_ns) / CLOCK_NS_PER_MS;
        ms = ms > 0 ? ms : 0; /* it changed its state while we asked */
        group.shortest_ms = ms < group.shortest_ms ? ms : group.shortest_ms;
        group.longest_ms = ms > group.longest_ms ? ms : group.longest_ms;
    }
    return group;
}

/* ---- stacks -----------------------------------------------------------------------------------
 */

static bool is_own(const struct dump_frame *frame)
{
    for (size_t i = 0; i < sizeof own_files / sizeof own_files[0]; i++)
        if (strcmp(frame->file, own_files[i]) == 0)
            return true;
    return false;
}

/* The frames of one of its addresses. A return address is that of the next instruction, which may
 * be another line's; one less is inside the call. */
static unsigned resolve(const struct stack_slot *slot, unsigned index,
                        const struct dump_resolver *resolver, const struct dump_frame **frames)
{
    return resolver->resolve(resolver->context, slot->addresses[index] - (index > 0), frames);
}

/* How many frames, from the innermost, are there because a dump is being made. */
static unsigned count_own(const struct stack_slot *slot, const struct dump_resolver *resolver)
{
    unsigned own = 0;
    unsigned at = 0;
    for (unsigned i = 0; i < slot->depth; i++) {
        const struct dump_frame *frames;
        unsigned count = resolve(slot, i, resolver, &frames);
        for (unsigned j = 0; j < count; j++) {
            at++;
            own = is_own(&frames[j]) ? at : own;
        }
    }
    return own;
}

/* Calls `visit` for each frame, the innermost first. */
static void each_frame(const struct stack_slot *slot, const struct dump_resolver *resolver,
                       void (*visit)(struct text *out, const struct dump_frame *frame,
                                     bool is_first),
                       struct text *out)
{
    if (!has_answered(slot))
        return;
    unsigned own = count_own(slot, resolver);
    unsigned at = 0;
    for (unsigned i = 0; i < slot->depth; i++) {
        const struct dump_frame *frames;
        unsigned count = resolve(slot, i, resolver, &frames);
        for (unsigned j = 0; j < count; j++, at++)
            if (at >= own)
                visit(out, &frames[j], at == own);
    }
}

static unsigned resolve_raw(void *context, uintptr_t address, const struct dump_frame **frames)
{
    static struct dump_frame frame; /* for the one thread that writes a report */
    (void)context;
    snprintf(frame.function, sizeof frame.function, "0x%llx", (unsigned long long)address);
    snprintf(frame.file, sizeof frame.file, "?");
    *frames = &frame;
    return 1;
}

struct dump_resolver dump_report_raw_resolver(void)
{
    return (struct dump_resolver){.resolve = resolve_raw};
}

/* ---- text -------------------------------------------------------------------------------------
 */

static void frame_text(struct text *out, const struct dump_frame *frame, bool is_first)
{
    (void)is_first;
    text_addf(out, "%s\n\t%s", frame->function, frame->file);
    if (frame->line)
        text_addf(out, ":%u", frame->line);
    text_add(out, "\n");
}

/* The requests that the group works for, some of them by name. Its threads are in their order. */
static void requests_text(const struct group *group, struct text *out)
{
    unsigned requests = 0;
    const char *last = "";
    for (unsigned i = 0; i < group->count; i++) {
        const char *request = group->threads[i]->thread.request;
        if (!group->is_timed || strcmp(request, last) == 0)
            continue;
        last = request;
        if (++requests <= NAMED_REQUESTS)
            text_addf(out, requests == 1 ? ", request %s" : ", %s", request);
    }
    if (requests > NAMED_REQUESTS)
        text_addf(out, " and %u more", requests - NAMED_REQUESTS);
}

static void group_text(const struct group *group, const struct dump_resolver *resolver,
                       struct text *out)
{
    if (group->count == 1)
        text_addf(out, "thread %ld [%s", group->threads[0]->thread.tid, group->state);
    else
        text_addf(out, "%u threads [%s", group->count, group->state);
    if (group->is_timed && group->shortest_ms != group->longest_ms)
        text_addf(out, ", %lld ms to %lld ms", (long long)group->shortest_ms,
                  (long long)group->longest_ms);
    else if (group->is_timed)
        text_addf(out, ", %lld ms", (long long)group->longest_ms);
    text_addf(out, "]:%s%s", group->is_timed ? " " : "", group->role);
    requests_text(group, out);
    if (group->mark)
        text_addf(out, " (%s)", group->mark);
    text_add(out, "\n");
    each_frame(group->threads[0], resolver, frame_text, out);
    text_add(out, "\n");
}

/* ---- JSON -------------------------------------------------------------------------------------
 */

static void add_string(struct text *out, const char *string)
{
    text_add_json_string(out, string, strlen(string));
}

static void frame_json(struct text *out, const struct dump_frame *frame, bool is_first)
{
    text_add(out, is_first ? "{\"function\":" : ",{\"function\":");
    add_string(out, frame->function);
    text_add(out, ",\"file\":");
    add_string(out, frame->file);
    text_addf(out, ",\"line\":%u}", frame->line);
}

static void requests_json(const struct group *group, struct text *out)
{
    unsigned requests = 0;
    const char *last = "";
    text_add(out, ",\"request_ids\":[");
    for (unsigned i = 0; i < group->count; i++) {
        const char *request = group->threads[i]->thread.request;
        if (!group->is_timed || strcmp(request, last) == 0)
            continue;
        last = request;
        if (++requests > NAMED_REQUESTS)
            continue;
        text_add(out, requests > 1 ? "," : "");
        add_string(out, request);
    }
    text_addf(out, "],\"requests\":%u", requests);
}

static void group_json(const struct group *group, const struct dump_resolver *resolver,
                       struct text *out)
{
    text_add(out, "{\"state\":");
    add_string(out, group->state);
    text_add(out, ",\"role\":");
    add_string(out, group->role);
    text_addf(out, ",\"count\":%u", group->count);
    if (group->is_timed)
        text_addf(out, ",\"shortest_ms\":%lld,\"longest_ms\":%lld", (long long)group->shortest_ms,
                  (long long)group->longest_ms);
    else
        text_add(out, ",\"shortest_ms\":null,\"longest_ms\":null");
    requests_json(group, out);
    text_add(out, ",\"threads\":[");
    for (unsigned i = 0; i < group->count && i < NAMED_THREADS; i++)
        text_addf(out, i > 0 ? ",%ld" : "%ld", group->threads[i]->thread.tid);
    text_add(out, "],\"stack\":[");
    each_frame(group->threads[0], resolver, frame_json, out);
    text_add(out, "]}");
}

/* ---- the whole --------------------------------------------------------------------------------
 */

/* A note on the slot's thread, which then goes before all groups; or NULL. */
static const char *mark_of(const struct stack_slots *slots, const struct stack_slot *slot)
{
    if (slot == &slots->slots[0])
        return slots->own_mark;
    bool is_other = slots->other_tid && slots->tids[slot - slots->slots] == slots->other_tid;
    return is_other ? slots->other_mark : NULL;
}

/* Lists the slots of threads that are there, sorted so that those of a kind stand together; the
 * marked ones first. Fills the tids of those that did not. The count. */
static unsigned list_threads(struct stack_slots *slots, const struct stack_slot **list,
                             unsigned *marked)
{
    unsigned count = 0;
    unsigned used = atomic_load(&slots->count);
    *marked = 0;
    for (unsigned i = 0; i < used; i++) {
        struct stack_slot *slot = &slots->slots[i];
        if (atomic_load(&slot->status) == STACK_GONE || slots->tids[i] == 0)
            continue;
        if (!has_answered(slot))
            slot->thread = (struct thread_view){.tid = slots->tids[i]};
        list[count++] = slot;
        if (mark_of(slots, slot)) { /* the two are among the first three */
            list[count - 1] = list[*marked];
            list[(*marked)++] = slot;
        }
    }
    assert(*marked <= 2 && *marked <= count); /* the dying thread and the other writer */
    qsort(list + *marked, count - *marked, sizeof *list, compare_slots);
    return count;
}

static unsigned make_groups(struct stack_slots *slots, const struct stack_slot *const *list,
                            unsigned count, unsigned marked, struct group *groups)
{
    unsigned group_count = 0;
    for (unsigned i = 0; i < count;) {
        unsigned next = i + 1;
        while (i >= marked && next < count && compare_kind(list[i], list[next]) == 0)
            next++;
        groups[group_count] = make_group(slots, list + i, next - i);
        groups[group_count++].mark = i < marked ? mark_of(slots, list[i]) : NULL;
        i = next;
    }
    assert(marked <= group_count && group_count <= count); /* a marked thread is a group */
    qsort(groups + marked, group_count - marked, sizeof *groups, compare_groups);
    return group_count;
}

bool dump_report_write(struct stack_slots *slots, const struct dump_resolver *resolver,
                       enum dump_format format, struct text *out)
{
    unsigned used = atomic_load(&slots->count);
    assert(used <= slots->capacity);
    unsigned marked;
    const struct stack_slot **list = calloc(used + 1, sizeof *list);
    struct group *groups = calloc(used + 1, sizeof *groups);
    bool ok = list && groups;
    if (ok) {
        unsigned count = list_threads(slots, list, &marked);
        unsigned group_count = make_groups(slots, list, count, marked, groups);
        text_add(out, format == DUMP_JSON ? "[" : "");
        for (unsigned i = 0; i < group_count; i++) {
            if (format == DUMP_JSON) {
                text_add(out, i > 0 ? "," : "");
                group_json(&groups[i], resolver, out);
            } else {
                group_text(&groups[i], resolver, out);
            }
        }
        if (format == DUMP_TEXT && slots->missed > 0)
            text_addf(out, "%u more threads, for which there was no slot\n\n", slots->missed);
        text_add(out, format == DUMP_JSON ? "]" : "");
    }
    free(groups);
    free(list);
    return ok && !out->failed;
}
