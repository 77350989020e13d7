#!/usr/bin/env bash
# The house rules that a compiler does not know: which room may include which,
# where a third-party header may appear, what may not be called, and that every
# header compiles alone. One line per check; exit 1 when any fails.
#
# usage: tests/lint/layers.sh [folder of generated headers, default build/release]
set -u
cd "$(dirname "$0")/../.." || exit 1
out=${1:-build/release}

# Rooms and what they may include, itself left out. server wires everything.
# An arrow of the Makefile is for the linker and may be wider.
rooms='
storage/base:
storage/columns: base
storage/parquet: columns base
storage/object: base
storage/delta: parquet object columns base
storage/snapshot: delta parquet object columns base
storage/catalog: jobs columns base
storage/journal: base
storage/intake: catalog journal columns base
storage/audit: journal base
storage/jobs: columns base
storage/remote: base
openapi: base
handlers: intake catalog jobs journal audit remote snapshot columns base
workers: intake catalog jobs journal audit remote snapshot delta parquet object columns base
'

# Third-party headers and the only files (globs) that may include them.
fences='
microhttpd.h: server/http.c
sqlite3.h: storage/catalog/*
jansson.h: storage/base/json.c
sodium.h: storage/base/secret.c storage/base/hash.c
gnutls/: storage/base/hash.c server/*
xxhash.h: storage/base/hash.c
curl/: storage/object/s3.c storage/remote/client.c server/cli/client.c
zstd: storage/parquet/codec.c storage/columns/inflate.c storage/columns/inflate_stream.c storage/columns/deflate.c storage/columns/frame_codec.c
zlib.h: storage/base/hash.c storage/parquet/codec.c storage/columns/inflate.c storage/columns/inflate_stream.c storage/columns/deflate.c storage/remote/gunzip.c
snappy-c.h: storage/parquet/codec.c
lz4: storage/parquet/codec.c storage/columns/frame_codec.c
brotli/: storage/parquet/codec.c
pcre2.h: storage/columns/pattern.c
roaring/: storage/delta/deletion_vector.c
yaml.h: openapi/*
criterion/: tests/*
'

# Functions and the only files (globs) that may call them.
memory='malloc|calloc|realloc|reallocarray|free|strdup|strndup|asprintf|vasprintf|aligned_alloc|posix_memalign|memalign'
numbers='strtol|strtoul|strtoll|strtoull|strtod|strtof|strtold|strtod_l|strtoimax|strtoumax'
calendar='gmtime|gmtime_r|localtime|localtime_r|mktime|timegm|strftime|strptime|setlocale'
durable='fsync|fdatasync|syncfs|sync_file_range|rename|renameat|renameat2|link|linkat'
never='rand|srand|random|srandom|rand_r|drand48|system|alloca|pthread_cancel|pthread_detach|vfork|strtok_r|longjmp|setjmp'
signals='signal|sigaction|sigprocmask'
calls="
$memory: storage/base/mem.c
$numbers: storage/base/*
$calendar:
$durable: storage/base/file.c storage/base/root_output.c storage/journal/segments.c
$never:
$signals: server/*
"

sources()
{
    find storage handlers workers server openapi -name '*.[ch]' 2>/dev/null | sort
}

# Does the first argument match one of the globs that follow?
allowed()
{
    local path=$1 glob
    shift
    for glob in "$@"; do
        # shellcheck disable=SC2053 # the right side is a glob on purpose
        [[ $path == $glob ]] && return 0
    done
    return 1
}

# file:line:text of every line, comments and the insides of literals blanked.
code_only()
{
    awk '
    FNR == 1 { comment = 0 }
    {
        line = $0
        code = ""
        while (line != "") {
            if (comment) {
                end = index(line, "*/")
                if (end == 0) break
                line = substr(line, end + 2)
                comment = 0
            } else if (substr(line, 1, 2) == "/*") {
                comment = 1
                line = substr(line, 3)
            } else if (substr(line, 1, 2) == "//") {
                break
            } else if (match(line, /^"([^"\\]|\\.)*"/) || match(line, /^\047([^\047\\]|\\.)*\047/)) {
                code = code "\"\""
                line = substr(line, RLENGTH + 1)
            } else {
                code = code substr(line, 1, 1)
                line = substr(line, 2)
            }
        }
        if (code ~ /[^ \t]/) print FILENAME ":" FNR ":" code
    }' "$@"
}

