#!/usr/bin/env bash
# Run by compose once the database answers: the roles, with the passwords that make-secrets.sh made, then the schema.
# libpq's PG* variables say where the database is; SECRETS is where the volumes of make-secrets.sh are.
set -euo pipefail

: "${SECRETS:?}" "${PGHOST:?}"

# As the superuser, for whom the server keeps slots: `up` ends also where the pools have taken all others.
export PGUSER=postgres PGPASSWORD
PGPASSWORD=$(<"$SECRETS/database/superuser")

# By standard input: an argument could be read in the list of processes.
{
    for role in owner app control drill monitor; do
        printf '\\set %s_password %s\n' "$role" "$(<"$SECRETS/roles/$role")"
    done
    cat /flashover/deploy/create-{roles,drill}.sql /flashover/deploy/observe/create-monitor.sql
} | PGDATABASE=postgres PGOPTIONS='-c client_min_messages=warning' psql --no-psqlrc --quiet --no-password

export PGDATABASE=flashover
/flashover/migrations/migrate up
psql --no-psqlrc --quiet --no-password --command 'GRANT USAGE ON SCHEMA public TO flashover_monitor' \
    --command 'GRANT SELECT ON event TO flashover_monitor'
