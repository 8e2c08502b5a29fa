#!/usr/bin/env bash
# Builds watersic and runs every test and check:
#
#   ./test.sh           all of it
#   ./test.sh --quick   without the sanitizers
#
# The last line is "N passed, M failed[, K skipped]"; the exit code is 0 only if none failed.
set -uo pipefail
cd "$(dirname "$0")"

quick=
case "${1-}" in
  '') ;;
  --quick) quick=1 ;;
  *) echo "usage: ./test.sh [--quick]" >&2; exit 2 ;;
esac

passed=0
failed=0
skipped=0
begun=$SECONDS
step() { echo "== $* ($((SECONDS - begun)) s)"; }
finish() {
  local counts="$passed passed, $failed failed"
  [[ $skipped == 0 ]] || counts+=", $skipped skipped"
  step "end"
  echo "$counts"
  [[ $failed == 0 ]]
  exit
}
# What must succeed before anything else can be said.
require() {
  if ! "$@"; then
    echo "test.sh: failed: $*" >&2
    failed=$((failed + 1))
    finish
  fi
}

# A configuration and what is built and tested of it (CMakePresets.json).
build() {
  step "building ($2)"
  require cmake --preset "$1" -DWATERSIC_TESTS=ON "${@:3}" --log-level=WARNING
  require cmake --build --preset "$2"
}
# Adds up what ctest counted: in its summary skipped tests are among the total, disabled ones are
# not.
run_tests() {
  step "testing ($1)"
  local log=build/$1.log status summary total failures skips disabled
  ctest --preset "$1" -j "$(nproc)" --no-tests=error 2>&1 | tee "$log" |
    grep --line-buffered -vE '^ +Start +[0-9]+: '
  status=${PIPESTATUS[0]}
  summary=$(sed -nE 's/^[0-9]+% tests passed, ([0-9]+) tests failed out of ([0-9]+)$/\1 \2/p' "$log")
  if [[ -z $summary ]]; then
    failed=$((failed + 1))
    return
  fi
  read -r failures total <<<"$summary"
  skips=$(grep -cE '^\s+[0-9]+ - .* \(Skipped\)$' "$log")
  disabled=$(grep -cE '^\s+[0-9]+ - .* \(Disabled\)$' "$log")
  # ctest itself may fail where no test did.
  if [[ $status != 0 && $failures == 0 ]]; then failed=$((failed + 1)); fi
  passed=$((passed + total - failures - skips))
  failed=$((failed + failures))
  skipped=$((skipped + skips + disabled))
}

step "packages"
require tools/setup --mpi

if [[ $quick ]]; then
  build release release -DWATERSIC_MPI=ON
  run_tests release
else
  # Each test in one build or in both.
  build release optimized -DWATERSIC_MPI=ON
  run_tests optimized
  build asan-ubsan asan-ubsan
  run_tests asan-ubsan
fi

# Where pip can't get what the Python package's tests need, they count as one that was skipped.
run_python() {
  step "testing (Python)"
  local log=build/python.log status
  tools/test-python 2>&1 | tee "$log" | tail -n 20
  status=${PIPESTATUS[0]}
  if [[ $status == 75 ]]; then
    skipped=$((skipped + 1))
    return
  fi
  count() { tail -n 1 "$log" | grep -oE "[0-9]+ $1" | cut -d' ' -f1; }
  local p f s
  p=$(count passed) f=$(count failed) s=$(count skipped)
  passed=$((passed + ${p:-0}))
  failed=$((failed + ${f:-0}))
  skipped=$((skipped + ${s:-0}))
  if [[ $status != 0 && ${f:-0} == 0 ]]; then failed=$((failed + 1)); fi
}
run_python

step "checks"
output=$(mktemp)
trap 'rm -f "$output"' EXIT
tools/check 2>&1 | tee "$output"
if line=$(grep -E '^check: [0-9]+ passed, [0-9]+ failed$' "$output"); then
  read -r _ p _ f _ <<<"$line"
  passed=$((passed + p))
  failed=$((failed + f))
else
  failed=$((failed + 1))
fi

finish
