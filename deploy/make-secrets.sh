#!/usr/bin/env bash
# Run by compose before anything else: makes the passwords and the tokens once. Each folder is a volume, and holds only what
# its readers may know: database; logins, the service's to the database; service, its tokens and the load tester's, for both and
# for Prometheus; monitor, the exporter's login; grafana; pooler.
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

for name in superuser owner app control monitor; do
    make_once "database/$name"
done
make_once service/admin-token
make_once service/loadtest-token
make_once grafana/password
replace monitor/password <database/monitor

# PgBouncer's list of users.
printf '"flashover_app" "%s"\n' "$(<database/app)" | replace pooler/users

# libpq's password file: host, port, database and role are matched by *, except for the role.
{
    printf '*:*:*:flashover_app:%s\n' "$(<database/app)"
    printf '*:*:*:flashover_control:%s\n' "$(<database/control)"
} | replace logins/pgpass
