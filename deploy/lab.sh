#!/usr/bin/env bash
# The lab on one machine: a private PostgreSQL, the service under a supervisor, and the load tester.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
readonly here root
# shellcheck source=process.sh
. "$here/process.sh"

# libpq reads them, and they are about another server.
unset "${!PG@}"

readonly ready_timeout_s=30
readonly guard_timeout_s=40

usage() {
    cat <<'USAGE'
usage: lab.sh demo | up | down | reset | logs [-f]

  demo   sets the fire off and shows the fix on a lab of its own, which it removes; results in build/demo
  up     starts a lab and leaves it running; its addresses are in build/lab/env
  down   stops the lab and removes it with its data
  reset  restores data and toggles, and removes the events, while the lab runs
  logs   prints the end of the service's log; -f or FOLLOW=1 follows it

PORT_BASE (default 8080) is the public port, PORT_BASE + 1 the admin port, PORT_BASE + 10 the load tester's.
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

# ---- ending a lab ------------------------------------------------------------------------------------------------

# Ends everything that belongs to the lab in $1 and removes its temporary folder. Works from the files alone, so that it
# also clears away what a killed run left behind.
teardown() {
    local home=$1 temp='' pid
    if [[ -s $home/temp ]]; then
        temp=$(<"$home/temp")
    fi
    # For a supervisor that has been started but not registered itself yet: it looks for this after it has.
    [[ -z $temp || ! -d $temp ]] || : >"$temp/ending"
    if pid=$(registered_pid "$home/setup.pid"); then
        kill -s TERM -- "-$pid" 2>/dev/null || true # it leads a process group of its own
        end_registered "$home/setup.pid" 5 TERM KILL || true
    fi
    # The load tester first: it closes the books of a run while the service is there to be asked.
    end_registered "$home/loadtest.pid" 12 TERM KILL || true
    end_registered "$home/supervisor.pid" 10 TERM KILL || true
    end_registered "$home/service.pid" 5 KILL || true
    if [[ -n $temp && -d $temp ]]; then
        if [[ -d $temp/postgres ]]; then
            "$here/postgres.sh" stop "$temp/postgres" || true
            [[ ! -e $temp/postgres/postgres.log ]] || cp "$temp/postgres/postgres.log" "$home/postgres.log" || true
        fi
        remove_folder "$temp"
    fi
    rm -f "$home"/{temp,env,admin-token,setup.pid,setup.log,supervisor.pid,service.pid,loadtest.pid} "$home"/*.new
}

# The guard: a process in a session of its own that holds the reading end of a pipe from its lab's starter. When that
# ends, however it ends, SIGKILL included, the guard reads end-of-file and clears the lab away, unless told to keep it.
cmd_guard() {
    local home=$1 after=$2 word=''
    trap '' INT TERM HUP PIPE
    read -r word || true
    if [[ $word == keep ]]; then
        rm -f "$home/teardown.log"
        return
    fi
    teardown "$home"
    [[ -s $home/teardown.log ]] || rm -f "$home/teardown.log"
    [[ $after != remove ]] || rm -rf -- "$home"
}

start_guard() {
    exec {guard_in}> >(exec setsid bash "$here/lab.sh" guard "$home" "$1" >/dev/null 2>>"$home/teardown.log")
    guard_pid=$!
    guard_start=$(process_start "$guard_pid")
}

# Lets the guard go: with the word keep it leaves the lab as it is, without a word it clears it away.
release_guard() {
    [[ -n $guard_pid ]] || return 0
    if (($# > 0)); then
        printf '%s\n' "$1" >&"$guard_in"
    fi
    exec {guard_in}>&-
    # Not by `wait`: older shells know the last process substitution only.
    local deadline=$(($(now_ms) + guard_timeout_s * 1000))
    while [[ $(process_start "$guard_pid") == "$guard_start" ]] && (($(now_ms) < deadline)); do
        sleep 0.02
    done
    guard_pid=''
}

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
    # The supervisor is in a session of its own: no Ctrl-C and no hang-up comes to it or the service.
    env -u FLASHOVER_OWNER_DATABASE_URL -u FLASHOVER_PG_SUPERUSER_URL -u FLASHOVER_PG_PORT \
        FLASHOVER_LISTEN="127.0.0.1:$port" \
        FLASHOVER_ADMIN_LISTEN="127.0.0.1:$((port + 1))" \
        FLASHOVER_ADMIN_TOKEN_FILE="$home/admin-token" \
        FLASHOVER_DUMP_DIR="$home" \
        setsid "$here/supervise.sh" "$home" "$root/build/service" "$@" {guard_in}>&- {lock}>&- \
        >/dev/null 2>&1 </dev/null &
    supervisor=$!
    wait_ready "http://127.0.0.1:$port/readyz"
}

# $1: its port, ten above the public one. It has no supervisor: it is not what is to crash.
start_loadtest() {
    local port=$1 deadline loadtest
    : >"$home/loadtest.log"
    run_loadtest "$port" {guard_in}>&- {lock}>&- >>"$home/loadtest.log" 2>&1 </dev/null &
    loadtest=$!
    deadline=$(($(now_ms) + ready_timeout_s * 1000))
    until curl --silent --fail --noproxy '*' --max-time 1 --output /dev/null "http://127.0.0.1:$port/healthz"; do
        kill -0 "$loadtest" 2>/dev/null || fail "the load tester did not start: $(tail -n 1 "$home/loadtest.log")"
        (($(now_ms) < deadline)) || fail "the load tester is not ready after $ready_timeout_s s"
        sleep 0.05
    done
    disown "$loadtest"
}

# Becomes the load tester, in a process of its own. Registers itself and then looks for the mark, as
# the supervisor does: a teardown at the same time sees one of the two.
run_loadtest() {
    local port=$1 url=http://127.0.0.1:$(($1 - 10)) name
    register_process "$home/loadtest.pid" "$BASHPID"
    [[ ! -e $temp/ending ]] || exit 0
    # Of the environment nothing counts, and the databases' URLs are none of its business.
    for name in "${!FLASHOVER_@}"; do
        unset "$name"
    done
    exec setsid "$root/build/loadtest" serve --listen "127.0.0.1:$port" --url "$url/v1/feeds/{feed}" \
        --allow-target "$url" --admin-url "http://127.0.0.1:$((port - 9))" \
        --admin-token-file "$home/admin-token" --runs-dir "$home/runs"
}

wait_ready() {
    local deadline=$(($(now_ms) + ready_timeout_s * 1000)) status
    while kill -0 "$supervisor" 2>/dev/null; do
        status=$(curl --silent --noproxy '*' --max-time 1 --output /dev/null --write-out '%{http_code}' "$1") || true
        if [[ $status == 200 ]]; then
            disown "$supervisor"
            return
        fi
        (($(now_ms) < deadline)) ||
            fail "the service is not ready after $ready_timeout_s s; its last line: $(tail -n 1 "$home/service.log")"
        sleep 0.05
    done
    fail "the service did not start: $(grep -v '"program":"supervisor"' "$home/service.log" | tail -n 1)"
}

# A port from which the kernel takes those of outgoing connections may be taken at any time.
warn_of_local_ports() {
    local low high
    read -r low high </proc/sys/net/ipv4/ip_local_port_range || return 0
    if ((port_base + 10 >= low && port_base <= high)); then
        printf 'Note: ports %s to %s are also those of outgoing connections here; below %s none comes in the way.\n' \
            "$low" "$high" "$low" >&2
    fi
}

# ---- commands ----------------------------------------------------------------------------------------------------

# Sets port_base and home from PORT_BASE.
choose_lab() {
    port_base=${PORT_BASE:-8080}
    [[ $port_base =~ ^[1-9][0-9]{0,4}$ && $port_base -le 65525 ]] ||
        usage_error "PORT_BASE=$port_base is not a port from 1 to 65525"
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
export FLASHOVER_ADMIN_TOKEN_FILE=$(printf %q "$home/admin-token")
export FLASHOVER_OWNER_DATABASE_URL='$FLASHOVER_OWNER_DATABASE_URL'
export FLASHOVER_CONTROL_DATABASE_URL='$FLASHOVER_CONTROL_DATABASE_URL'
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

Set all addresses in your shell:  . $dir/env
Reset data, toggles and events:   make reset$make
Stop and remove the lab:          make down$make
TRY
}

cmd_work_up() {
    local port
    choose_lab
    check_programs service loadtest
    take_lock "$root/build/.lab-$port_base.lock" "another make up or make down of this lab is running"
    if registered_pid "$home/supervisor.pid" >/dev/null && [[ -s $home/env ]]; then
        registered_pid "$home/loadtest.pid" >/dev/null || fail 'the load tester of this lab has died: make down, then make up'
        registered_pid "$(<"$home/temp")/postgres/server.pid" >/dev/null ||
            fail 'the database of this lab has died: make down, then make up'
        printf 'The lab is already up. Its addresses: . %s\n' "${home#"$root/"}/env"
        return
    fi
    if [[ -d $home ]]; then
        teardown "$home" # what a crash of the machine left
    fi
    warn_of_local_ports
    for port in "$port_base" "$((port_base + 1))" "$((port_base + 10))"; do
        port_is_free "$port" || fail "port $port is taken$(holder_of "$port"); choose another with PORT_BASE"
    done
    catch_signals
    make_home
    start_guard remove
    start_database
    start_service "$port_base"
    start_loadtest "$((port_base + 10))"
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

cmd_reset() {
    local began status=0
    choose_lab
    [[ -s $home/env ]] || fail 'the lab is not up'
    # shellcheck source=/dev/null
    . "$home/env"
    began=$(now_ms)
    # Half a reset would leave the service without its tables: what was undone is made again, whatever happens. In
    # sessions of their own, since psql takes a terminal's Ctrl-C also where it is ignored.
    trap '' INT HUP TERM
    setsid --wait "$root/migrations/migrate" down all || status=$?
    setsid --wait "$root/migrations/migrate" up || fail 'tables are missing; make reset again, or make down and make up'
    ((status == 0)) || fail 'not all was reset; the message above says why. All tables are there'
    printf 'Data, toggles and events are reset (%d ms).\n' "$(($(now_ms) - began))"
}

# For make clean, which would take the files away by which a lab is ended.
cmd_none() {
    local home temp file found=''
    for home in "$root"/build/{lab,lab-*,demo}; do
        temp=$(cat "$home/temp" 2>/dev/null) || continue
        for file in "$home"/{setup,supervisor,loadtest}.pid "$temp/postgres/server.pid"; do
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

declare home='' temp='' port_base='' job='' supervisor='' guard_pid='' guard_start='' guard_in='' tee_pid='' lock='' worker='' ended=0

case ${1:-} in
    up | down | reset | demo) (($# == 1)) || usage_error "unexpected argument $2" ;;
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
