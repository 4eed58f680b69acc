#!/bin/sh
# What boskos-janitor runs for each dirty account: wipe.sh --account=NAME. The accounts of the demo are folders in cloud/.
set -eu

account=${1#--account=}
sleep 0.2 # a real one takes longer
rm -fv "cloud/$account"/*
echo "$account is empty"
