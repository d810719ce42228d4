# Sourced by the benchmarks that need the real service: a private PostgreSQL, and services on free ports.
# shellcheck shell=bash

temp=
services=()

# begin: starts the database, and puts its addresses into the environment. Everything ends with the script.
begin() {
    unset "${!FLASHOVER_@}" "${!PG@}" # a shell's own, as of a lab that is up
    temp=$(mktemp -d /tmp/flashover-bench-XXXXXX)
    chmod 711 "$temp" # the server may run as another user
    trap finish EXIT
    deploy/postgres.sh start "$temp/postgres" >/dev/null
    # shellcheck source=/dev/null
    . "$temp/postgres/env"
}

stop_services() {
    local pid
    for pid in "${services[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" || true
    done
    services=()
}

finish() {
    stop_services
    deploy/postgres.sh stop "$temp/postgres" || true
    rm -rf "$temp"
}

# await COMMAND…: repeats the command until it succeeds, at most 20 s.
await() {
    local deadline=$((SECONDS + 20))
    until "$@"; do
        ((SECONDS < deadline)) || {
            cat "$temp"/*.log >&2
            exit 1
        }
        read -rt 0.05 <> <(:) || true
    done
}

has_started() {
    ports=$(sed -n 's/.*"message":"started".*"port":\([0-9]*\),"admin_port":\([0-9]*\).*/\1 \2/p' "$1") && [[ -n $ports ]]
}

# start_service QUERY [OPTION…]: starts the service on free ports, and sets $port and $admin_port to them.
start_service() {
    local log=$temp/$1.log
    build/service --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --query "$@" 2>"$log" &
    services+=($!)
    await has_started "$log"
    # shellcheck disable=SC2034 # for the scripts that source this
    read -r port admin_port <<<"$ports"
}
