#!/usr/bin/env bash
# Every static check of the code: house rules, layout, a second compiler and
# three analysers. One line per check, what was found below a failed one, and
# the sum last; exit 1 when any fails.
#
# usage: tests/lint/lint.sh [folder of generated headers, default build/release]
# LINT_ONLY="format tidy" runs only the checks whose first word is listed.
set -u
cd "$(dirname "$0")/../.." || exit 1
out=${1:-build/release}

# one program of the benchmark speaks PostgreSQL's protocol
flags=(-std=gnu11 -D_GNU_SOURCE -I. "-I$out" -isystem "$(pkg-config --variable=includedir libpq)"
    -include storage/base/banned.h)
warnings=(-Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
    -Wold-style-definition -Wpointer-arith -Wcast-qual -Wcast-align -Wwrite-strings -Wvla
    -Wformat=2 -Wundef -Wimplicit-fallthrough -Wnull-dereference)
# enumerations are unsigned to clang alone, and assert(!"reason") is meant
clang_warnings=("${warnings[@]}" -Wno-sign-conversion -Wno-string-conversion)
jobs=$(nproc)

passed=0
failed=0

# check NAME COMMAND…: passes when the command prints nothing.
check()
{
    local name=$1 found
    shift
    if [[ -n ${LINT_ONLY:-} && " $LINT_ONLY " != *" ${name%%:*} "* ]]; then
        return
    fi
    found=$("$@" 2>&1)
    if [[ -z $found ]]; then
        echo "ok    $name"
        passed=$((passed + 1))
    else
        echo "FAIL  $name"
        sed 's/^/      /' <<<"$found"
        failed=$((failed + 1))
    fi
}

product()
{
    find storage handlers workers server openapi -name '*.c' | sort
}

everything()
{
    find storage handlers workers server openapi tests -name '*.[ch]' | sort
}

format()
{
    everything | xargs -P "$jobs" -n 20 clang-format --dry-run 2>&1 | grep 'warning:'
}

second_compiler()
{
    { product; find tests -name '*.c'; } | xargs -P "$jobs" -n 1 \
        clang -fsyntax-only "${flags[@]}" "${clang_warnings[@]}" 2>&1 | grep -E '(warning|error):'
}

cppcheck_all()
{
    cppcheck -q -j "$jobs" --std=c11 --platform=unix64 --enable=warning,performance,portability \
        --inline-suppr --suppressions-list=tests/lint/cppcheck.txt --template=gcc \
        -D_GNU_SOURCE -USLUICE_FAULTS -I. "-I$out" --include=storage/base/banned.h \
        storage handlers workers server openapi 2>&1 | grep -E ': (error|warning|portability|performance):'
}

# Paths on which err_set returns ERR_OK do not exist: SLUICE_ANALYSIS says so (err.h).
gcc_analyzer()
{
    product | xargs -P "$jobs" -n 1 \
        gcc -fanalyzer -O1 -DSLUICE_ANALYSIS "${flags[@]}" -c -o /dev/null 2>&1 |
        grep -E '(warning|error):'
}

tidy_one()
{
    clang-tidy --quiet --config-file=tests/lint/clang-tidy.yml "$1" -- \
        -DSLUICE_ANALYSIS "${flags[@]}" 2>/dev/null | grep -E '(warning|error):'
}

tidy()
{
    local file
    while IFS= read -r file; do
        while [[ $(jobs -rp | wc -l) -ge $jobs ]]; do
            wait -n
        done
        tidy_one "$file" &
    done < <(product)
    wait
}

shell_syntax()
{
    find tests docker .ci -type f \( -name '*.sh' -o -path '.ci/run' \) -exec bash -n {} \;
}

rules()
{
    local report
    report=$(tests/lint/layers.sh "$out")
    printf '%s\n' "$report"
    passed=$((passed + $(grep -c '^ok' <<<"$report")))
    failed=$((failed + $(grep -c '^FAIL' <<<"$report")))
}

if [[ -z ${LINT_ONLY:-} || " $LINT_ONLY " == *' rules '* ]]; then
    rules
fi
check 'format: the layout is clang-format'"'"'s' format
check 'shell: scripts parse' shell_syntax
check 'clang: compiles without a warning' second_compiler
check 'cppcheck: finds nothing' cppcheck_all
check 'analyzer: gcc -fanalyzer finds nothing' gcc_analyzer
check 'tidy: clang-tidy finds nothing' tidy

echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
