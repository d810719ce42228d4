#!/usr/bin/env bash
# Installs from Debian's or Ubuntu's packages what is missing, and nothing else: where all is there, apt is not called
# and nothing is printed. No package's own daemon is started or enabled by this and no database cluster is created.
set -euo pipefail

readonly policy_file=/usr/sbin/policy-rc.d
readonly policy_mark='# flashover: temporary, while its packages are installed'
readonly pg_conf_dir=/etc/postgresql-common
readonly pg_drop_in=$pg_conf_dir/createcluster.d/zz-flashover-temporary.conf
readonly pg_conf_saved=$pg_conf_dir/createcluster.conf.flashover-saved

# One line a package, each with its reason.
packages_of() {
    case $1 in
        build) cat <<'LIST' ;;
gcc                   # the compiler; its libraries bring the runtimes of the sanitizers too
libc6-dev             # the C library's headers
make                  # the build
pkg-config            # where the libraries below are
libmicrohttpd-dev     # the service's HTTP server
libpq-dev             # PostgreSQL's client library
libjansson-dev        # JSON
libhttp-parser-dev    # the load tester's reading of HTTP answers
libunwind-dev         # the stacks in thread dumps
libdw-dev             # names, files and lines for their addresses
libcurl4-openssl-dev  # HTTP client of the small tools (health check, metrics)
libyaml-dev           # the drills' scenarios
libjs-chart.js        # the charts of the HTML report, built into the load tester
LIST
        run) cat <<'LIST' ;;
postgresql            # the server of the private database, never its own cluster; brings psql and pgbench
util-linux            # setsid, setpriv, flock
curl                  # waits for /readyz, and the lines to try by hand
LIST
        test) cat <<'LIST' ;;
libcmocka-dev         # the unit tests
python3               # the integration tests
python3-pytest        # their runner
python3-pytest-xdist  # two of them at a time
python3-psycopg2      # their own look into the database
chromium              # opens the HTML report in its tests
chromium-driver       # lets them steer it
python3-selenium      # by this
hey                   # a load tester that leaves out what it did not send, beside ours
wrk                   # one that has no word for an answer that never came
pgbouncer             # a pooler between the pool and the server, as in docker-compose's profile scale
python3-yaml          # reads docs/openapi.yaml, and the scenarios of the proof
python3-jsonschema    # holds real answers against it
LIST
        *) tools_of "$1" ;;
    esac
}

# The same, for what only measures or checks.
tools_of() {
    case $1 in
        bench) cat <<'LIST' ;;
wrk                   # closed-loop load, as the yardstick (pgbench comes with the server)
haproxy               # before several replicas
python3-psycopg2      # the runners' own look into the database
LIST
        peers) cat <<'LIST' ;;
golang-go             # the Go peer's compiler
golang-github-jackc-pgx-v4-dev # its driver and pool
default-jdk-headless  # the Java peer's compiler and runtime
libhikaricp-java      # its pool
libpostgresql-jdbc-java # its driver
libslf4j-java         # the pool logs by this
LIST
        plot) cat <<'LIST' ;;
gnuplot-nox           # the plots of make soak and make bench-growth
LIST
        fuzz) cat <<'LIST' ;;
clang                 # libFuzzer
LIST
        check) cat <<'LIST' ;;
clang                 # a second compiler's warnings
clang-format          # layout
clang-tidy            # lint
cppcheck              # lint
shellcheck            # lint of the scripts
LIST
        compose) cat <<'LIST' ;;
docker.io             # the engine that the compose file is tested with; make test-compose starts it and ends it
docker-compose        # the command of the README
debootstrap           # the images' base, without a registry
LIST
        *) return 1 ;;
    esac
}

fail() {
    printf 'deps.sh: %s\n' "$1" >&2
    exit 1
}

usage_error() {
    printf 'deps.sh: %s; usage: deps.sh build|run|test|bench|peers|plot|fuzz|check|compose ...\n' "$1" >&2
    exit 2
}

