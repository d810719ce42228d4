#include "service/commands.h"

#include "common/check.h"
#include "common/clock.h"
#include "service/toggles/store.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define DATABASE_TIMEOUT_NS (5 * CLOCK_NS_PER_S)
#define HEALTH_TIMEOUT_S    2

/* {"map":"unsafe"} from {"map=unsafe"}; NULL with a line on stderr for anything else. */
static json_t *parse_assignments(int count, char *const *assignments)
{
    json_t *changes = json_object();
    char message[256];
    for (int i = 0; i < count; i++) {
        const char *equals = strchr(assignments[i], '=');
        if (!equals) {
            fprintf(stderr, "service toggle: '%s' is not NAME=VALUE\n", assignments[i]);
            json_decref(changes);
            return NULL;
        }
        char *name = strndup(assignments[i], (size_t)(equals - assignments[i]));
        bool twice = name && json_object_get(changes, name);
        bool ok =
            name && !twice && json_object_set_new(changes, name, json_string(equals + 1)) == 0;
        free(name);
        if (!ok) {
            fprintf(stderr,
                    twice ? "service toggle: '%s' is the second value for one toggle\n"
                          : "service toggle: '%s' is not text in UTF-8\n",
                    assignments[i]);
            json_decref(changes);
            return NULL;
        }
    }
    if (!toggles_check(changes, message, sizeof message)) {
        fprintf(stderr, "service toggle: %s\n", message);
        json_decref(changes);
        return NULL;
    }
    return changes;
}

static void print_stored(const json_t *stored)
{
    for (enum toggle toggle = 0; toggle < TOGGLES; toggle++) {
        const char *value =
            json_string_value(json_object_get(stored, toggle_definitions[toggle].name));
        printf("%-10s %-12s (%s)\n", toggle_definitions[toggle].name, value ? value : "-",
               value ? "stored" : "not stored: the start option counts");
    }
}

static json_t *read_stored(const struct db_conn_config *database, int64_t deadline_ns,
                           struct failure *failure)
{
    struct db_conn *conn = db_conn_open(database, deadline_ns, -1, failure);
    json_t *stored = conn ? toggle_store_read(conn, deadline_ns, failure) : NULL;
    db_conn_close(conn);
    return stored;
}

static const char no_url_text[] =
    "service toggle: neither --control-database-url nor FLASHOVER_CONTROL_DATABASE_URL says where "
    "the database is; for the lab of make up: . build/lab/env\n";

int command_toggle(const struct config *config, int count, char *const *assignments)
{
    struct failure failure = {0};
    int64_t deadline_ns = clock_now_ns() + DATABASE_TIMEOUT_NS;
    const struct db_conn_config database = {.conninfo = config->control_database_url,
                                            .application_name = "flashover-toggle"};
    json_t *changes = parse_assignments(count, assignments);
    if (!changes)
        return 2;
    json_t *stored =
        count ? toggle_store_change(&database, "service toggle", changes, deadline_ns, &failure)
              : read_stored(&database, deadline_ns, &failure);
    if (stored)
        print_stored(stored);
    else
        fprintf(stderr, "service toggle: %s\n%s", failure.message,
                config->control_database_url ? "" : no_url_text);
    json_decref(changes);
    bool done = stored != NULL;
    json_decref(stored);
    return done ? 0 : 1;
}

/* A socket to one of the addresses that a name has. -1 on failure. */
static int connect_socket(const struct addrinfo *to)
{
    const struct timeval timeout = {.tv_sec = HEALTH_TIMEOUT_S};
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) == 0 &&
              setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) == 0 &&
              connect(fd, to->ai_addr, to->ai_addrlen) == 0;
    if (!ok && fd >= 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* A socket to the public port, by the first of its addresses where somebody listens; one that means
 * "all interfaces" is reached over loopback. -1 on failure. */
static int connect_to(const char *address)
{
    char host[256];
    char port_text[8];
    uint16_t port;
    struct addrinfo *found = NULL;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    if (!options_split_address(address, host, sizeof host, &port))
        return -1;
    if (strcmp(host, "0.0.0.0") == 0)
        snprintf(host, sizeof host, "127.0.0.1");
    if (strcmp(host, "::") == 0)
        snprintf(host, sizeof host, "::1");
    snprintf(port_text, sizeof port_text, "%u", port);
    if (getaddrinfo(host, port_text, &hints, &found) != 0)
        return -1;
    int fd = -1;
    for (const struct addrinfo *to = found; to && fd < 0; to = to->ai_next)
        fd = connect_socket(to);
    freeaddrinfo(found);
    return fd;
}

int command_healthcheck(const struct config *config)
{
    static const char request[] =
        "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    static const char wanted[] = "HTTP/1.1 200 ";
    char answer[sizeof wanted] = "";
    size_t received = 0;
    int fd = connect_to(config->listen);
    if (fd < 0) {
        fprintf(stderr, "service healthcheck: nobody listens on %s\n", config->listen);
        return 1;
    }
    ssize_t got = send(fd, request, sizeof request - 1, MSG_NOSIGNAL);
    while (got > 0 && received < sizeof wanted - 1) {
        got = recv(fd, answer + received, sizeof wanted - 1 - received, 0);
        received += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    if (strcmp(answer, wanted) == 0)
        return 0;
    fprintf(stderr, "service healthcheck: %s is not ready\n", config->listen);
    return 1;
}
