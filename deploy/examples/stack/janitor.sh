#!/bin/sh
# A program for boskos-janitor, which calls it for each dirty machine: janitor.sh --machine=NAME. Exit code 0 says that the
# machine is clean; after any other it stays dirty and is tried again later. What is printed goes to the janitor's log.
set -eu

case ${1:-} in
--machine=?*) machine=${1#--machine=} ;;
*)
    echo "usage: janitor.sh --machine=NAME" >&2
    exit 2
    ;;
esac

echo "wiping $machine" # here the real work would be