is_installed() {
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Prints what the given parts need and the machine lacks.
missing_packages() {
    local part package
    for part in "$@"; do
        while read -r package _; do
            # An engine that is there would not go together with the distribution's.
            [[ $package != docker.io ]] || ! command -v dockerd >/dev/null || continue
            is_installed "$package" || printf '%s\n' "$package"
        done < <(packages_of "$part")
    done | sort -u
}

# Every daemon's package asks this file before it starts anything. One that is there already is left as it is.
forbid_daemons() {
    if [[ ! -e $policy_file ]] || grep -qF "$policy_mark" "$policy_file"; then
        printf '#!/bin/sh\n%s\nexit 101\n' "$policy_mark" >"$policy_file"
        chmod 0755 "$policy_file"
    fi
}

clusters_are_off() {
    [[ $(pg_conftool "$pg_conf_dir/createcluster.conf" show -bs create_main_cluster 2>/dev/null) == off ]]
}

# The server's package creates and enables a cluster unless told not to. Versions that read createcluster.d get a file
# there; for older ones the line goes into createcluster.conf, which is put back afterwards.
forbid_clusters() {
    mkdir -p "${pg_drop_in%/*}"
    printf '# Temporary, while Flashover installs its packages.\ncreate_main_cluster = false\n' >"$pg_drop_in"
    clusters_are_off && return
    rm -f "$pg_drop_in"
    cp -p "$pg_conf_dir/createcluster.conf" "$pg_conf_saved"
    printf '\ncreate_main_cluster = false\n' >>"$pg_conf_dir/createcluster.conf"
    clusters_are_off || fail 'cannot keep the postgresql package from creating a cluster'
}

restore_configuration() {
    rm -f "$pg_drop_in"
    rmdir "${pg_drop_in%/*}" 2>/dev/null || true
    [[ ! -e $pg_conf_saved ]] || mv -f "$pg_conf_saved" "$pg_conf_dir/createcluster.conf"
    if grep -qsF "$policy_mark" "$policy_file"; then
        rm -f "$policy_file"
    fi
}

installed_packages() {
    dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort -u
}

# Nor must a daemon start with the machine's next boot. Disables the units of all packages that are
# not in $1, the list of packages installed before.
keep_from_boot() {
    local before=$1 package unit
    command -v systemctl >/dev/null || return 0
    while read -r package; do
        while read -r unit; do
            systemctl --quiet disable "$unit" || fail "cannot disable $unit of $package"
        done < <(dpkg-query --listfiles "$package" | sed -nE 's#^(/usr)?/lib/systemd/system/([^/@]+\.(service|socket|timer))$#\2#p')
    done < <(comm -13 <(printf '%s\n' "$before") <(installed_packages))
}

apt_install() {
    apt-get install --yes --no-install-recommends --no-remove --option DPkg::Lock::Timeout=300 --option DPkg::Use-Pty=0 \
        "$@" </dev/null || fail "apt-get could not install: $*"
}

install_packages() {
    local package before server=0
    before=$(installed_packages)
    # Two installers at once would take each other's temporary files away.
    exec 9>/run/flashover-deps.lock
    flock 9
    trap restore_configuration EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    restore_configuration # what a killed run may have left
    forbid_daemons
    export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
    apt-get update --option DPkg::Lock::Timeout=300 </dev/null || fail 'apt-get update failed'
    for package in "$@"; do
        [[ $package != postgresql ]] || server=1
    done
    if ((server)); then
        # First what brings createcluster.conf, which its own package must write, then the server.
        is_installed postgresql-common || apt_install postgresql-common
        forbid_clusters
    fi
    apt_install "$@"
    keep_from_boot "$before"
}

main() {
    local part
    local -a missing
    (($# >= 1)) || usage_error 'give at least one part'
    for part in "$@"; do
        packages_of "$part" >/dev/null || usage_error "unknown part $part"
    done
    command -v dpkg-query >/dev/null || fail 'this is neither Debian nor Ubuntu; install what deploy/deps.sh lists'
    mapfile -t missing < <(missing_packages "$@")
    ((${#missing[@]} > 0)) || return 0
    if ((EUID != 0)); then
        command -v sudo >/dev/null ||
            fail "missing packages: ${missing[*]}; run this as root or install sudo"
        printf 'deps.sh: installing with sudo: %s\n' "${missing[*]}"
        exec sudo -- bash "$(realpath -- "${BASH_SOURCE[0]}")" "$@"
    fi
    printf 'deps.sh: installing: %s\n' "${missing[*]}"
    install_packages "${missing[@]}"
}

main "$@"
