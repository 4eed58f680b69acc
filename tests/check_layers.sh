#!/bin/sh
# check_layers.sh [TOP]: which folder includes what. The table below is the rule (docs/ARCHITECTURE.md explains it);
# a line that breaks it is printed with its file and line, and the exit code is 1.
set -eu
top=${1:-$(cd "$(dirname "$0")/.." && pwd)}
cd "$top"

# A folder, then what it may include beside itself and the C library: folders, single headers of a folder, and
# headers of other libraries in <>, or whole folders of them as <folder/*>. `*` is everything. `pure` is: of the
# C library only what neither asks the world nor changes it; `pure+X` adds X.
table='
base          <xxhash.h>
statemachine  pure base <msgpack.h> <msgpack/*>
wire          pure+stdio.h base statemachine <jansson.h>
config        pure+stdio.h base <yaml.h>
journal       base <lmdb.h>
engine        base statemachine journal config
http          base wire engine/engine.h <microhttpd.h>
daemon        *
replay        base statemachine journal engine wire config
client        base config <curl/curl.h> <jansson.h> <microhttpd.h>
bench         base engine journal
tests         *
'

pure='errno.h float.h inttypes.h limits.h stdalign.h stdarg.h stdbool.h stddef.h stdint.h stdlib.h string.h'

# What counts as the C library. Another header is another dependency: it belongs into the table first.
libc="$pure"' assert.h ctype.h dirent.h endian.h fcntl.h getopt.h ifaddrs.h libgen.h locale.h malloc.h
math.h netdb.h poll.h pthread.h sched.h semaphore.h setjmp.h signal.h spawn.h stdatomic.h stdio.h strings.h
stdnoreturn.h threads.h time.h ucontext.h unistd.h wait.h
arpa/inet.h net/if.h netinet/in.h netinet/tcp.h linux/falloc.h linux/fs.h linux/magic.h'
libc_folder='sys'

files=$(find . \( -path ./build -o -path ./var -o -path ./.git \) -prune -o \
    -type f \( -name '*.c' -o -name '*.h' \) -print | sed 's,^\./,,' | sort)
[ -n "$files" ] || { echo "no C files below $top" >&2; exit 1; }

# shellcheck disable=SC2086
awk -v table="$table" -v pure="$pure" -v libc="$libc" -v libc_folder="$libc_folder" '
function complain(why) {
    print FILENAME ":" FNR ": " why ": " $0
    broken++
}

# May `folder` include <header> as part of the C library?
function libc_allowed(folder, header,    first) {
    if (folder in is_pure) return (header in pure_headers) || ((folder, header) in pure_more)
    first = header
    sub(/\/.*/, "", first)
    return (header in libc_headers) || (first == libc_folder && header != first)
}

BEGIN {
    n = split(pure, list, /[ \n]+/)
    for (i = 1; i <= n; i++) pure_headers[list[i]] = 1
    n = split(libc, list, /[ \n]+/)
    for (i = 1; i <= n; i++) libc_headers[list[i]] = 1
    rows = split(table, row, /\n/)
    for (r = 1; r <= rows; r++) {
        n = split(row[r], list, / +/)
        if (n == 0 || list[1] == "") continue
        known[list[1]] = 1
        for (i = 2; i <= n; i++) {
            allowed[list[1], list[i]] = 1
            if (list[i] !~ /^pure/) continue
            is_pure[list[1]] = 1
            extra = list[i]
            if (sub(/^pure\+/, "", extra)) pure_more[list[1], extra] = 1
        }
    }
}

FNR == 1 {
    folder = FILENAME
    if (!sub(/\/.*/, "", folder)) folder = "the top"
    if (!(folder in known)) complain("there is no row for " folder " in the table of " \
                                     "tests/check_layers.sh")
    files++
}

/^[ \t]*#[ \t]*include/ {
    includes++
    name = $0
    sub(/^[ \t]*#[ \t]*include(_next)?[ \t]*/, "", name)
    if (match(name, /^"[^"]*"/)) {
        name = substr(name, 2, RLENGTH - 2)
        other = name
        if (name ~ /\.\./ || name ~ /^\// || !sub(/\/.*/, "", other)) {
            complain("write it as \"folder/header.h\"")
        } else if (!(other in known)) {
            complain("the project has no folder " other " with headers")
        } else if (other != folder && !((folder, other) in allowed) &&
                   !((folder, name) in allowed) && !((folder, "*") in allowed)) {
            complain(folder " may not include " name)
        }
    } else if (match(name, /^<[^>]*>/)) {
        system_name = substr(name, 1, RLENGTH)
        name = substr(name, 2, RLENGTH - 2)
        other = "<" name
        sub(/\/.*/, "/*>", other)
        if (!((folder, "*") in allowed) && !((folder, system_name) in allowed) &&
            !((folder, other) in allowed) && !libc_allowed(folder, name))
            complain(folder " may not include " system_name)
    } else {
        complain("neither \"...\" nor <...>")
    }
}

END {
    if (broken) exit 1
    print files " files, " includes " includes, all as the table allows"
}' $files
