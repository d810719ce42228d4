#!/usr/bin/env bash
# Runs the service and starts it again after a crash, as a container engine or systemd would. An end with status 0, 1 or 2
# is the service's own word (stopped, cannot start, wrong option) and is final.
#
# usage: supervise.sh STATE_DIR COMMAND [ARGUMENT...]
# Writes STATE_DIR/supervisor.pid, STATE_DIR/service.pid and STATE_DIR/service.log; STATE_DIR/temp names the lab's temporary folder.
# TERM ends both.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
# shellcheck source=process.sh
. "$here/process.sh"

readonly backoff_min_ms=100
readonly backoff_max_ms=1000
readonly healthy_ms=5000 # a life this long ends the back-off
readonly stop_timeout_s=8 # the service drains for 5 s at most

log() {
    local level=$1 message=$2
    printf '{"time":"%s","level":"%s","message":"%s","program":"supervisor","starts":%d}\n' \
        "$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)" "$level" "$message" "$starts" >&"$log_fd"
}

describe_end() {
    if (($1 > 128)); then
        printf 'killed by SIG%s' "$(kill -l $(($1 - 128)))"
    else
        printf 'ended with status %d' "$1"
    fi
}

is_final() {
    # 126 and 127: the program cannot be run at all.
    [[ $1 =~ ^(0|1|2|126|127)$ ]]
}

# Whether the lab that started us is still there. Whoever ends a lab first leaves a mark and then looks for our pid; we register
# the pid and then look for the mark: so one of the two sees the other.
lab_is_there() {
    local temp
    temp=$(cat "$state_dir/temp") && [[ -d $temp && ! -e $temp/ending ]]
}

# The service is told here and not only after the wait: the signal may come between the look at `stopping` and the wait.
ask_to_stop() {
    stopping=1
    if [[ -n $child ]]; then
        kill -s TERM "$child" 2>/dev/null || true
        told=1
    fi
}

# Sets `status` to how the service ended. A signal to us interrupts the wait; the shell keeps the status until asked again.
run_once() {
    starts=$((starts + 1))
    # The service must not outlive us, however we end.
    setpriv --pdeathsig KILL -- "$@" >&"$log_fd" 2>&1 {log_fd}>&- &
    child=$!
    register_process "$state_dir/service.pid" "$child" || true # it may have ended already
    if ((!stopping)); then
        wait "$child" && status=0 || status=$?
    fi
    if ((stopping)); then
        # One TERM only: to the service a second one means that its patience with open requests shall end. It was sent by
        # the trap, unless that came before there was a child.
        ((told)) || ask_to_stop
        wait_gone "$state_dir/service.pid" "$stop_timeout_s" || end_registered "$state_dir/service.pid" 1 KILL || true
        wait "$child" && status=0 || status=$?
    fi
    child=''
    rm -f "$state_dir/service.pid"
}

pause_ms() {
    local sleeper
    sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))" &
    sleeper=$!
    wait "$sleeper" || kill "$sleeper" 2>/dev/null || true
}

main() {
    local backoff_ms=$backoff_min_ms began_ms
    state_dir=$(cd "$1" && pwd)
    shift
    if [[ ${CORES:-0} == 1 ]]; then
        cd "$state_dir" # where the kernel puts them, unless core_pattern says otherwise
        ulimit -c unlimited || true
    else
        ulimit -c 0 # the crash is the show; its core would only fill the disk
    fi
    # Only JSON lines belong into the log: the shell's own "Aborted ..." goes to standard error, and that nowhere.
    exec </dev/null >/dev/null 2>&1 {log_fd}>>"$state_dir/service.log"
    register_process "$state_dir/supervisor.pid" "$$"
    lab_is_there || exit 0
    trap ask_to_stop TERM INT
    trap '' HUP
    while ((!stopping)); do
        began_ms=$(now_ms)
        run_once "$@"
        ((!stopping)) || break
        if is_final "$status"; then
            log error "service $(describe_end "$status"); not started again"
            exit "$status"
        fi
        if (($(now_ms) - began_ms >= healthy_ms)); then
            backoff_ms=$backoff_min_ms
        fi
        log error "service $(describe_end "$status"); starting it again in $backoff_ms ms"
        pause_ms "$backoff_ms"
        backoff_ms=$((backoff_ms * 2 < backoff_max_ms ? backoff_ms * 2 : backoff_max_ms))
    done
    log info "service $(describe_end "$status") on request"
}

declare state_dir='' child='' log_fd='' starts=0 stopping=0 told=0 status=0
if (($# < 2)); then
    printf 'usage: supervise.sh STATE_DIR COMMAND [ARGUMENT...]\n' >&2
    exit 2
fi
main "$@"
