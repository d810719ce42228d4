#!/usr/bin/env bash
# Each bug beside its fix: the diff is the lesson.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../service/variants"
while read -r bug fix; do
    [[ $bug && $bug != '#'* ]] || continue
    printf '==== %s.c (bug) -> %s.c (fix)\n' "$bug" "$fix"
    status=0
    diff -u "$bug.c" "$fix.c" || status=$?
    ((status <= 1)) || exit "$status" # 1: they differ, and that is the point
done <pairs.txt
