#!/usr/bin/env bash
# Runs a program, such as the service, and starts it again after a crash, as a container engine or systemd
# would. Status 0, 1 or 2 is final: it was stopped, could not start, or had a wrong option. After a longer
# life 2 is what SIGQUIT leaves, after its dump. Status 75 asks for another start, at once.
#
# usage: supervise.sh STATE_DIR NAME COMMAND [ARGUMENT...]
# Writes STATE_DIR/NAME-supervisor.pid, STATE_DIR/NAME.pid and STATE_DIR/NAME.log. STATE_DIR/temp names
# the lab's temporary folder. TERM ends both.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
# shellcheck source=process.sh
. "$here/process.sh"

readonly backoff_min_ms=100
readonly backoff_max_ms=1000
readonly healthy_ms=${HEALTHY_MS:-5000} # a life this long ends the back-off
readonly log_bytes_max=$((64 << 20)) # what was before is kept once, as service.log.1
readonly log_look_s=${LOG_LOOK_S:-10} # how often the size is looked at while the program runs
# The service takes 5 s for open requests, 1 s for the admin port, 2 s to record the stop.
readonly stop_timeout_s=${STOP_TIMEOUT_S:-9}
readonly restart_status=75

log() {
    local level=$1 message=$2
    printf '{"time":"%s","level":"%s","message":"%s","program":"supervisor","starts":%d}\n' \
        "$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)" "$level" "$message" "$starts" >&"$log_fd" || true # the disk may be full
}

# Nobody opens the log anew, so the file stays and is emptied. All append to it. A line that comes
# between the copy's end and that is lost.
empty_log() {
    local file=$state_dir/$name.log copied
    (($(stat --format %s "$file") > log_bytes_max)) || return 0
    cp "$file" "$file.1" || return 0
    copied=$(stat --format %s "$file.1")
    tail --bytes=+$((copied + 1)) "$file" >>"$file.1" # what came during the copy
    truncate --size=0 "$file"
}

# Beside the program, as long as we are there. Waits by a builtin on an empty pipe: it leaves no process.
watch_log() {
    local pipe
    exec {pipe}<> <(:)
    while registered_pid "$state_dir/$name-supervisor.pid" >/dev/null; do
        read -r -t "$log_look_s" -u "$pipe" || true
        empty_log || true # as on a full disk: the next look may do
    done
}

describe_end() {
    if (($1 > 128)); then
        printf 'killed by SIG%s' "$(kill -l $(($1 - 128)))"
    else
        printf 'ended with status %d' "$1"
    fi
}

# Whether status $1, after a life of $2 ms, ends all.
is_final() {
    # 126 and 127: the program cannot be run at all.
    [[ $1 =~ ^(0|1|126|127)$ ]] || { (($1 == 2)) && (($2 < healthy_ms)); }
}

# Whether the lab that started us is still there. A teardown leaves a mark first and then looks for our
# pid. We register the pid first and then look for the mark: one of the two sees the other.
lab_is_there() {
    local temp
    temp=$(cat "$state_dir/temp") && [[ -d $temp && ! -e $temp/ending ]]
}

# The program is told here and not only after the wait: the signal may come between the look at `stopping` and the wait.
ask_to_stop() {
    stopping=1
    if [[ -n $child ]]; then
        kill -s TERM "$child" 2>/dev/null || true
        told=1
    fi
}

# Sets `status` to how the program ended. A signal to us interrupts the wait; the shell keeps the
# status until the next wait.
run_once() {
    starts=$((starts + 1))
    # The program must not outlive us, however we end.
    setpriv --pdeathsig KILL -- "$@" >&"$log_fd" 2>&1 {log_fd}>&- &
    child=$!
    register_process "$state_dir/$name.pid" "$child" || true # it may have ended already
    if ((!stopping)); then
        wait "$child" && status=0 || status=$?
    fi
    if ((stopping)); then
        # One TERM only: a second one ends the program's patience with open requests. The trap has sent it,
        # unless the signal came before there was a child.
        ((told)) || ask_to_stop
        wait_gone "$state_dir/$name.pid" "$stop_timeout_s" || end_registered "$state_dir/$name.pid" 1 KILL || true
        wait "$child" && status=0 || status=$?
    fi
    child=''
    rm -f "$state_dir/$name.pid"
}

pause_ms() {
    local sleeper
    sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))" &
    sleeper=$!
    wait "$sleeper" || kill "$sleeper" 2>/dev/null || true
}

main() {
    local backoff_ms=$backoff_min_ms began_ms life_ms
    state_dir=$(cd "$1" && pwd)
    name=$2
    shift 2
    export FLASHOVER_SUPERVISED=on
    if [[ ${CORES:-0} == 1 ]]; then
        cd "$state_dir" # where the kernel puts them, unless core_pattern says otherwise
        ulimit -c unlimited || true
    else
        ulimit -c 0 # the crash is the show; its core would only fill the disk
    fi
    # Only JSON lines belong into the log: the shell's own "Aborted ..." goes to standard error, and that nowhere.
    exec </dev/null >/dev/null 2>&1 {log_fd}>>"$state_dir/$name.log"
    register_process "$state_dir/$name-supervisor.pid" "$$"
    lab_is_there || exit 0
    trap ask_to_stop TERM INT
    trap '' HUP
    watch_log &
    log_watcher=$!
    while ((!stopping)); do
        began_ms=$(now_ms)
        run_once "$@"
        ((!stopping)) || break
        life_ms=$(($(now_ms) - began_ms))
        if is_final "$status" "$life_ms"; then
            log error "$name $(describe_end "$status"); not started again"
            kill "$log_watcher"
            exit "$status"
        fi
        if ((status == restart_status)); then
            log info "$name asks to be started again"
            continue
        fi
        if ((life_ms >= healthy_ms)); then
            backoff_ms=$backoff_min_ms
        fi
        log error "$name $(describe_end "$status"); starting it again in $backoff_ms ms"
        pause_ms "$backoff_ms"
        backoff_ms=$((backoff_ms * 2 < backoff_max_ms ? backoff_ms * 2 : backoff_max_ms))
    done
    kill "$log_watcher"
    log info "$name $(describe_end "$status") on request"
}

declare state_dir='' name='' child='' log_watcher='' log_fd='' starts=0 stopping=0 told=0 status=0
if (($# < 3)); then
    printf 'usage: supervise.sh STATE_DIR NAME COMMAND [ARGUMENT...]\n' >&2
    exit 2
fi
main "$@"
