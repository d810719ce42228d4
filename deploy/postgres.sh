#!/usr/bin/env bash
# A private, throw-away PostgreSQL for the lab, the tests and the bench. Any number of them run side by side, each in a
# folder of its own: DIR/data, the unix socket, DIR/postgres.log and DIR/env.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
# shellcheck source=process.sh
. "$here/process.sh"

# libpq reads them, and they are about another server.
unset "${!PG@}"

readonly start_timeout_s=30
readonly stop_timeout_s=10

usage() {
    cat <<'USAGE'
usage: postgres.sh start|stop|restart|kill|template DIR

  start    makes a cluster with roles and schema in DIR, which must be new or empty, starts its server and writes DIR/env
           for a shell to source; starts an existing cluster in DIR again on its old port
  stop     stops the server and removes all of DIR but DIR/postgres.log
  restart  stops the server, keeps the data, and starts it again
  kill     ends the server at once, as a crash would, and keeps the data (for fault tests)
  template makes a cluster as start does, without a running server

FLASHOVER_PG_TEMPLATE names a folder made by template. start copies it instead of making a cluster, which saves tests most
of the time. FLASHOVER_PG_PORT sets the port on 127.0.0.1. As root, the server runs as the user postgres.
USAGE
}

fail() {
    printf 'postgres.sh: %s\n' "$1" >&2
    exit 1
}

usage_error() {
    printf 'postgres.sh: %s (see postgres.sh --help)\n' "$1" >&2
    exit 2
}

# The newest server there is. pg_config comes with libpq-dev and may name a version whose server is not installed.
find_server() {
    local dir
    if command -v pg_config >/dev/null; then
        dir=$(pg_config --bindir)
        if [[ -x $dir/postgres && -x $dir/initdb ]]; then
            printf '%s\n' "$dir"
            return
        fi
    fi
    dir=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
    [[ -n $dir && -x $dir/postgres && -x $dir/initdb ]] ||
        fail 'no PostgreSQL server found; install it with deploy/deps.sh run'
    printf '%s\n' "$dir"
}

# The server refuses to run as root.
as_server_user() {
    if ((EUID == 0)); then
        setpriv --reuid postgres --regid postgres --init-groups -- env -C "$dir" HOME="$dir" "$@"
    else
        env -C "$dir" "$@"
    fi
}

# PostgreSQL's own meaning of the signals: INT is a fast shutdown, QUIT an immediate one.
end_server() {
    end_registered "$dir/server.pid" "$stop_timeout_s" "$@" || fail "the server in $dir did not stop"
}

make_dir() {
    mkdir -p "$dir"
    if [[ -n $(find "$dir" -mindepth 1 -maxdepth 1 ! -name postgres.log -print -quit) ]]; then
        fail "$dir is neither empty nor a cluster made by this script"
    fi
    if ((EUID == 0)); then
        id postgres >/dev/null 2>&1 || fail 'there is no user postgres; install the server with deploy/deps.sh run'
        chown postgres: "$dir"
    fi
    chmod 0700 "$dir"
    as_server_user test -w "$dir" 2>/dev/null ||
        fail "the user postgres cannot reach $dir; choose a folder that every user can enter, for example below /tmp"
}

make_cluster() {
    as_server_user "$bin/initdb" --pgdata="$dir/data" --username=postgres --encoding=UTF8 --locale=C.UTF-8 \
        --auth-local=trust --auth-host=scram-sha-256 --no-sync >"$dir/initdb.log" 2>&1 ||
        fail "initdb failed: $(tail -n 1 "$dir/initdb.log")"
    # The superuser has no password: it comes in by the socket only, in a folder that nobody else may enter.
    cat >"$dir/data/pg_hba.conf" <<'HBA'
local all postgres trust
host  all all      127.0.0.1/32 scram-sha-256
HBA
    # Throw-away data: no fsync. Each commit still reaches the kernel, so that `kill` loses none.
    # wal_level minimal lets the seeding skip the log.
    cat >>"$dir/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$dir'
max_connections = 300
fsync = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
log_destination = stderr
logging_collector = off
log_line_prefix = '%m [%p] %q%u@%d '
log_timezone = UTC
log_connections = off
log_disconnections = off
cluster_name = flashover
CONF
}

