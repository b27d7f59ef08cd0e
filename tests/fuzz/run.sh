#!/bin/sh
# run.sh PROGRAM runs|minutes N: fuzz from the seeds on, with libFuzzer or with the driver that stands in for it.
# An input that fails is kept in build/fuzz/failed*.
set -eu
program=$1 unit=$2 n=$3
corpus=build/fuzz/corpus
seconds=$((n * 60))

if [ "$(basename "$program")" = libfuzzer ]; then
    [ "$unit" = runs ] && limit=-runs=$n || limit=-max_total_time=$seconds
    mkdir -p build/fuzz/learned
    echo "==> $program $limit, from $(find "$corpus" build/fuzz/learned -type f | wc -l) inputs"
    log=build/fuzz/libfuzzer.log
    if ! "$program" "$limit" -max_len=1024 -timeout=60 -rss_limit_mb=2048 -artifact_prefix=build/fuzz/failed- -close_fd_mask=1 \
        -print_final_stats=1 build/fuzz/learned "$corpus" 2>"$log"; then
        grep -v '^#[0-9]*	' "$log" | tail -60
        exit 1
    fi
    grep -E '^#[0-9]+	DONE|^stat::(number_of_executed_units|average_exec_per_sec)' "$log"
    echo "no violation"
else
    echo "==> $program: libFuzzer is missing (Debian: apt-get install clang libclang-rt-14-dev), so seeds are changed at random"
    [ "$unit" = runs ] && limit="--runs $n" || limit="--seconds $seconds"
    # shellcheck disable=SC2086
    "$program" $limit --seed "${SEED:-1}" --failed build/fuzz/failed "$corpus"/*
fi
