#!/usr/bin/env bash
# Run by compose before anything else: makes the passwords and the tokens once, in two volumes. The service's volume
# holds only what the service may know.
#
# usage: make-secrets DATABASE_DIR SERVICE_DIR
set -euo pipefail
umask 0077

random_secret() {
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

# Whole or not at all, and never a second time: the database keeps the first ones.
make_once() {
    [[ -s $1 ]] || { random_secret >"$1.new" && mv "$1.new" "$1"; }
}

database_dir=${1:?usage: make-secrets DATABASE_DIR SERVICE_DIR}
service_dir=${2:?usage: make-secrets DATABASE_DIR SERVICE_DIR}

for name in superuser owner app control; do
    make_once "$database_dir/$name"
done
make_once "$service_dir/admin-token"
make_once "$service_dir/loadtest-token"

# libpq's password file: host, port, database and role are matched by *, except for the role.
{
    printf '*:*:*:flashover_app:%s\n' "$(<"$database_dir/app")"
    printf '*:*:*:flashover_control:%s\n' "$(<"$database_dir/control")"
} >"$service_dir/pgpass.new"
mv "$service_dir/pgpass.new" "$service_dir/pgpass"