# The roles get passwords of their own afterwards, as in a new cluster.
copy_cluster() {
    [[ -e $FLASHOVER_PG_TEMPLATE/data/PG_VERSION ]] ||
        fail "FLASHOVER_PG_TEMPLATE=$FLASHOVER_PG_TEMPLATE: there is no cluster made by postgres.sh template"
    cp -a "$FLASHOVER_PG_TEMPLATE/data" "$dir/data"
    printf "unix_socket_directories = '%s'\n" "$dir" >>"$dir/data/postgresql.conf"
}

# Starts the server on $1 and returns 0 once it answers, 1 if it ended again.
start_on_port() {
    local port=$1 deadline=$(($(now_ms) + start_timeout_s * 1000))
    # In a session of its own, so that a Ctrl-C in the terminal does not take it away from under what still uses it.
    # It writes its own pid before it becomes the server: at no moment is there a server that nobody knows of.
    # shellcheck disable=SC2016 # expanded by the inner shell
    setsid bash -c '
        . "$1/process.sh"
        dir=$2
        shift 2
        ulimit -c 0
        cd "$dir" && register_process "$dir/server.pid" "$$" && exec "$@"
    ' bash "$here" "$dir" "${as_postgres[@]}" "$bin/postgres" -D "$dir/data" -p "$port" \
        </dev/null >>"$dir/postgres.log" 2>&1 &
    local pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        if "$bin/pg_isready" --quiet --host="$dir" --port="$port" --username=postgres --dbname=postgres; then
            disown "$pid"
            return 0
        fi
        if (($(now_ms) >= deadline)); then
            end_server QUIT KILL
            fail "the server is not ready after $start_timeout_s s, see $dir/postgres.log"
        fi
        sleep 0.05
    done
    return 1
}

start_server() {
    local port try
    : >>"$dir/postgres.log"
    if [[ -s $dir/port ]]; then
        port=$(<"$dir/port")
        start_on_port "$port" || fail "the server did not start again on port $port: $(tail -n 1 "$dir/postgres.log")"
        return
    fi
    if [[ -n ${FLASHOVER_PG_PORT:-} ]]; then
        port_is_free "$FLASHOVER_PG_PORT" || fail "port $FLASHOVER_PG_PORT (FLASHOVER_PG_PORT) is taken"
        start_on_port "$FLASHOVER_PG_PORT" || fail "the server did not start: $(tail -n 1 "$dir/postgres.log")"
        printf '%s\n' "$FLASHOVER_PG_PORT" >"$dir/port"
        return
    fi
    # Another starter may take the port between our look and our bind.
    for ((try = 0; try < 20; try++)); do
        port=$(random_port)
        port_is_free "$port" || continue
        if start_on_port "$port"; then
            printf '%s\n' "$port" >"$dir/port"
            return
        fi
        grep -q 'could not create any TCP/IP sockets' "$dir/postgres.log" || break
    done
    fail "the server did not start: $(tail -n 1 "$dir/postgres.log")"
}

# Passwords go in by standard input: a psql --set could be read in the list of processes.
make_schema() {
    local port=$1 owner=$2 app=$3 control=$4 drill=$5
    {
        printf '\\set %s_password %s\n' owner "$owner" app "$app" control "$control" drill "$drill"
        cat "$here"/create-{roles,drill}.sql
    } | PGOPTIONS='-c client_min_messages=warning' psql --no-psqlrc --quiet --host="$dir" --port="$port" \
        --username=postgres --dbname=postgres >>"$dir/setup.log" 2>&1 ||
        fail "the roles were not made: $(tail -n 1 "$dir/setup.log")"
    FLASHOVER_OWNER_DATABASE_URL=postgresql://flashover_owner:$owner@127.0.0.1:$port/flashover \
        "$here/../migrations/migrate" up >>"$dir/setup.log" 2>&1 ||
        fail "the schema was not made: $(tail -n 1 "$dir/setup.log")"
}

