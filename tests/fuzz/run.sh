#!/bin/sh
# run.sh PROGRAM runs|minutes N: fuzz from the seeds on, with libFuzzer or with the driver that stands in for it.
# The seeds stand beside the program; an input that fails is kept there as failed*.
set -eu
program=$1 unit=$2 n=$3
here=$(dirname "$program")
corpus=$here/corpus
seconds=$((n * 60))

if [ "$(basename "$program")" = libfuzzer ]; then
    [ "$unit" = runs ] && limit=-runs=$n || limit=-max_total_time=$seconds
    mkdir -p "$here/learned"
    echo "==> $program $limit, from $(find "$corpus" "$here/learned" -type f | wc -l) inputs"
    log=$here/libfuzzer.log
    if ! "$program" "$limit" -max_len=2048 -timeout=60 -rss_limit_mb=2048 -artifact_prefix="$here"/failed- -close_fd_mask=1 \
        -print_final_stats=1 "$here/learned" "$corpus" 2>"$log"; then
        grep -v '^#[0-9]*	' "$log" | tail -60
        exit 1
    fi
    grep -E '^#[0-9]+	DONE|^stat::(number_of_executed_units|average_exec_per_sec)' "$log"
    echo "no violation"
else
    echo "==> $program: libFuzzer is missing (Debian: apt-get install clang libclang-rt-14-dev), so seeds are changed at random"
    [ "$unit" = runs ] && limit="--runs $n" || limit="--seconds $seconds"
    # shellcheck disable=SC2086
    "$program" $limit --seed "${SEED:-1}" --failed "$here/failed" "$corpus"/*
fi
