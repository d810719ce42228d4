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

/* One of the two commands that store names and values. */
struct store_command {
    const char *name; /* as typed */
    const char *what; /* is stored */
    enum store_table table;
    /* The value of a change, from the text after the "="; NULL: not well-formed. */
    json_t *(*parse_value)(const char *text);
    bool (*check)(const json_t *changes, char *message, size_t size);
    void (*print)(const json_t *stored);
};

/* {"map":"unsafe"} from {"map=unsafe"}; NULL with a line on stderr for anything else. */
static json_t *parse_assignments(const struct store_command *command, int count,
                                 char *const *assignments)
{
    json_t *changes = json_object();
    char message[256];
    for (int i = 0; i < count; i++) {
        const char *equals = strchr(assignments[i], '=');
        if (!equals) {
            fprintf(stderr, "service %s: '%s' is not NAME=VALUE\n", command->name, assignments[i]);
            json_decref(changes);
            return NULL;
        }
        char *name = strndup(assignments[i], (size_t)(equals - assignments[i]));
        bool twice = name && json_object_get(changes, name);
        bool ok = name && !twice &&
                  json_object_set_new(changes, name, command->parse_value(equals + 1)) == 0;
        free(name);
        if (!ok) {
            if (twice)
                fprintf(stderr, "service %s: '%s' is the second value for one %s\n", command->name,
                        assignments[i], command->what);
            else
                fprintf(stderr, "service %s: '%s' is not text in UTF-8\n", command->name,
                        assignments[i]);
            json_decref(changes);
            return NULL;
        }
    }
    if (!command->check(changes, message, sizeof message)) {
        fprintf(stderr, "service %s: %s\n", command->name, message);
        json_decref(changes);
        return NULL;
    }
    return changes;
}

static void print_stored(const json_t *stored, const char *name)
{
    const char *value = json_string_value(json_object_get(stored, name));
    printf("%-20s %-12s (%s)\n", name, value ? value : "-",
           value ? "stored" : "not stored: the start option counts");
}

static void print_toggles(const json_t *stored)
{
    for (enum toggle toggle = 0; toggle < TOGGLES; toggle++)
        print_stored(stored, toggle_definitions[toggle].name);
}

static void print_settings(const json_t *stored)
{
    for (enum setting setting = 0; setting < SETTINGS; setting++)
        print_stored(stored, setting_definitions[setting].name);
}

/* Nothing removes the stored value. What is no number is passed on, to be refused by its name. */
static json_t *parse_setting(const char *text)
{
    if (!*text)
        return json_null();
    json_t *number = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    if (json_is_number(number))
        return number;
    json_decref(number);
    return json_string(text);
}

static bool check_settings(const json_t *changes, char *message, size_t size)
{
    return settings_check(changes, NULL, message, size);
}

static json_t *read_stored(const struct db_conn_config *database, enum store_table table,
                           int64_t deadline_ns, struct failure *failure)
{
    struct db_conn *conn = db_conn_open(database, deadline_ns, -1, failure);
    json_t *stored = conn ? store_read(conn, table, deadline_ns, failure) : NULL;
    db_conn_close(conn);
    return stored;
}

static const char no_url_text[] =
    ": neither --control-database-url nor FLASHOVER_CONTROL_DATABASE_URL says where "
    "the database is; for the lab of make up: . build/lab/env\n";

static int run_store_command(const struct store_command *command, const struct config *config,
                             int count, char *const *assignments)
{
    struct failure failure = {0};
    int64_t deadline_ns = clock_now_ns() + DATABASE_TIMEOUT_NS;
    char replica[32];
    const struct db_conn_config database = {.conninfo = config->control_database_url,
                                            .application_name = "flashover-toggle"};
    json_t *changes = parse_assignments(command, count, assignments);
    if (!changes)
        return 2;
    snprintf(replica, sizeof replica, "service %s", command->name);
    json_t *stored =
        count ? store_change(&database, command->table, replica, changes, deadline_ns, &failure)
              : read_stored(&database, command->table, deadline_ns, &failure);
    if (stored)
        command->print(stored);
    else
        fprintf(stderr, "%s: %s\n", replica, failure.message);
    if (!stored && !config->control_database_url)
        fprintf(stderr, "%s%s", replica, no_url_text);
    json_decref(changes);
    bool done = stored != NULL;
    json_decref(stored);
    return done ? 0 : 1;
}

int command_toggle(const struct config *config, int count, char *const *assignments)
{
    static const struct store_command toggle = {.name = "toggle",
                                                .what = "toggle",
                                                .table = STORE_TOGGLE,
                                                .parse_value = json_string,
                                                .check = toggles_check,
                                                .print = print_toggles};
    return run_store_command(&toggle, config, count, assignments);
}

int command_set(const struct config *config, int count, char *const *assignments)
{
    static const struct store_command set = {.name = "set",
                                             .what = "setting",
                                             .table = STORE_SETTING,
                                             .parse_value = parse_setting,
                                             .check = check_settings,
                                             .print = print_settings};
    return run_store_command(&set, config, count, assignments);
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
