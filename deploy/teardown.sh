# Sourced by lab.sh: how a lab ends, and the guard that ends one whose starter has died.
# shellcheck shell=bash disable=SC2154

# Ends everything that belongs to the lab in $1 and removes its temporary folder. Works from the files alone, so that it
# also clears away what a killed run left behind.
teardown() {
    local home=$1 temp='' pid name
    if [[ -s $home/temp ]]; then
        temp=$(<"$home/temp")
    fi
    # For a supervisor that has been started but not registered itself yet: it looks for this after it has.
    [[ -z $temp || ! -d $temp ]] || : >"$temp/ending"
    if pid=$(registered_pid "$home/setup.pid"); then
        kill -s TERM -- "-$pid" 2>/dev/null || true # it leads a process group of its own
        end_registered "$home/setup.pid" 5 TERM KILL || true
    fi
    # The load tester before the service: it closes the books of a run while that is there to be asked.
    for name in drill loadtest service; do
        end_registered "$home/$name-supervisor.pid" 12 TERM KILL || true
        end_registered "$home/$name.pid" 5 KILL || true
    done
    if [[ -n $temp && -d $temp ]]; then
        if [[ -d $temp/postgres ]]; then
            "$here/postgres.sh" stop "$temp/postgres" || true
            [[ ! -e $temp/postgres/postgres.log ]] || cp "$temp/postgres/postgres.log" "$home/postgres.log" || true
        fi
        remove_folder "$temp"
    fi
    rm -f "$home"/{temp,env,{admin,people,facilitator}-token,setup.pid,setup.log,{service,loadtest,drill}{,-supervisor}.pid} "$home"/*.new
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
