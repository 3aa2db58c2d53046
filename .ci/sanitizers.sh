#!/usr/bin/env bash
# The unsafe code under watch: the engine's models in loom, its tests and the stress test under AddressSanitizer, and
# the engine's tests under valgrind.
#
# The sanitizer comes with the plain toolchain, which hides it. Both watch the system's allocator, so jemalloc is left out.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')

echo '-- loom: every interleaving of the models'
RUSTFLAGS='--cfg volt_loom' cargo test --lib models --target-dir target/loom

echo '-- AddressSanitizer: unit tests, stress, linearizability'
RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address LSAN_OPTIONS="suppressions=$PWD/.ci/lsan.supp:print_suppressions=0" \
  cargo test --no-default-features --lib --test stress --test linearizability --test model \
  --target "$host" --target-dir target/asan

echo '-- valgrind: unit tests of the engine'
test=$(cargo test --no-default-features --lib --no-run --message-format json --target-dir target/valgrind \
  | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
valgrind --quiet --error-exitcode=1 --leak-check=full --errors-for-leak-kinds=definite --fair-sched=yes \
  --suppressions=.ci/valgrind.supp "$test" engine:: --test-threads 1
