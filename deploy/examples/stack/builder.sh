#!/bin/sh
# A builder for boskos-mason: makes a cluster of the machines that were leased for it. Needs jq.
#
# stdin has {"config":{"content":...,"type":...},"leased":[...],"resource":{...}}; what is printed is stored as the cluster's
# userdata. stderr goes to the mason's log. Any exit code but 0 sends all of it back as dirty.
set -eu

told=$(cat)
get() { # FILTER
    printf '%s' "$told" | jq -er "$1"
}

cluster=$(get .resource.name)
network=$(get .config.content)
members=$(get '[.leased[] | select(.type == "machine") | .name] | join(" ")')

for machine in $members; do
    echo "$machine joins $cluster in $network" >&2 # here the real work would be
done

jq -n --arg members "$members" --arg network "$network" '{$members, $network}'
