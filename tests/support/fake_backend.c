#include "tests/support/fake_backend.h"

#include "common/check.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MESSAGE_SIZE = 8192, OUT_SIZE = 65536 };

/* One connection; belongs to its thread. */
struct session {
    struct fake_backend *backend;
    int fd;
    char prepared[8][FAKE_STATEMENT_SIZE]; /* the SQL of each statement, in order */
    char names[8][32];
    unsigned prepared_count;
    char sql[FAKE_STATEMENT_SIZE]; /* of the last bind */
    const struct fake_answer *answer;
    bool is_skipping; /* after an error, until the sync */
    bool is_silent;
    char out[OUT_SIZE];
    size_t out_size;
};

static void lock(struct fake_backend *backend)
{
    CHECK_PTHREAD(pthread_mutex_lock(&backend->lock));
}

static void unlock(struct fake_backend *backend)
{
    CHECK_PTHREAD(pthread_mutex_unlock(&backend->lock));
}

/* ---- writing ----------------------------------------------------------------------------------
 */

static void put_bytes(struct session *session, const void *bytes, size_t size)
{
    assert(session->out_size + size <= sizeof session->out);
    memcpy(session->out + session->out_size, bytes, size);
    session->out_size += size;
}

static void put_int32(struct session *session, uint32_t value)
{
    uint32_t wire = htonl(value);
    put_bytes(session, &wire, sizeof wire);
}

static void put_int16(struct session *session, uint16_t value)
{
    uint16_t wire = htons(value);
    put_bytes(session, &wire, sizeof wire);
}

/* Returns where the message begins, for end_message(). */
static size_t begin_message(struct session *session, char type)
{
    put_bytes(session, &type, 1);
    size_t start = session->out_size;
    put_int32(session, 0);
    return start;
}

static void end_message(struct session *session, size_t start)
{
    uint32_t wire = htonl((uint32_t)(session->out_size - start));
    memcpy(session->out + start, &wire, sizeof wire);
}

static void put_message(struct session *session, char type, const void *body, size_t size)
{
    size_t start = begin_message(session, type);
    put_bytes(session, body, size);
    end_message(session, start);
}

static void send_out(struct session *session)
{
    if (!session->is_silent)
        (void)!send(session->fd, session->out, session->out_size, MSG_NOSIGNAL);
    session->out_size = 0;
}

static void put_error(struct session *session, const char *sqlstate)
{
    size_t start = begin_message(session, 'E');
    put_bytes(session, "SERROR", sizeof "SERROR");
    put_bytes(session, "VERROR", sizeof "VERROR");
    put_bytes(session, "C", 1);
    put_bytes(session, sqlstate, strlen(sqlstate) + 1);
    put_bytes(session, "Mthe server refuses", sizeof "Mthe server refuses");
    put_bytes(session, "", 1);
    end_message(session, start);
    session->is_skipping = true;
}

static void put_description(struct session *session)
{
    const struct fake_answer *answer = session->answer;
    size_t start;
    if (answer->columns == 0) {
        put_message(session, 'n', "", 0); /* no data */
        return;
    }
    start = begin_message(session, 'T');
    put_int16(session, (uint16_t)answer->columns);
    for (unsigned i = 0; i < answer->columns; i++) {
        put_bytes(session, "column", sizeof "column");
        put_int32(session, 0);
        put_int16(session, 0);
        put_int32(session, answer->types ? answer->types[i] : 25 /* text */);
        put_int16(session, 0xffff);
        put_int32(session, 0xffffffff);
        put_int16(session, answer->types ? 1 : 0); /* binary or text */
    }
    end_message(session, start);
}

static void put_rows(struct session *session)
{
    const struct fake_answer *answer = session->answer;
    const char *tag = answer->tag ? answer->tag : "SELECT";
    for (unsigned row = 0; row < answer->rows; row++) {
        size_t start = begin_message(session, 'D');
        put_int16(session, (uint16_t)answer->columns);
        for (unsigned i = 0; i < answer->columns; i++) {
            const struct fake_cell *cell = &answer->cells[row * answer->columns + i];
            put_int32(session, (uint32_t)cell->size);
            if (cell->size > 0)
                put_bytes(session, cell->bytes, (size_t)cell->size);
        }
        end_message(session, start);
    }
    put_message(session, 'C', tag, strlen(tag) + 1);
}

/* ---- reading ----------------------------------------------------------------------------------
 */