write_env() {
    local port=$1 owner=$2 app=$3 control=$4 drill=$5
    (
        umask 0077
        cat >"$dir/env.new" <<ENV
export FLASHOVER_OWNER_DATABASE_URL='postgresql://flashover_owner:$owner@127.0.0.1:$port/flashover'
export FLASHOVER_DATABASE_URL='postgresql://flashover_app:$app@127.0.0.1:$port/flashover'
export FLASHOVER_CONTROL_DATABASE_URL='postgresql://flashover_control:$control@127.0.0.1:$port/flashover'
export FLASHOVER_DRILL_DATABASE_URL='postgresql://flashover_drill:$drill@127.0.0.1:$port/flashover'
export FLASHOVER_PG_SUPERUSER_URL='host=$dir port=$port user=postgres dbname=flashover'
export FLASHOVER_PG_PORT=$port
ENV
    )
    mv "$dir/env.new" "$dir/env"
}

cmd_start() {
    local port owner app control drill
    if [[ -e $dir/env && -e $dir/data/PG_VERSION ]]; then
        registered_pid "$dir/server.pid" >/dev/null && fail "the server in $dir is already running"
        start_server
        return
    fi
    make_dir
    # 107 bytes is what a unix socket's address holds.
    ((${#dir} + 15 <= 107)) || fail "the path $dir is too long for a unix socket"
    if [[ -n ${FLASHOVER_PG_TEMPLATE:-} ]]; then
        copy_cluster
    else
        make_cluster
    fi
    start_server
    port=$(<"$dir/port")
    owner=$(random_secret)
    app=$(random_secret)
    control=$(random_secret)
    drill=$(random_secret)
    make_schema "$port" "$owner" "$app" "$control" "$drill"
    write_env "$port" "$owner" "$app" "$control" "$drill"
    started=1
}

cmd_template() {
    [[ ! -e $dir/data ]] || fail "$dir has a cluster already"
    cmd_start
    started=0 # nothing of it is to run on
    end_server INT
    rm -rf "$dir"/.s.PGSQL.* "$dir"/{env,port,server.pid,initdb.log,setup.log}
    started=1
}

cmd_stop() {
    end_server INT QUIT KILL
    rm -rf "$dir"/data "$dir"/.s.PGSQL.* "$dir"/{env,env.new,port,server.pid,initdb.log,setup.log}
}

# A first start that failed leaves neither a server nor data, only what tells why.
abandon_start() {
    local status=$?
    trap '' INT TERM HUP
    if ((started == 0)); then
        end_server QUIT KILL
        rm -rf "$dir"/data "$dir"/.s.PGSQL.* "$dir"/{env,env.new,port,server.pid}
    fi
    exit "$status"
}

main() {
    [[ ${1:-} != --help && ${1:-} != -h ]] || {
        usage
        exit 0
    }
    (($# == 2)) || usage_error 'give a command and a folder'
    [[ $1 =~ ^(start|stop|restart|kill|template)$ ]] || usage_error "unknown command $1"
    [[ $2 != *[\'\"\\]* && $2 != *$'\n'* ]] || usage_error 'DIR must not contain quotes, backslashes or line breaks'
    if [[ -n ${FLASHOVER_PG_PORT:-} ]]; then
        [[ $FLASHOVER_PG_PORT =~ ^[1-9][0-9]{0,4}$ && $FLASHOVER_PG_PORT -le 65535 ]] ||
            usage_error "FLASHOVER_PG_PORT=$FLASHOVER_PG_PORT is not a port from 1 to 65535"
    fi
    [[ $1 == start || $1 == template ]] || [[ -d $2 ]] || fail "$2 does not exist"
    dir=$(realpath -m -- "$2")
    bin=$(find_server)
    if ((EUID == 0)); then
        as_postgres=(setpriv --reuid postgres --regid postgres --init-groups --)
    fi
    case $1 in
        start | template)
            [[ -e $dir/env ]] && started=1
            trap abandon_start EXIT
            trap '' INT # a Ctrl-C meets the whole group, and bash (5.2) may spin on it in the middle of $(...)
            trap 'exit 143' TERM
            trap 'exit 129' HUP
            "cmd_$1"
            ;;
        stop) cmd_stop ;;
        restart)
            [[ -e $dir/env ]] || fail "there is no server in $dir"
            end_server INT QUIT KILL
            start_server
            ;;
        kill) end_server QUIT KILL ;;
    esac
}

declare dir='' bin='' started=0
declare -a as_postgres=()
main "$@"
