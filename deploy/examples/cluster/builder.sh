#!/bin/sh
# A builder for boskos-mason: makes a cluster of the machines it was given.
#
# stdin has {"config":{"content":...,"type":...},"leased":[...],"resource":{...}}; what is printed is stored as the
# cluster's userdata. stderr goes to the mason's log. Any exit code but 0 sends all of it back as dirty.
set -eu

told=$(cat)
get() { # CODE: what python makes of the input, here called `told`
    printf '%s' "$told" | python3 -c "import json, sys; told = json.load(sys.stdin); print($1)"
}

cluster=$(get 'told["resource"]["name"]')
network=$(get 'told["config"]["content"]')
members=$(get '" ".join(r["name"] for r in told["leased"] if r["type"] == "machine")')

for machine in $members; do
    echo "$machine joins $cluster in $network" >&2 # here the real work would be
done

printf '{"members": "%s", "network": "%s"}\n' "$members" "$network"
