# The verbs of the house; `just` alone lists them.
default:
    @just --list

# format everything
fmt:
    cargo fmt --all
# what CI's linters say
lint:
    cargo clippy --workspace --all-targets -- -D warnings && cargo xtask tidy
# unit and integration tests of one crate, or of all
test crate="":
    cargo nextest run {{ if crate == "" { "--workspace" } else { "-p skiff-" + crate } }}
# everything CI runs
ci:
    .ci/run
# the article of 2014 on two minions
demo:
    ./skiff.sh demo
# remove every trace of the demo
down:
    ./skiff.sh down
# images of the demo and the tests
images:
    cargo xtask images
# documentation of all crates
doc:
    cargo doc --workspace --no-deps --open
# figures for BENCHMARKS.md
bench:
    cargo build --release -p skiff-skiff -p skiff-bench && target/release/skiff-bench all
