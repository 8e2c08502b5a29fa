#!/usr/bin/env bash
# tools/check-includes has to find what it is there to find: each case breaks one rule in a small
# tree that is sound otherwise, and must fail with that rule's words.
set -euo pipefail
check=$(cd "$(dirname "$0")/../.." && pwd)/tools/check-includes
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
failures=0

# A sound tree.
build_tree() {
  rm -rf "${root:?}"/*
  mkdir -p "$root"/include/watersic "$root"/src/{base,linalg,coding,runtime,cli}
  cat >"$root/CMakeLists.txt" <<'CMAKE'
# watersic_room(ghost ROOMS nothing)
watersic_room(base    LINK fmt::fmt)
watersic_room(linalg  ROOMS base LINK watersic_openblas)
watersic_room(coding  ROOMS base LINK fmt::fmt)
watersic_room(runtime ROOMS base coding
                      linalg LINK fmt::fmt)
CMAKE
  printf '#include <vector>\n#include "watersic/matrix.h"\n' >"$root/include/watersic/layer.h"
  printf '#include <cblas.h>\n#include "base/a.h"\n' >"$root/src/linalg/blas.cc"
  printf '#include "coding/common_a.h"\n' >"$root/src/coding/dec_a.cc"
  printf '#include "coding/enc_a.h"\n#include "coding/dec_a.h"\n' >"$root/src/coding/dec_a_test.cc"
  printf '#include "coding/dec_a.h"\n#include "linalg/blas.h"\n' >"$root/src/runtime/run.cc"
  printf '#include <watersic/layer.h>\n#include "cli/args.h"\nstd::cout << 1;\n' >"$root/src/cli/main.cc"
  printf 'int n = snprintf(b, 1, "printf(%%s) // exit(1)");  // exit(1)\n' >"$root/src/base/a.cc"
}

# expect WORDS FILE TEXT: with TEXT added to FILE the check fails and says WORDS.
expect() {
  local words=$1 file=$2 text=$3 output
  build_tree
  mkdir -p "$(dirname "$root/$file")"
  printf '%b\n' "$text" >>"$root/$file"
  if output=$("$check" "$root" 2>&1); then
    echo "not found: $file: $text"
    failures=$((failures + 1))
  elif ! grep -qF "$words" <<<"$output"; then
    printf 'not the words "%s" for %s: %s\n%s\n' "$words" "$file" "${text:0:60}" "$output"
    failures=$((failures + 1))
  fi
}

build_tree
if ! "$check" "$root"; then
  echo 'the sound tree does not pass'
  failures=$((failures + 1))
fi

expect 'does not list linalg' src/coding/a.cc '#include "linalg/blas.h"'
expect 'does not list runtime' src/coding/a_test.cc '#  include <runtime/run.h>'
expect 'name the room, not the way' src/coding/a.cc '#include "../linalg/blas.h"'
expect 'name the room' src/coding/a.cc '#include "enc_a.h"'
expect 'src/attic is no room' src/attic/a.cc 'int x;'
expect 'a room includes the command line' src/base/a.cc '#include "cli/args.h"'
expect 'the command line includes' src/cli/main.cc '#include "coding/dec_a.h"'
expect 'the command line includes' src/cli/main.cc '#include <coding/dec_a.h>'
expect 'the Python module includes' python/src/module.cc '#include "coding/dec_a.h"'
expect 'a public header includes' include/watersic/layer.h '#include "coding/dec_a.h"'
expect 'a public header includes' include/watersic/layer.h '#include <fmt/format.h>'
expect 'the read side includes' src/coding/dec_a.cc '#include "coding/enc_a.h"'
expect 'the read side includes' src/runtime/run.cc '#include "coding/enc_a.h"'
expect 'the common side includes' src/coding/common_a.h '#include "coding/enc_a.h"'
expect 'the common side includes' src/coding/common_a.h '#include "coding/dec_a.h"'
expect 'only linalg calls BLAS' src/coding/a.cc '#include <cblas.h>'
expect 'only linalg calls BLAS' src/runtime/a.cc '#include <lapacke.h>'
expect 'prints' src/base/a.cc 'std::cerr << x;'
expect 'prints' src/base/a.cc '  printf("%d", 1);'
expect 'prints' src/base/a.cc 'std::fprintf(stderr, "x");'
expect 'prints' src/base/a.cc 'fmt::print("x");'
expect 'ends the program' src/base/a.cc '  std::exit(1);'
expect 'ends the program' src/base/a.cc 'if (x) abort();'
expect 'holds two things' src/base/a.cc "$(printf 'int x;\\n%.0s' {1..600})"

if [[ $failures != 0 ]]; then
  echo "$failures failures"
  exit 1
fi
echo 'every broken rule was found'
