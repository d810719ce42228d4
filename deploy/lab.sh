#!/usr/bin/env bash
# The lab on one machine: a private PostgreSQL, and under a supervisor each the service, the load tester and the drill
# program.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
readonly here root
# shellcheck source=process.sh
. "$here/process.sh"
# shellcheck source=teardown.sh
. "$here/teardown.sh"

# libpq reads them, and they are about another server.
unset "${!PG@}"

readonly ready_timeout_s=30
readonly guard_timeout_s=40 # in teardown.sh

usage() {
    cat <<'USAGE'
usage: lab.sh demo | up | down | reset | drill | logs [-f]

  demo   sets the fire off and shows the fix on a lab of its own, which it removes; results in build/demo
  up     starts a lab and leaves it running; its addresses are in build/lab/env
  down   stops the lab and removes it with its data
  reset  restores data, toggles and settings, and removes the events, while the lab runs
  drill  draws an incident whose cause nobody in the room knows, on a lab that it starts if there is none
  logs   prints the end of the service's log; -f or FOLLOW=1 follows it

PORT_BASE (default 8080) is the public port, PORT_BASE + 1 the admin port, PORT_BASE + 10 the load tester's, PORT_BASE + 15
and + 16 those of drills.
Another PORT_BASE makes a second lab, in build/lab-PORT_BASE. With CORES=1 a crash leaves a core in that folder.
The service of `up` takes its options from FLASHOVER_ variables in the environment.
USAGE
}

fail() {
    printf 'lab.sh: %s\n' "$1" >&2
    exit 1
}

usage_error() {
    printf 'lab.sh: %s (see lab.sh --help)\n' "$1" >&2
    exit 2
}

# ---- the run itself --------------------------------------------------------------------------------------------------

end_job() {
    [[ -n $job ]] || return 0
    if register_process "$home/job.pid" "$job"; then
        # With all of its group, where it leads one: else it would answer only after its own child has ended.
        kill -s TERM -- "-$job" 2>/dev/null || kill -s TERM "$job" 2>/dev/null
        wait_gone "$home/job.pid" 5 || end_registered "$home/job.pid" 5 KILL
    fi
    rm -f "$home/job.pid"
    job=''
}

# Runs for every end of `up` and `demo`. Nothing may interrupt it.
on_exit() {
    local status=$?
    trap '' INT TERM HUP PIPE
    set +e
    exec 2>/dev/null # all is said; the shell's own "Terminated" about our children is no news
    end_job
    release_guard
    if [[ -n $tee_pid ]]; then
        exec >&- 2>&-
        while process_start "$tee_pid" >/dev/null; do
            sleep 0.02
        done
    fi
    exit "$status"
}

# `up` and `demo` run in a session of their own, behind this front. Only the front gets the terminal's
# signals; it passes them on to one process, as TERM. A Ctrl-C to the whole group would meet the worker
# in the middle of $(...), where bash (5.2) may spin for ever on a SIGINT.
behind_front() {
    local status=0
    end_worker() {
        ended=$1
        [[ -z $worker ]] || kill -s TERM "$worker" 2>/dev/null || true
    }
    trap 'end_worker 130' INT
    trap 'end_worker 143' TERM
    trap 'end_worker 129' HUP
    setpriv --pdeathsig TERM -- setsid bash "$here/lab.sh" "$@" </dev/null &
    worker=$!
    ((ended == 0)) || end_worker "$ended"
    # A signal ends the wait, not the worker, which still has to clear away.
    while kill -0 "$worker" 2>/dev/null; do
        wait "$worker" 2>/dev/null || true
    done
    wait "$worker" || status=$?
    ((ended == 0)) || status=$ended
    exit "$status"
}

cmd_up() {
    behind_front work_up
}

cmd_demo() {
    behind_front work_demo
}

catch_signals() {
    trap on_exit EXIT
    trap 'exit 143' TERM
    trap '' INT HUP
}

# Runs a command in the background and waits, so that a signal is answered at once and not after the command. The status
# is the command's. The guard's pipe stays with us alone: it must close when we end.
run_job() {
    local status=0
    setpriv --pdeathsig TERM -- "$@" {guard_in}>&- &
    job=$!
    wait "$job" || status=$?
    job=''
    return "$status"
}

# ---- starting a lab ----------------------------------------------------------------------------------------------

check_programs() {
    local program
    for program in "$@"; do
        [[ -x $root/build/$program ]] || fail "build/$program is missing; run make first"
    done
    for program in setsid setpriv flock curl psql; do
        command -v "$program" >/dev/null || fail "$program is not installed; run deploy/deps.sh run"
    done
}

