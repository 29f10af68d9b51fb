#!/usr/bin/env bash
# Fuzzes with libFuzzer, on stable Rust:
#
#     fuzz/run.sh TARGET SECONDS [LIBFUZZER_OPTION…]
#     fuzz/run.sh all SECONDS        every target for so long, two at a time
#     fuzz/run.sh keep TARGET        makes of all inputs there are the fewest that reach as much, for the tests to replay
#
# Inputs that reach new code gather in fuzz/corpus/TARGET; fuzz/seeds/TARGET are those that are kept, and what to begin
# with. One that fails is left in fuzz/artifacts/TARGET, where the tests replay it until it passes.
set -euo pipefail
cd "$(dirname "$0")"

# What `cargo fuzz` sets, without a nightly compiler: coverage by LLVM's own pass. Naming a target keeps it off build
# scripts and procedural macros, which do not link libFuzzer.
build() {
    local host flags
    host=$(rustc -vV | sed -n 's/^host: //p')
    flags=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
        -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1)
    RUSTFLAGS="${flags[*]}" cargo build --locked --release --target "$host"
    fuzz="target/$host/release/fuzz"
}

# With the same `-seed`, and from an empty fuzz/corpus, libFuzzer tries the same inputs in the same order, as far as all that
# steers it is the same: the order of what it begins with, the program's environment, its hash maps (src/main.rs), and
# its addresses, for it tries what it sees compared, and pointers are compared. Containers may not be allowed to fix those.
run() {
    local target=$1 seconds=$2 list=target/$1.seeds steady=(env -i "FUZZ_TARGET=$1")
    shift 2
    if setarch -R true 2>/dev/null; then steady=(setarch -R "${steady[@]}"); fi
    mkdir -p "corpus/$target" "artifacts/$target" "seeds/$target"
    LC_ALL=C ls -d "seeds/$target"/* | paste -sd, >"$list"
    "${steady[@]}" "$fuzz" -max_total_time="$seconds" -timeout=10 -reload=0 -artifact_prefix="artifacts/$target/" \
        -seed_inputs=@"$list" "$@" "corpus/$target"
}

# Of the commit, so that a run of `all` that failed can be repeated, and one that passed passes again. How far it comes in
# its seconds is the machine's affair: a quicker one may find what a slower one did not reach.
seed() {
    local tree
    tree=$(git rev-parse --verify --quiet 'HEAD^{tree}') || tree=0
    echo $((16#${tree:0:7} + 1))
}

# One line of a target that passes, the end of what one says that does not.
run_quietly() {
    local target=$1 seconds=$2 log=target/$1.log
    if run "$target" "$seconds" -seed="$seed" -print_final_stats=1 >"$log" 2>&1; then
        echo "$target: $(sed -n 's/^Done \([0-9]*\) runs.*/\1 runs/p' "$log"), $(sed -n 's/.*\(cov: [0-9]*\).*/\1/p' "$log" | tail -1)"
    else
        echo "$target FAILED:"
        tail -n 40 "$log"
        return 1
    fi
}

keep() {
    local target=$1 kept=target/kept/$1
    rm -rf "$kept"
    mkdir -p "$kept" "corpus/$target"
    # By the places that are reached, not how often: an order of magnitude fewer files.
    FUZZ_TARGET=$target "$fuzz" -set_cover_merge=1 -use_counters=0 -max_len=4096 "$kept" "seeds/$target" "corpus/$target"
    rm -rf "seeds/$target"
    mv "$kept" "seeds/$target"
}

targets=$(cd targets && ls -- *.rs | sed 's/\.rs$//' | grep -vx mod)
case "${1-}:$#" in
all:2)
    build
    seed=$(seed)
    echo "-seed=$seed"
    failed=0
    running=0
    for target in $targets; do
        if [ "$running" -eq 2 ]; then
            wait -n || failed=1
            running=1
        fi
        run_quietly "$target" "$2" &
        running=$((running + 1))
    done
    for _ in $(seq "$running"); do wait -n || failed=1; done
    exit "$failed"
    ;;
keep:2)
    build
    keep "$2"
    ;;
:* | *:1)
    sed -n '3,9s/^# \{0,1\}//p' "$0" >&2
    echo "targets: $(echo $targets)" >&2
    exit 2
    ;;
*)
    build
    run "$@"
    ;;
esac
