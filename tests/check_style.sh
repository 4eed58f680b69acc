#!/bin/sh
# check_style.sh [TOP]: what no formatter sees. C files have up to 800 lines of up to 100 columns, functions up to 70
# lines from { to }; nothing is left unfinished by its own words. Prints each fault with its place; exit code 1.
set -eu
top=${1:-$(cd "$(dirname "$0")/.." && pwd)}
cd "$top"

list()
{
    find . \( -path ./build -o -path ./var -o -path ./.git \) -prune -o -type f \( "$@" \) -print |
        sed 's,^\./,,' | sort
}

c_files=$(list -name '*.c' -o -name '*.h')
[ -n "$c_files" ] || { echo "no C files below $top" >&2; exit 1; }
broken=0

# Bytes, not characters, on every machine; a character of several bytes is counted by its first.
# shellcheck disable=SC2086
LC_ALL=C awk -v lines_max=800 -v function_max=70 -v columns_max=100 '
function complain(line, why) {
    print name ":" line ": " why
    broken++
}
function end_of_file() {
    if (name != "" && lines > lines_max)
        complain(lines, lines " lines in a file, " lines_max " are allowed")
}
FNR == 1 {
    end_of_file()
    name = FILENAME
    opened = 0
    files++
}
{ lines = FNR }
# Functions are what opens and closes in the first column, as the formatter leaves them.
/^\{/ { opened = FNR }
/^\}/ {
    if (opened && FNR - opened + 1 > function_max)
        complain(opened, "a function of " (FNR - opened + 1) " lines, " function_max " are allowed")
    opened = 0
}
{
    columns = $0
    gsub(/[\200-\277]/, "", columns)
    if (length(columns) > columns_max)
        complain(FNR, length(columns) " columns, " columns_max " are allowed")
}
END {
    end_of_file()
    if (broken) exit 1
    print files " C files: sizes as they should be"
}' $c_files || broken=1

# The brackets keep this line from finding itself.
all_files="$c_files
$(list -name '*.py' -o -name '*.sh' -o -name '*.md' -o -name '*.txt' -o -name '*.yaml' -o -name dev -o -path './.ci/*')"
# shellcheck disable=SC2086
if grep -nwE 'TO[D]O|FIX[M]E|X[X]X|HA[C]K' $all_files /dev/null; then
    echo "the lines above are unfinished by their own words"
    broken=1
fi
exit $broken