static const struct fake_answer nothing = {.reaction = FAKE_ROWS};

static const struct fake_answer *find_answer(const struct session *session)
{
    const struct fake_answer *answer = atomic_load(&session->backend->answers);
    for (; answer && answer->statement; answer++)
        if (strstr(session->sql, answer->statement))
            return answer;
    return &nothing;
}

static void take_parse(struct session *session, const char *name, const char *sql)
{
    unsigned index = 0;
    while (index < session->prepared_count && strcmp(session->names[index], name) != 0)
        index++;
    assert(index < sizeof session->names / sizeof session->names[0]);
    if (index == session->prepared_count)
        session->prepared_count++;
    assert(strlen(name) < sizeof session->names[index]);
    assert(strlen(sql) < sizeof session->prepared[index]);
    memcpy(session->names[index], name, strlen(name) + 1);
    memcpy(session->prepared[index], sql, strlen(sql) + 1);
    put_message(session, '1', "", 0);
}

static uint16_t read_int16(const char **at)
{
    uint16_t wire;
    memcpy(&wire, *at, sizeof wire);
    *at += sizeof wire;
    return ntohs(wire);
}

static uint32_t read_int32(const char **at)
{
    uint32_t wire;
    memcpy(&wire, *at, sizeof wire);
    *at += sizeof wire;
    return ntohl(wire);
}

/* Notes the statement, and its parameters if they are text. */
static void note(struct session *session, const char *at)
{
    struct fake_backend *backend = session->backend;
    bool is_binary = false;
    for (unsigned formats = read_int16(&at); formats > 0; formats--)
        is_binary = read_int16(&at) != 0;
    lock(backend);
    assert(backend->executed_count < FAKE_STATEMENTS);
    char *noted = backend->executed[backend->executed_count++];
    size_t used = (size_t)snprintf(noted, FAKE_STATEMENT_SIZE, "%s", session->sql);
    for (unsigned count = read_int16(&at); count > 0; count--) {
        uint32_t size = read_int32(&at);
        if (!is_binary && used < FAKE_STATEMENT_SIZE)
            used +=
                (size_t)snprintf(noted + used, FAKE_STATEMENT_SIZE - used, "|%.*s", (int)size, at);
        at += size;
    }
    unlock(backend);
}

static void take_bind(struct session *session, const char *at)
{
    const char *name = at + strlen(at) + 1; /* after the portal's name */
    for (unsigned i = 0; i < session->prepared_count; i++)
        if (strcmp(session->names[i], name) == 0)
            memcpy(session->sql, session->prepared[i], sizeof session->sql);
    session->answer = find_answer(session);
    note(session, name + strlen(name) + 1);
    put_message(session, '2', "", 0);
}

/* False: hang up. */
static bool execute(struct session *session)
{
    switch (session->answer->reaction) {
    case FAKE_ROWS:
        put_rows(session);
        break;
    case FAKE_ERROR:
        put_error(session, session->answer->sqlstate);
        break;
    case FAKE_SILENT:
        session->is_silent = true;
        break;
    case FAKE_HANG_UP:
        return false;
    }
    return true;
}

/* False: hang up. */
static bool take_message(struct session *session, char type, const char *body)
{
    if (type == 'S') {
        put_message(session, 'Z', "I", 1);
        send_out(session);
        session->is_skipping = false;
    } else if (type == 'Q') { /* a SET or RESET */
        put_message(session, 'C', "SET", sizeof "SET");
        put_message(session, 'Z', "I", 1);
        send_out(session);
    } else if (type == 'X') {
        return false;
    } else if (session->is_skipping) {
        return true;
    } else if (type == 'P') {
        take_parse(session, body, body + strlen(body) + 1);
    } else if (type == 'B') {
        take_bind(session, body);
    } else if (type == 'D' && session->answer->reaction == FAKE_ROWS) {
        put_description(session);
    } else if (type == 'E') {
        return execute(session);
    }
    return true;
}

static bool receive(int fd, void *bytes, size_t size)
{
    return size == 0 || recv(fd, bytes, size, MSG_WAITALL) == (ssize_t)size;
}

/* Receives the body of the next message. Its size comes first and includes itself. */
static bool receive_body(int fd, char body[MESSAGE_SIZE])
{
    uint32_t wire;
    if (!receive(fd, &wire, sizeof wire))
        return false;
    size_t size = ntohl(wire) - sizeof wire;
    assert(size < MESSAGE_SIZE);
    body[size] = '\0';
    return receive(fd, body, size);
}

