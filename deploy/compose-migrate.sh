#!/usr/bin/env bash
# Run by compose once the database answers: the roles, with the passwords that make-secrets.sh made, then the schema.
# libpq's PG* variables say where the database is; SECRETS is the folder of make-secrets.sh.
set -euo pipefail

: "${SECRETS:?}" "${PGHOST:?}"

# By standard input: an argument could be read in the list of processes.
{
    printf '\\set owner_password %s\n' "$(<"$SECRETS/owner")"
    printf '\\set app_password %s\n' "$(<"$SECRETS/app")"
    printf '\\set control_password %s\n' "$(<"$SECRETS/control")"
    printf '\\set monitor_password %s\n' "$(<"$SECRETS/monitor")"
    cat /flashover/deploy/create-roles.sql /flashover/deploy/observe/create-monitor.sql
} | PGUSER=postgres PGDATABASE=postgres PGPASSWORD=$(<"$SECRETS/superuser") PGOPTIONS='-c client_min_messages=warning' \
    psql --no-psqlrc --quiet --no-password

PGUSER=flashover_owner PGDATABASE=flashover PGPASSWORD=$(<"$SECRETS/owner") exec /flashover/migrations/migrate up