# One starter at a time for each lab. The lock ends with this process; nothing that it starts may inherit it.
take_lock() {
    mkdir -p "$root/build"
    exec {lock}>"$1"
    flock --nonblock "$lock" || fail "$2"
}

make_home() {
    mkdir -p "$home"
    # The supervisors are in sessions of their own: no Ctrl-C and no hang-up comes to them or to what they run.
    supervise=(setsid "$here/supervise.sh" "$home")
    temp=$(mktemp -d "${TMPDIR:-/tmp}/flashover-lab.XXXXXX")
    printf '%s\n' "$temp" >"$home/temp"
    # The database's own user passes through to its folder, which nobody else may enter.
    chmod 0711 "$temp"
}

start_database() {
    local status=0
    # A process group of its own, so that an early end takes all of it. Its output is shown only if it fails by itself.
    setpriv --pdeathsig TERM -- setsid "$here/postgres.sh" start "$temp/postgres" {guard_in}>&- {lock}>&- \
        >"$home/setup.log" 2>&1 &
    job=$!
    register_process "$home/setup.pid" "$job" || true
    wait "$job" || status=$?
    job=''
    ((status == 0)) || fail "the private PostgreSQL did not start: $(tail -n 1 "$home/setup.log")"
    rm -f "$home"/setup.{pid,log}
    # shellcheck source=/dev/null
    . "$temp/postgres/env"
}

# $1: public port; the rest: arguments of the service.
start_service() {
    local port=$1
    shift
    (umask 0077 && random_secret >"$home/admin-token")
    # URLs go in by the environment, which other users cannot read. The owner's stays out of the service's reach.
    env -u FLASHOVER_OWNER_DATABASE_URL -u FLASHOVER_DRILL_DATABASE_URL \
        -u FLASHOVER_PG_SUPERUSER_URL -u FLASHOVER_PG_PORT \
        FLASHOVER_LISTEN="127.0.0.1:$port" \
        FLASHOVER_ADMIN_LISTEN="127.0.0.1:$((port + 1))" \
        FLASHOVER_ADMIN_TOKEN_FILE="$home/admin-token" \
        FLASHOVER_DUMP_DIR="$home" \
        "${supervise[@]}" service "$root/build/service" "$@" {guard_in}>&- {lock}>&- >/dev/null 2>&1 </dev/null &
    wait_ready "$!" 'the service' service "http://127.0.0.1:$port/readyz"
}

# $1: its port, ten above the public one.
start_loadtest() {
    local port=$1 url=http://127.0.0.1:$(($1 - 10)) name hidden=()
    # Of the environment nothing counts, and the databases' URLs are none of its business.
    for name in "${!FLASHOVER_@}"; do
        hidden+=(-u "$name")
    done
    env "${hidden[@]}" STOP_TIMEOUT_S=11 "${supervise[@]}" loadtest "$root/build/loadtest" serve \
        --listen "127.0.0.1:$port" --url "$url/v1/feeds/{feed}" --allow-target "$url" \
        --admin-url "http://127.0.0.1:$((port - 9))" --admin-token-file "$home/admin-token" \
        --runs-dir "$home/runs" {guard_in}>&- {lock}>&- >/dev/null 2>&1 </dev/null &
    wait_ready "$!" 'the load tester' loadtest "http://127.0.0.1:$port/healthz"
}

# $1: people's port, fifteen above the public one; the facilitator's is the next.
start_drill() {
    local port=$1 base=$(($1 - 15)) name hidden=()
    for name in people facilitator; do
        (umask 0077 && random_secret >"$home/$name-token")
    done
    for name in "${!FLASHOVER_@}"; do
        [[ $name == FLASHOVER_DRILL_DATABASE_URL ]] || hidden+=(-u "$name")
    done
    env "${hidden[@]}" "${supervise[@]}" drill "$root/build/drill" serve \
        --listen "127.0.0.1:$port" --facilitator-listen "127.0.0.1:$((port + 1))" \
        --token-file "$home/people-token" --facilitator-token-file "$home/facilitator-token" \
        --url "http://127.0.0.1:$base" --admin-url "http://127.0.0.1:$((base + 1))" \
        --admin-token-file "$home/admin-token" --loadtest-url "http://127.0.0.1:$((base + 10))" \
        --catalogue-dir "$root/experiments" --drills-dir "$home/drills" \
        {guard_in}>&- {lock}>&- >/dev/null 2>&1 </dev/null &
    wait_ready "$!" 'the drill program' drill "http://127.0.0.1:$port/healthz"
}

