# Short names for what one does often; `just` lists them. Nothing depends on it: ./check is the check.

_list:
    @just --list --unsorted

# The gateway with the demo backend and its page.
demo:
    cargo run --release -- demo

# Everything that must hold before a change goes in.
check:
    ./check

# Format, lints and documentation only.
lint:
    ./check lint

# All tests, or those whose names contain FILTER.
test FILTER='':
    {{ if FILTER == '' { './check test' } else { 'cargo test ' + FILTER } }}

fmt:
    cargo fmt
    cargo fmt --manifest-path fuzz/Cargo.toml

# Fuzzes one target of fuzz/ for some seconds.
fuzz TARGET SECONDS='60':
    fuzz/run.sh {{ TARGET }} {{ SECONDS }}

# Licences, advisories and sources of the dependencies (needs cargo-deny).
deny:
    cargo deny check
