#!/bin/sh
# check_symbols.sh LIBRARY [ALLOWED]: what LIBRARY (libstatemachine.a) calls from outside itself must be in the list
# ALLOWED (statemachine_symbols.txt beside this script). Prints what is not, and then exits with 1; with 77,
# "skipped", for a build with a sanitizer or coverage, whose calls are not the library's own.
set -eu
library=$1
allowed=${2:-$(dirname "$0")/statemachine_symbols.txt}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

nm -P -g --defined-only "$library" | awk 'NF > 1 { print $1 }' | sort -u >"$work/defined"
nm -P -u "$library" | awk 'NF > 1 { print $1 }' | sort -u >"$work/undefined"
grep -qx 'sm_apply' "$work/defined" || { echo "$library has no sm_apply: not the state machine" >&2; exit 1; }

if grep -qE '^(__(asan|tsan|ubsan|sanitizer|gcov|llvm)_)' "$work/undefined"; then
    echo "built with a sanitizer or coverage: skipped"
    exit 77
fi

sort "$work/defined" >"$work/known"
comm -23 "$work/undefined" "$work/known" >"$work/outside"
awk -v library="$library" -v list="$allowed" '
FILENAME == list {
    if ($0 ~ /^#/ || NF == 0) next
    if (sub(/\*$/, "", $1)) starts[$1] = 1
    else names[$1] = 1
    next
}
{
    calls++
    if ($1 in names) next
    for (start in starts) if (index($1, start) == 1) next
    print library ": calls " $1 ", which " list " does not allow"
    broken++
}
END {
    if (broken) exit 1
    print calls + 0 " functions from outside, all allowed"
}' "$allowed" "$work/outside"