# $1: the supervisor of what starts; $2: what people call it; $3: the name of its log; $4: what answers when it is
# ready, with 200, or with 401 where it has a token.
wait_ready() {
    local supervisor=$1 what=$2 log=$home/$3.log url=$4 deadline=$(($(now_ms) + ready_timeout_s * 1000)) status
    while kill -0 "$supervisor" 2>/dev/null; do
        status=$(curl --silent --noproxy '*' --max-time 1 --output /dev/null --write-out '%{http_code}' "$url") || true
        if [[ $status == 200 || $status == 401 ]]; then
            disown "$supervisor"
            return
        fi
        (($(now_ms) < deadline)) ||
            fail "$what is not ready after $ready_timeout_s s; its last line: $(tail -n 1 "$log")"
        sleep 0.05
    done
    fail "$what did not start: $(grep -v '"program":"supervisor"' "$log" | tail -n 1)"
}

# A port from which the kernel takes those of outgoing connections may be taken at any time.
warn_of_local_ports() {
    local low high
    read -r low high </proc/sys/net/ipv4/ip_local_port_range || return 0
    if ((port_base + 16 >= low && port_base <= high)); then
        printf 'Note: ports %s to %s are also those of outgoing connections here; below %s none comes in the way.\n' \
            "$low" "$high" "$low" >&2
    fi
}

# ---- commands ----------------------------------------------------------------------------------------------------

# Sets port_base and home from PORT_BASE.
choose_lab() {
    port_base=${PORT_BASE:-8080}
    [[ $port_base =~ ^[1-9][0-9]{0,4}$ && $port_base -le 65519 ]] ||
        usage_error "PORT_BASE=$port_base is not a port from 1 to 65519"
    home=$root/build/lab
    ((port_base == 8080)) || home+=-$port_base
}

write_env() {
    (
        umask 0077
        cat >"$home/env.new" <<ENV
export FLASHOVER_URL=http://127.0.0.1:$port_base
export FLASHOVER_ADMIN_URL=http://127.0.0.1:$((port_base + 1))
export FLASHOVER_LOADTEST_URL=http://127.0.0.1:$((port_base + 10))
export FLASHOVER_DRILL_URL=http://127.0.0.1:$((port_base + 15))
export FLASHOVER_FACILITATOR_URL=http://127.0.0.1:$((port_base + 16))
export FLASHOVER_ADMIN_TOKEN_FILE=$(printf %q "$home/admin-token")
export FLASHOVER_OWNER_DATABASE_URL='$FLASHOVER_OWNER_DATABASE_URL'
export FLASHOVER_CONTROL_DATABASE_URL='$FLASHOVER_CONTROL_DATABASE_URL'
export FLASHOVER_DRILL_DATABASE_URL='$FLASHOVER_DRILL_DATABASE_URL'
ENV
    )
    mv "$home/env.new" "$home/env"
}

