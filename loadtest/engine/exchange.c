#include "loadtest/engine/exchange.h"

#include "common/check.h"

#include <errno.h>
#include <jansson.h>

#define FEED_BODY_BYTES  1048576 /* 1,000 items take about 80 kB */
#define OTHER_BODY_BYTES 4096    /* enough for an error's JSON */

struct exchange *exchange_take(struct exchange_list *idle, struct exchange_list *closed,
                               int epoll_fd)
{
    /* The connection used last is the least likely to have been closed meanwhile. */
    struct exchange *exchange = TAILQ_LAST(idle, exchange_list);
    if (exchange) {
        assert(exchange->connection.state == CONNECTION_IDLE);
        TAILQ_REMOVE(idle, exchange, link);
        return exchange;
    }
    exchange = TAILQ_FIRST(closed);
    if (exchange) {
        assert(exchange->connection.state == CONNECTION_CLOSED);
        TAILQ_REMOVE(closed, exchange, link);
        return exchange;
    }
    exchange = malloc(sizeof *exchange);
    if (exchange)
        connection_init(&exchange->connection, epoll_fd, exchange);
    return exchange;
}

void exchange_free_all(struct exchange_list *list)
{
    struct exchange *exchange;
    while ((exchange = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, exchange, link);
        connection_destroy(&exchange->connection);
        free(exchange);
    }
}

enum connection_result exchange_start(struct exchange *exchange, enum load_check check)
{
    const struct target *target = &exchange->segment->target;
    bool is_feed = check == LOAD_CHECK_FEED;
    return connection_start(&exchange->connection, target, exchange->arrival.feed_id,
                            is_feed ? FEED_BODY_BYTES : OTHER_BODY_BYTES,
                            is_feed ? RESPONSE_EXCESS_BREAKS : RESPONSE_EXCESS_IGNORED);
}

/* The service's own words for an error, or the status alone when it has none. */
static void read_error_body(const struct response_parser *response, struct error_row *row)
{
    json_t *root = json_loadb(response->body.data ? response->body.data : "",
                              response->body.size_bytes, 0, NULL);
    const char *message = json_string_value(json_object_get(root, "message"));
    row->ecode = (int)json_integer_value(json_object_get(root, "ecode"));
    error_table_plain(row->message, sizeof row->message,
                      message && *message ? message : "(no message in the answer)");
    json_decref(root);
}

enum outcome exchange_judge(const struct exchange *exchange, enum load_check check,
                            struct feed_defects *defects, struct error_row *row)
{
    uint32_t items = exchange->segment->items;
    const struct response_parser *response = &exchange->connection.response;
    const char *first = NULL;
    assert(response->complete);
    bool is_success =
        check == LOAD_CHECK_FEED ? response->status == 200 : response->status / 100 == 2;
    if (is_success && (check == LOAD_CHECK_STATUS ||
                       feed_check_body(response->body.data, response->body.size_bytes,
                                       exchange->arrival.feed_id, items, defects, &first)))
        return OUTCOME_OK;
    *row = (struct error_row){.http_status = response->status};
    memcpy(row->request_id, response->request_id, sizeof row->request_id);
    if (is_success) {
        error_table_plain(row->message, sizeof row->message, first);
        return OUTCOME_WRONG;
    }
    read_error_body(response, row);
    return OUTCOME_HTTP_ERROR;
}

void exchange_count_attempt(const struct exchange *exchange, struct load_stats *stats)
{
    const struct connection *connection = &exchange->connection;
    struct generator_stats *generator = &stats->generator;
    if (connection->connected_at_ns)
        histogram_record_ns(&stats->connect,
                            connection->connected_at_ns - connection->connect_at_ns);
    if (connection->error == EMFILE || connection->error == ENFILE || connection->error == ENOBUFS)
        generator->out_of_descriptors++;
    else if (connection->error == EADDRNOTAVAIL)
        generator->out_of_ports++;
}
