# Sourced by the scripts here: processes known by a file that holds "PID START". The start time tells our process from a
# later one that got the same pid.
# shellcheck shell=bash

now_ms() {
    date +%s%3N
}

# Prints the start time (in clock ticks since boot) of process $1; fails if there is none or it is a zombie.
process_start() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The name, in parentheses, may hold blanks. State is the first field after it, the start time the 20th.
    read -ra stat <<<"${stat##*) }"
    [[ ${stat[0]} != Z ]] || return 1
    printf '%s\n' "${stat[19]}"
}

# Writes process $2 into file $1, whole or not at all.
register_process() {
    local start
    start=$(process_start "$2") || return 1
    printf '%s %s\n' "$2" "$start" >"$1.new" && mv "$1.new" "$1"
}

# Prints the pid in file $1 if that process still runs.
registered_pid() {
    local pid start
    read -r pid start 2>/dev/null <"$1" || return 1
    [[ $(process_start "$pid") == "$start" ]] || return 1
    printf '%s\n' "$pid"
}

# Waits until the process in file $1 is gone, at most $2 seconds.
wait_gone() {
    local deadline=$(($(now_ms) + $2 * 1000))
    while registered_pid "$1" >/dev/null; do
        (($(now_ms) < deadline)) || return 1
        sleep 0.02
    done
}

# Ends the process in file $1 with the signals $3..., one after the other, each with $2 seconds to work.
end_registered() {
    local file=$1 seconds=$2 signal pid
    shift 2
    for signal in "$@"; do
        pid=$(registered_pid "$file") || return 0
        kill -s "$signal" "$pid" 2>/dev/null || true
        wait_gone "$file" "$seconds" && return 0
    done
    return 1
}

port_is_free() {
    ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Below the range that the kernel hands out to outgoing connections, so that none of them can be in the way.
random_port() {
    printf '%s\n' $((15000 + (RANDOM << 15 | RANDOM) % 15000))
}

# Hexadecimal, so that it needs quoting nowhere.
random_secret() {
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

# " by python3 (process 4711)", or " by a connection of …": any local port may be one end of a connection. Nothing where
# the process is another user's.
holder_of() {
    local hex line state inode fd pid
    printf -v hex ':%04X' "$1"
    line=$(awk -v port="$hex" '$2 ~ port "$" { print $4, $10; exit }' /proc/net/tcp /proc/net/tcp6 2>/dev/null) || true
    read -r state inode <<<"$line" || true
    [[ $inode ]] || return 0
    for fd in /proc/[0-9]*/fd/*; do
        [[ $(readlink "$fd" 2>/dev/null) == "socket:[$inode]" ]] || continue
        pid=${fd#/proc/}
        pid=${pid%%/*}
        printf ' by %s%s (process %s)' "$([[ $state == 0A ]] || printf 'a connection of ')" "$(cat "/proc/$pid/comm")" "$pid"
        return 0
    done
}

# A process that was just told to end may still write for a moment.
remove_folder() {
    local deadline=$(($(now_ms) + 5000))
    until rm -rf -- "$1" 2>/dev/null; do
        (($(now_ms) < deadline)) || return 1
        sleep 0.05
    done
}