print_what_to_try() {
    local dir=${home#"$root/"} url=http://127.0.0.1:$port_base admin=http://127.0.0.1:$((port_base + 1)) make=''
    local runs=http://127.0.0.1:$((port_base + 10))/v1/runs
    ((port_base == 8080)) || make=" PORT_BASE=$port_base"
    cat <<TRY
The lab is up at $url. Set the fire off:

  curl -sS -X PATCH $admin/v1/toggles -H "Authorization: Bearer \$(cat $dir/admin-token)" -d '{"query":"per_item","map":"unsafe"}'
  curl -sS -o /dev/null -w '%{http_code}\\n' "$url/v1/feeds/7?items=300"
  curl -sS $runs -d '{"rate":20,"duration":"10s"}'     # checks every answer; figures: curl $runs/ID

Or send the load from this terminal:

  build/loadtest run --url '$url/v1/feeds/{feed}'

Look at pool, metrics and log:

  curl -sS $admin/debug/pool -H "Authorization: Bearer \$(cat $dir/admin-token)"
  curl -sS $admin/metrics -H "Authorization: Bearer \$(cat $dir/admin-token)"
  make logs$make

Put it out. The first line ends the crashes. The second also frees the pool, and works while the service is down:

  curl -sS -X PATCH $admin/v1/toggles -H "Authorization: Bearer \$(cat $dir/admin-token)" -d '{"map":"mutex"}'
  ( . $dir/env && build/service toggle map=mutex query=batched )

Work an incident whose cause you do not know:  make drill$make

Set all addresses in your shell:  . $dir/env
Reset data, toggles, settings and events:   make reset$make
Stop and remove the lab:          make down$make
TRY
}

cmd_work_up() {
    local port
    choose_lab
    check_programs service loadtest drill
    take_lock "$root/build/.lab-$port_base.lock" "another make up or make down of this lab is running"
    if registered_pid "$home/service-supervisor.pid" >/dev/null && [[ -s $home/env ]]; then
        registered_pid "$home/loadtest-supervisor.pid" >/dev/null ||
            fail 'the load tester of this lab has ended: make down, then make up'
        registered_pid "$home/drill-supervisor.pid" >/dev/null ||
            fail 'the drill program of this lab has ended: make down, then make up'
        registered_pid "$(<"$home/temp")/postgres/server.pid" >/dev/null ||
            fail 'the database of this lab has died: make down, then make up'
        printf 'The lab is already up. Its addresses: . %s\n' "${home#"$root/"}/env"
        return
    fi
    if [[ -d $home ]]; then
        teardown "$home" # what a crash of the machine left
    fi
    warn_of_local_ports
    for port in $((port_base)) $((port_base + 1)) $((port_base + 10)) $((port_base + 15)) $((port_base + 16)); do
        port_is_free "$port" || fail "port $port is taken$(holder_of "$port"); choose another with PORT_BASE"
    done
    catch_signals
    make_home
    start_guard remove
    start_database
    start_service "$port_base"
    start_loadtest "$((port_base + 10))"
    start_drill "$((port_base + 15))"
    write_env
    release_guard keep
    print_what_to_try
}

cmd_down() {
    choose_lab
    take_lock "$root/build/.lab-$port_base.lock" "another make up or make down of this lab is running"
    if [[ ! -d $home ]]; then
        printf 'The lab is not up.\n'
        return
    fi
    trap '' INT HUP # half a teardown helps nobody, and it has its bounds
    teardown "$home"
    rm -rf -- "$home"
    printf 'The lab is down.\n'
}

# There may be none. A late change of its own would be stored after the reset.
end_drill() {
    local deadline=$(($(now_ms) + 20000))
    ask facilitator --request POST --output /dev/null "$FLASHOVER_FACILITATOR_URL/v1/drill/stop" || return 0
    while [[ $(ask facilitator "$FLASHOVER_FACILITATOR_URL/v1/drill") == *'"busy": true'* ]]; do
        (($(now_ms) < deadline)) || fail 'the drill does not end: make down, then make up'
        sleep 0.05
    done
}

# The seed draws the drill, and goes in by a file: from the list of processes the drill could be worked out.
cmd_drill() {
    local said
    choose_lab
    [[ -s $home/env ]] || "$here/lab.sh" up >/dev/null
    # shellcheck source=/dev/null
    . "$home/env"
    said=$(ask facilitator --data @<(printf '{"draw":true,"seed":%d,"level":%s}' "$(((RANDOM << 15) | RANDOM))" "${LEVEL:-1}") \
        "$FLASHOVER_FACILITATOR_URL/v1/drills") ||
        fail 'the drill program does not answer: make down, then make up'
    [[ $said == *'"done"'* ]] || fail "$said"
    cat <<SAY
A drill begins: all is well for two to four minutes, then the page goes off.

  $FLASHOVER_DRILL_URL/    token: $(<"$home/people-token")

Its code, files and toggles are off limits. End it early: the facilitator's page,
  $FLASHOVER_FACILITATOR_URL/    token: ${home#"$root/"}/facilitator-token
SAY
}

cmd_reset() {
    local began status=0
    choose_lab
    [[ -s $home/env ]] || fail 'the lab is not up'
    # shellcheck source=/dev/null
    . "$home/env"
    began=$(now_ms)
    end_drill
    # Half a reset would leave the service without its tables: what was undone is made again, whatever happens. In
    # sessions of their own, since psql takes a terminal's Ctrl-C also where it is ignored.
    trap '' INT HUP TERM
    setsid --wait "$root/migrations/migrate" down all || status=$?
    setsid --wait "$root/migrations/migrate" up || fail 'tables are missing; make reset again, or make down and make up'
    ((status == 0)) || fail 'not all was reset; the message above says why. All tables are there'
    put_settings_in_force
    printf 'Data, toggles, settings and events are reset (%d ms).\n' "$(($(now_ms) - began))"
}

# $1: whose token; the rest: arguments of curl. The token goes in by standard input: an argument could be read in the
# list of processes.
ask() {
    curl --silent --noproxy '*' --max-time 5 --header @- "${@:2}" <<<"Authorization: Bearer $(<"$home/$1-token")"
}

# No setting is stored any more. A service that was started with one is restarted.
put_settings_in_force() {
    local deadline=$(($(now_ms) + ready_timeout_s * 1000)) said
    until said=$(ask admin --fail "$FLASHOVER_ADMIN_URL/v1/settings") && [[ $said != *'"origin": "database"'* ]] &&
        curl --silent --fail --noproxy '*' --max-time 2 --output /dev/null "$FLASHOVER_URL/readyz"; do
        (($(now_ms) < deadline)) || fail 'all is reset, but the service is not ready: make down, then make up'
        [[ $said != *'"origin": "database"'* ]] || ask admin --request POST --output /dev/null "$FLASHOVER_ADMIN_URL/v1/restart" || true
        sleep 0.05
    done
}

# For make clean, which would take the files away by which a lab is ended.
cmd_none() {
    local home temp file found=''
    for home in "$root"/build/{lab,lab-*,demo}; do
        temp=$(cat "$home/temp" 2>/dev/null) || continue
        for file in "$home"/{setup,{service,loadtest,drill}-supervisor}.pid "$temp/postgres/server.pid"; do
            ! registered_pid "$file" >/dev/null || { found+=" ${home#"$root/"}" && break; }
        done
    done
    [[ -z $found ]] || fail "something runs in$found, which nobody could end then: make down, or Ctrl-C, comes first"
}

cmd_logs() {
    choose_lab
    [[ -e $home/service.log ]] || fail 'the lab is not up'
    if [[ ${1:-} == -f || ${FOLLOW:-0} == 1 ]]; then
        exec tail -n 200 -F "$home/service.log"
    fi
    tail -n 200 "$home/service.log"
}

# Two neighbouring ports that nobody listens on.
free_port_pair() {
    local port try
    for ((try = 0; try < 200; try++)); do
        port=$(random_port)
        if port_is_free "$port" && port_is_free $((port + 1)); then
            printf '%s\n' "$port"
            return
        fi
    done
    fail 'found no free ports'
}

cmd_work_demo() {
    local port status=0 name
    # The demo is the documented one: no option of the caller's shell may change it.
    for name in "${!FLASHOVER_@}"; do
        unset "$name"
    done
    home=$root/build/demo
    check_programs service loadtest
    take_lock "$root/build/.demo.lock" 'another demo is running in this folder'
    if [[ -d $home ]]; then
        teardown "$home"
        rm -f "$home"/{output.txt,matrix.json,service.log{,.1},postgres.log,teardown.log} "$home"/{pool-events-*.jsonl,crash-*.txt}
    fi
    catch_signals
    make_home
    # tee must not end by the same Ctrl-C or hang-up: what comes after it is to be kept as well.
    exec > >(trap '' INT TERM HUP PIPE && exec tee --output-error=warn "$home/output.txt" 2>/dev/null {lock}>&-) 2>&1
    tee_pid=$!
    start_guard keep-results
    port=$(free_port_pair)
    printf 'Starting a private PostgreSQL with 100003 videos and 1000 feeds, and the service ...\n'
    start_database
    start_service "$port" --admission blind
    run_job "$root/build/loadtest" matrix --url "http://127.0.0.1:$port/v1/feeds/{feed}" \
        --admin-url "http://127.0.0.1:$((port + 1))" --admin-token-file "$home/admin-token" \
        --json "$home/matrix.json" || status=$?
    printf '\nResults are in build/demo: output.txt, matrix.json, service.log, postgres.log, pool-events-*.jsonl, crash-*.txt\n'
    exit "$status"
}

declare home='' temp='' port_base='' job='' supervise=() guard_pid='' guard_start='' guard_in='' tee_pid='' lock='' worker='' ended=0

case ${1:-} in
    up | down | reset | drill | demo) (($# == 1)) || usage_error "unexpected argument $2" ;;
    logs) (($# == 1)) || [[ $# == 2 && $2 == -f ]] || usage_error "unexpected argument $2" ;;
    work_up | work_demo | none) (($# == 1)) || usage_error "$1 is for internal use" ;;
    guard) (($# == 3)) || usage_error 'guard is for internal use' ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) usage_error 'the command is missing or unknown' ;;
esac
"cmd_$1" "${@:2}"
