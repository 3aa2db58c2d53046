#!/usr/bin/env bash
# Builds the fuzz targets in tests/fuzz and runs each for VOLT_FUZZ_SECS (30) seconds.
#
# What `cargo fuzz` would do, without installing it: coverage instrumentation, and AddressSanitizer, which the
# plain toolchain has but hides. Leaks are looked for at the end of a run, not after every input. Finds are kept in tests/fuzz/artifacts; run a target on one to see it again.
set -euo pipefail
export LSAN_OPTIONS="suppressions=$(realpath "$(dirname "$0")/lsan.supp"):print_suppressions=0"
cd "$(dirname "$0")/../tests/fuzz"

host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="--cfg fuzzing -Zsanitizer=address -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks"
cargo build --release --target "$host"

for target in parse conversation settings; do
  dictionary=text.dict length_max=4096
  if [ "$target" = settings ]; then dictionary=settings.dict length_max=16384; fi
  mkdir -p "corpus/$target" "artifacts/$target"
  echo "-- $target"
  "target/$host/release/$target" "corpus/$target" "seeds/$target" -dict="$dictionary" -max_len="$length_max" \
    -max_total_time="${VOLT_FUZZ_SECS:-30}" -timeout=10 -detect_leaks=0 -rss_limit_mb=2048 -artifact_prefix="artifacts/$target/" \
    -print_final_stats=1 2>&1 | tail -n 40
done