struct arrival {
    struct fake_backend *backend;
    unsigned index;
};

static void *session_main(void *argument)
{
    struct arrival *arrival = argument;
    struct session *session = calloc(1, sizeof *session);
    char body[MESSAGE_SIZE];
    char type;
    assert(session);
    session->backend = arrival->backend;
    session->answer = &nothing;
    lock(arrival->backend);
    session->fd = arrival->backend->connections[arrival->index];
    unlock(arrival->backend);
    bool goes_on = receive_body(session->fd, body); /* the startup message */
    put_message(session, 'R', "\0\0\0", 4);         /* authenticated */
    put_message(session, 'K', "\0\0\0\1\0\0\0", 8);
    put_message(session, 'Z', "I", 1);
    send_out(session);
    while (goes_on && receive(session->fd, &type, 1) && receive_body(session->fd, body))
        goes_on = take_message(session, type, body);
    shutdown(session->fd, SHUT_RDWR);
    free(session);
    free(arrival);
    return NULL;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static void *backend_main(void *argument)
{
    struct fake_backend *backend = argument;
    int fd;
    while ((fd = accept4(backend->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        struct arrival *arrival = calloc(1, sizeof *arrival);
        unsigned index = atomic_load(&backend->accepted);
        assert(arrival && index < FAKE_CONNECTIONS);
        *arrival = (struct arrival){backend, index};
        lock(backend);
        backend->connections[index] = fd;
        CHECK_PTHREAD(pthread_create(&backend->threads[index], NULL, session_main, arrival));
        atomic_store(&backend->accepted, index + 1); /* before the session sends anything */
        unlock(backend);
    }
    return NULL;
}

void fake_backend_open(struct fake_backend *backend, const struct fake_answer *answers)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    memset(backend, 0, sizeof *backend);
    atomic_store(&backend->answers, answers);
    CHECK_PTHREAD(pthread_mutex_init(&backend->lock, NULL));
    backend->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failed = bind(backend->fd, (struct sockaddr *)&address, size) ||
                 getsockname(backend->fd, (struct sockaddr *)&address, &size) ||
                 listen(backend->fd, FAKE_CONNECTIONS);
    assert(!failed);
    snprintf(backend->conninfo, sizeof backend->conninfo,
             "host=127.0.0.1 port=%u user=x dbname=x sslmode=disable gssencmode=disable",
             ntohs(address.sin_port));
    CHECK_PTHREAD(pthread_create(&backend->thread, NULL, backend_main, backend));
}

void fake_backend_cut(struct fake_backend *backend)
{
    lock(backend);
    for (unsigned i = 0; i < atomic_load(&backend->accepted); i++)
        (void)shutdown(backend->connections[i], SHUT_RDWR);
    unlock(backend);
}

void fake_backend_notify(struct fake_backend *backend, const char *channel)
{
    char message[64] = "A";
    size_t name_size = strlen(channel) + 1;
    uint32_t wire = htonl((uint32_t)(4 + 4 + name_size + 1)); /* size, pid, channel, payload */
    memcpy(message + 1, &wire, sizeof wire);
    memcpy(message + 9, channel, name_size);
    lock(backend);
    for (unsigned i = 0; i < atomic_load(&backend->accepted); i++)
        (void)!send(backend->connections[i], message, 9 + name_size + 1, MSG_NOSIGNAL);
    unlock(backend);
}

unsigned fake_backend_count(struct fake_backend *backend, const char *part)
{
    unsigned count = 0;
    lock(backend);
    for (unsigned i = 0; i < backend->executed_count; i++)
        count += strstr(backend->executed[i], part) != NULL;
    unlock(backend);
    return count;
}

void fake_backend_forget(struct fake_backend *backend)
{
    lock(backend);
    backend->executed_count = 0;
    unlock(backend);
}

void fake_backend_close(struct fake_backend *backend)
{
    (void)shutdown(backend->fd, SHUT_RDWR);
    CHECK_PTHREAD(pthread_join(backend->thread, NULL));
    fake_backend_cut(backend);
    for (unsigned i = 0; i < atomic_load(&backend->accepted); i++) {
        CHECK_PTHREAD(pthread_join(backend->threads[i], NULL));
        close(backend->connections[i]);
    }
    close(backend->fd);
}
