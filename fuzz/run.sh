#!/usr/bin/env bash
# Fuzzes one target with libFuzzer, on stable Rust:
#
#     fuzz/run.sh TARGET SECONDS [LIBFUZZER_OPTION…]
#
# Inputs that reach new code gather in fuzz/corpus/TARGET, one that fails is left in fuzz/artifacts/TARGET; run it
# again alone by naming the file as an option. fuzz/seeds/TARGET are the inputs to begin with.
set -euo pipefail
cd "$(dirname "$0")"
if [ $# -lt 2 ]; then
    sed -n '3,7s/^# \{0,1\}//p' "$0" >&2
    echo "targets: $(cd targets && echo *.rs | sed 's/\.rs//g')" >&2
    exit 2
fi
target=$1 seconds=$2
shift 2

# What `cargo fuzz` sets, without a nightly compiler: coverage by LLVM's own pass. Naming a target keeps it off build
# scripts and procedural macros, which do not link libFuzzer.
host=$(rustc -vV | sed -n 's/^host: //p')
flags=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1)
RUSTFLAGS="${flags[*]}" cargo build --release --target "$host" --bin "$target"

mkdir -p "corpus/$target" "artifacts/$target" "seeds/$target"
exec "target/$host/release/$target" -max_total_time="$seconds" -artifact_prefix="artifacts/$target/" "$@" \
    "corpus/$target" "seeds/$target"
