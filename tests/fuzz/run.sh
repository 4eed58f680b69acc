#!/bin/sh
# run.sh BUILD SECONDS [NAME...]: runs the libFuzzer programs of BUILD (preset `fuzz`), all or those named, for SECONDS
# each, two at a time. New inputs go to BUILD/corpus/NAME; an input that breaks something stays in BUILD, and how to
# repeat it is printed.
# run.sh BUILD --merge [NAME...]: makes the kept corpora anew, of the seeds, of what is kept and of what was found.
# What once broke something is named found-... and always kept.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
seconds=$2
shift 2
input_bytes_max=8192

# One fuzzer. Edges alone decide what is kept of a merge, not how often each was taken: a few inputs say the same.
one()
{
    name=$1
    mkdir -p "$build/corpus/$name"
    if [ "$seconds" = --merge ]; then
        mkdir -p "$build/merged" "$here/corpus/$name"
        rm -rf "$build/merged/$name"
        mkdir "$build/merged/$name"
        "$build/bin/fuzz_$name" -merge=1 -use_counters=0 -max_len=2048 "$build/merged/$name" "$here/corpus/$name" \
            "$build/seeds/$name" "$build/corpus/$name" >"$build/$name.log" 2>&1
        for found in "$here/corpus/$name"/found-*; do
            if [ -f "$found" ]; then cp "$found" "$build/merged/$name"; fi
        done
        rm -rf "$here/corpus/$name"
        cp -r "$build/merged/$name" "$here/corpus/$name"
        return
    fi
    if "$build/bin/fuzz_$name" -max_total_time="$seconds" -max_len=$input_bytes_max -timeout=60 \
        -rss_limit_mb=4096 -print_final_stats=1 -artifact_prefix="$build/$name-" "$build/corpus/$name" \
        "$here/corpus/$name" >"$build/$name.log" 2>&1; then
        echo "fuzz_$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$name.log") inputs"
        return
    fi
    tail -n 30 "$build/$name.log"
    echo "fuzz_$name failed; to repeat it: $build/bin/fuzz_$name $(sed -n 's/.*Test unit written to //p' "$build/$name.log")"
    return 1
}

if [ "${FUZZ_ONE:-}" = yes ]; then
    one "$1"
    exit
fi
if [ "$seconds" = --merge ]; then python3 "$here/make_seeds.py" "$build/seeds"; fi
[ $# -gt 0 ] || set -- $(cd "$here" && ls fuzz_*.c | sed 's/fuzz_\(.*\)\.c/\1/')
printf '%s\n' "$@" | FUZZ_ONE=yes xargs -n 1 -P 2 "$0" "$build" "$seconds"
