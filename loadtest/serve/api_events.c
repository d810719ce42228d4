/*
 * A run's figures as server-sent events (WHATWG HTML, section 9.2): "live" as often as the run is
 * looked at, "seconds" once a second, and "end" once it is in the store. A client gets the latest
 * figures, not each of them: one that reads slowly skips some, and nothing piles up for it.
 */
#include "common/check.h"
#include "common/clock.h"
#include "loadtest/serve/api.h"
#include "loadtest/serve/live_json.h"

/* Each has a connection and a thread for as long as the run lasts. */
#define STREAMS_MAX 32
/* How soon a client that hung up is noticed while the run reports nothing. */
#define SIGN_OF_LIFE_NS CLOCK_NS_PER_S

struct event_stream {
    struct api *api;
    char id[RUN_ID_SIZE];
    uint64_t seen;           /* looks */
    unsigned seconds, final; /* rows that were sent, and those of them that change no more */
};

/* `data` is stolen. */
static void add_event(struct text *piece, const char *name, json_t *data)
{
    char *text = data ? json_dumps(data, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
    text_addf(piece, "event: %s\ndata: ", name);
    text_add(piece, text ? text : "null");
    text_add(piece, "\n\n");
    free(text);
    json_decref(data);
}

/* Once a second: the rows that have begun, or changed, since the last time. */
static void add_seconds(struct event_stream *stream, struct text *piece)
{
    struct run_seconds seconds;
    if (run_control_seconds(stream->api->control, stream->id, stream->final, &seconds) !=
        RUN_CONTROL_OK)
        return;
    stream->seconds = seconds.from + seconds.count;
    stream->final = seconds.final;
    add_event(piece, "seconds", api_seconds_json(stream->id, &seconds));
}

static bool next_event(void *context, struct text *piece)
{
    struct event_stream *stream = context;
    struct run_live live;
    if (run_control_snapshot(stream->api->control, stream->id, stream->seen,
                             clock_now_ns() + SIGN_OF_LIFE_NS, &live) == RUN_CONTROL_OVER) {
        json_t *record = run_store_load(stream->api->store, stream->id);
        add_event(piece, "end", record ? api_summary(record) : NULL);
        return false;
    }
    if (live.updates > stream->seen)
        add_event(piece, "live", live_json_build(&live));
    if (live.seconds > stream->seconds)
        add_seconds(stream, piece);
    else
        text_add(piece, ": nothing new\n\n");
    stream->seen = live.updates;
    return true;
}

static void release_stream(void *context)
{
    struct event_stream *stream = context;
    unsigned streams = atomic_fetch_sub(&stream->api->streams, 1);
    assert(streams > 0);
    free(stream);
}

void api_run_events(void *context, const struct http_request *request,
                    struct http_response *response)
{
    struct api *api = context;
    json_t *record = api_load(api, request, response);
    if (!record)
        return;
    json_decref(record);
    struct event_stream *stream = calloc(1, sizeof *stream);
    bool is_room = atomic_fetch_add(&api->streams, 1) < STREAMS_MAX;
    if (!stream || !is_room) {
        char message[HTTP_ERROR_SIZE];
        atomic_fetch_sub(&api->streams, 1);
        free(stream);
        snprintf(message, sizeof message, "too many clients of events: the limit is %d",
                 STREAMS_MAX);
        http_response_refuse(request, response, 503, is_room ? "out of memory" : message);
        response->retry_after_s = 1;
        return;
    }
    stream->api = api;
    snprintf(stream->id, sizeof stream->id, "%s", request->tail);
    response->content_type = "text/event-stream";
    response->stream.next = next_event;
    response->stream.release = release_stream;
    response->stream.context = stream;
}
