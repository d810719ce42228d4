#!/usr/bin/env bash
# Makes the passwords and tokens once; compose runs it before anything else. Each folder is a volume
# and holds only what its readers may know:
#   database  the superuser's password
#   roles     the other roles' passwords, for the script that makes the roles
#   logins    the service's two logins
#   service   its admin token
#   loadtest  the load tester's token
#   monitor   the exporter's login
#   grafana   Grafana's password
#   pooler    PgBouncer's list of users
#   drill     the drills' tokens, and their logins
#
# usage: make-secrets DIR
set -euo pipefail
umask 0077

random_secret() {
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

# Whole or not at all, and never a second time: the database keeps the first ones.
make_once() {
    [[ -s $1 ]] || { random_secret >"$1.new" && mv "$1.new" "$1"; }
}

# Whole or as before, from standard input.
replace() {
    cat >"$1.new"
    mv "$1.new" "$1"
}

cd "${1:?usage: make-secrets DIR}"

make_once database/superuser
for name in owner app control drill monitor; do
    make_once "roles/$name"
done
make_once service/admin-token
make_once loadtest/token
make_once drill/people-token
make_once drill/facilitator-token
make_once grafana/password
replace monitor/password <roles/monitor

# PgBouncer's list of users.
printf '"flashover_app" "%s"\n' "$(<roles/app)" | replace pooler/users

# libpq's password file: host, port, database and role are matched by *, except for the role.
{
    printf '*:*:*:flashover_app:%s\n' "$(<roles/app)"
    printf '*:*:*:flashover_control:%s\n' "$(<roles/control)"
} | replace logins/pgpass
for name in flashover_drill reporting nightly migrator; do
    printf '*:*:*:%s:%s\n' "$name" "$(<roles/drill)"
done | replace drill/pgpass
