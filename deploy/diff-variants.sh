#!/usr/bin/env bash
# Each bug beside its fix: the diff is the lesson.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../service/variants"
for pair in 'map_unsafe map_mutex' 'query_per_item query_batched' 'query_per_item query_bounded' \
    'query_per_item query_pipelined' 'query_nested query_per_item' 'query_nested query_batched' \
    'query_connect_per_item query_per_item' 'query_connect_per_item query_batched' 'release_on_success release_always' \
    'admission_blind admission_deadline' 'deadline_ignored deadline_propagated' 'cancel_never cancel_siblings'; do
    read -r bug fix <<<"$pair"
    printf '==== %s.c (bug) -> %s.c (fix)\n' "$bug" "$fix"
    diff -u "$bug.c" "$fix.c" || true # they differ: that is the point
done
