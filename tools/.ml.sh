#!/usr/bin/env bash
# Rate and distortion of one matrix, of five families and of a large one:
#
#   tools/measure-layers [OUT.csv]          default tests/results/rate_distortion.csv
#   tools/measure-layers --quick [OUT.csv]  without the 4096 x 4096 matrix
#
# Configurations: scalar pooled (the papers' scheme), scalar classes, 8 states, the default (64 states),
# and the runnable layout with 14 and with 16 bits of state. Half an hour on 2 cores.
set -euo pipefail
cd "$(dirname "$0")/.."
large=1
if [[ ${1-} == --quick ]]; then
  large=
  shift
fi
out=${1-tests/results/rate_distortion.csv}
watersic=/tmp/wrd
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
field() { tools/json-field "$1" "$work/layer.json"; }

declare -A options=(
  [paper]='--trellis 0 --shrinkage 0 --lmmse --coder pooled'
  [scalar]='--trellis 0'
  [8-states]='--trellis 8'
  [default]=''
  [runnable-14]='--layout runnable --state-bits 14'
  [runnable]='--layout runnable --state-bits 16'
)
echo 'family,rows,cols,configuration,bits,file_bits,coded_bits,side_bits,pooled_entropy,distortion,limit_bits,gap' >"$out.tmp"
measure() {
  local family=$1 rows=$2 cols=$3
  "$watersic" synth --layer "$family" --rows "$rows" --cols "$cols" -o "$work/$family"
  for bits in 1 1.5 2 3 4; do
    for configuration in ${configurations-paper scalar 8-states default runnable-14 runnable}; do
      # shellcheck disable=SC2086  # options are words
      "$watersic" layer -w "$work/$family/W.npy" -s "$work/$family/S.npy" --bits $bits \
        ${options[$configuration]} --json "$work/layer.json" >/dev/null
      echo "$family,$rows,$cols,$configuration,$bits,$(field bits.file),$(field bits.coded),$(field bits.side),$(field bits.pooled_entropy),$(field distortion),$(field limit_bits),$(field gap)" |
        tee -a "$out.tmp"
    done
  done
  rm -r "${work:?}/$family"
}
for family in white powerlaw ar1 lognormal_diag hard; do measure "$family" 1024 512; done
[[ -z $large ]] || measure powerlaw 4096 4096
mv "$out.tmp" "$out"