# The room of a path: storage/<name> or the top folder.
room_of()
{
    case $1 in
    storage/*/*) local rest=${1#storage/}; echo "storage/${rest%%/*}" ;;
    */*) echo "${1%%/*}" ;;
    esac
}

check_arrows()
{
    local line file target from to arrows
    while IFS= read -r line; do
        file=${line%%:*}
        target=${line##*\"}
        from=$(room_of "$file")
        to=$(room_of "$target")
        if [[ $from == server || $from == "$to" ]]; then
            continue
        fi
        if [[ $to == generated ]]; then
            [[ $from == handlers ]] || echo "$file includes $target"
            continue
        fi
        arrows=$(grep "^$from:" <<<"$rooms")
        [[ " ${arrows#*:} " == *" ${to#storage/} "* ]] || echo "$file includes $target: no such arrow"
    done < <(sources | xargs grep -noE '^#include "[^"]+' /dev/null)
}

# A header that says "private to this folder" in its first comment means it.
check_private()
{
    local header line
    while IFS= read -r header; do
        sed -n '1,/\*\//p' "$header" | tr -d '\n*' | tr -s ' ' | grep -qi 'private to this folder' || continue
        while IFS= read -r line; do
            [[ $(dirname "${line%%:*}") == "$(dirname "$header")" ]] ||
                echo "$line: the header is private to $(dirname "$header")"
        done < <(sources | xargs grep -nF "#include \"$header\"" /dev/null)
    done < <(sources | grep '\.h$')
}

check_fences()
{
    local rule header globs line file
    while IFS= read -r rule; do
        [[ -n $rule ]] || continue
        header=${rule%%:*}
        read -ra globs <<<"${rule#*:}"
        while IFS= read -r line; do
            file=${line%%:*}
            allowed "$file" "${globs[@]}" || echo "$line belongs in: ${globs[*]:-no file}"
        done < <(sources | xargs grep -nE "^#include <$header" /dev/null)
    done <<<"$fences"
}

check_calls()
{
    local code rule names globs line file files
    mapfile -t files < <(sources)
    code=$(code_only "${files[@]}")
    while IFS= read -r rule; do
        [[ -n $rule ]] || continue
        names=${rule%%:*}
        read -ra globs <<<"${rule#*:}"
        while IFS= read -r line; do
            file=${line%%:*}
            allowed "$file" "${globs[@]}" || echo "$line"
        done < <(grep -E "(^|[^A-Za-z0-9_.>])($names) *\(" <<<"$code")
    done <<<"$calls"
    # one label, for a lock that must be released in the middle of a function
    grep -E '(^|[^A-Za-z0-9_])goto +' <<<"$code" | grep -vE 'goto +out *;'
}

check_notes()
{
    sources | xargs grep -nE '\b(TODO|FIXME|XXX|HACK)\b' /dev/null
}

check_headers()
{
    local header
    while IFS= read -r header; do
        case $header in storage/base/banned.h) continue ;; esac
        printf '#include "%s"\n' "$header" |
            gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -I. -I"$out" \
                -include storage/base/banned.h -fsyntax-only -x c - 2>&1 |
            sed "s|^|$header alone: |" | grep -m1 -E 'error|warning'
    done < <(find storage handlers workers server openapi tests -name '*.h' | sort)
}

# The poisoned names must stay poisoned.
check_banned()
{
    local name
    for name in strcpy strcat sprintf strtok atoi gets; do
        if echo "void f(void); void f(void) { (void)$name; }" |
            gcc -include storage/base/banned.h -fsyntax-only -x c - 2>/dev/null; then
            echo "banned.h lets $name through"
        fi
    done
}

failed=0
check()
{
    local name=$1 found
    shift
    found=$("$@")
    if [[ -z $found ]]; then
        echo "ok    $name"
    else
        echo "FAIL  $name"
        sed 's/^/      /' <<<"$found"
        failed=1
    fi
}

check 'arrows: rooms include only what the map allows' check_arrows
check 'private: headers of one folder are included by it alone' check_private
check 'fences: third-party headers stay in their files' check_fences
check 'calls: memory, numbers, calendar and sync have one place each' check_calls
check 'notes: nothing is left for later' check_notes
check 'headers: each compiles alone' check_headers
check 'banned: unsafe functions do not compile' check_banned
exit $failed
