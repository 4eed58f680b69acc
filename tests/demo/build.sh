#!/bin/sh
# What boskos-mason runs to make a cluster: reads JSON on stdin, puts a part of the cluster into each account that was leased
# for it, and prints what whoever uses the cluster must know. An account that was not wiped is refused.
set -eu

told=$(cat)
get() { # CODE: what python makes of the input, here called `told`
    printf '%s' "$told" | python3 -c "import json, sys; told = json.load(sys.stdin); print($1)"
}

cluster=$(get 'told["resource"]["name"]')
network=$(get 'told["config"]["content"]')
accounts=$(get '" ".join(r["name"] for r in told["leased"])')

for account in $accounts; do
    [ -z "$(ls "cloud/$account")" ] || {
        echo "$account is not empty" >&2
        exit 1
    }
    echo "$network" >"cloud/$account/part-of-$cluster"
done
printf '{"accounts": "%s", "network": "%s"}\n' "$accounts" "$network"
