#!/bin/sh
# The job that boskosctl runs under its lease. It would take ten minutes, and leaves things behind in its accounts.
set -eu

for account in $BOSKOS_LEASED_RESOURCES; do
    ls "cloud/$account/part-of-$BOSKOS_RESOURCE_NAME" >/dev/null # it must be there
    echo "half of a test" >"cloud/$account/left-by-$BOSKOS_RESOURCE_OWNER"
done
echo "$BOSKOS_RESOURCE_OWNER works on $BOSKOS_RESOURCE_NAME with $BOSKOS_LEASED_RESOURCES, as process $$"
exec sleep 600
