#!/usr/bin/env bash
# Makes the cluster on the first start, from POSTGRES_PASSWORD_FILE and POSTGRES_INITDB_ARGS, and becomes the server.
set -euo pipefail

make_cluster() {
    local -a arguments
    read -ra arguments <<<"${POSTGRES_INITDB_ARGS:-}"
    initdb --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" --no-instructions "${arguments[@]}"
    printf "\nlisten_addresses = '*'\n" >>"$PGDATA/postgresql.conf"
    printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
}

if [[ ${1:-} == postgres && ! -s $PGDATA/PG_VERSION ]]; then
    make_cluster
fi
exec "$@"
