#!/usr/bin/env bash
# Quantizes the bundled model to 2 bits a weight by three methods, compares what is left of it, and lets
# it write from its file.
# Needs no data: the model writes the texts itself. Everything is written to demo/.
set -euo pipefail
cd "$(dirname "$0")"

model=models/books-llama
bits=2
tokens=8192
methods=(watersic huffman-gptq gptq)
watersic=build/release/bin/watersic

say() { printf '\n== %s\n' "$*"; }

say 'Packages'
tools/setup

say 'Building (release)'
cmake --preset release --log-level=WARNING
cmake --build --preset release --target watersic_cli

mkdir -p demo
say "The model writes the text that it will be judged by: $tokens tokens, seed 2"
$watersic sample $model --seed 2 --tokens $tokens >demo/eval.txt
$watersic eval $model --text demo/eval.txt --json demo/original.json

for method in "${methods[@]}"; do
  say "$method: calibrate on text of the model's own (another seed), quantize to $bits bits, read back, evaluate"
  $watersic quantize $model -o demo/"$method".wsic --bits $bits --method "$method" \
    --calibration self --samples 16 --seed 1 --report demo/"$method".run.json
  $watersic eval demo/"$method".wsic --text demo/eval.txt --reference $model \
    --json demo/"$method".eval.json
done

say 'All of it on one page'
files=(demo/original.json)
for method in "${methods[@]}"; do files+=(demo/"$method".run.json demo/"$method".eval.json); done
$watersic report "${files[@]}" -o demo/report.html

say 'How fast they run, from their files'
$watersic bench $model --prompt 128 --tokens 64 --quiet --json demo/original.bench.json
for method in "${methods[@]}"; do
  $watersic bench demo/"$method".wsic --prompt 128 --tokens 64 --quiet \
    --json demo/"$method".bench.json >/dev/null
done

field() { tools/json-field "$1" "$2"; }
row() { printf '%-14s %9s %7s %11s %9s %8s %8s %9s %9s\n' "$@"; }
decimals() { LC_ALL=C printf "%.$1f" "$2"; }
kilobytes() { echo "$((($1 + 500) / 1000)) kB"; }
# Tokens a second, and the weights in memory, of a benchmark.
speed() { decimals 0 "$(field tokens_per_second "demo/$1.bench.json")"; }
memory() { kilobytes "$(field weight_bytes "demo/$1.bench.json")"; }

say "$model at $bits bits a weight"
row method file bits perplexity 'KL, bits' top-1 seconds tokens/s memory
size=$(stat -c %s $model/model.safetensors)
perplexity=$(field perplexity demo/original.json)
row original "$(kilobytes "$size")" 16 "$(decimals 3 "$perplexity")" - - - "$(speed original)" \
  "$(memory original)"
for method in "${methods[@]}"; do
  # One assignment each: a field that is missing ends the script.
  size=$(field totals.file_bytes demo/"$method".run.json)
  rate=$(field totals.bits.file demo/"$method".run.json)
  seconds=$(field totals.seconds demo/"$method".run.json)
  perplexity=$(field perplexity demo/"$method".eval.json)
  kl=$(field kl_bits demo/"$method".eval.json)
  top1=$(field top1 demo/"$method".eval.json)
  percent=$(LC_ALL=C awk -v x="$top1" 'BEGIN { print 100 * x }')
  row "$method" "$(kilobytes "$size")" "$(decimals 3 "$rate")" "$(decimals 3 "$perplexity")" \
    "$(decimals 4 "$kl")" "$(decimals 1 "$percent") %" "$(decimals 1 "$seconds")" \
    "$(speed "$method")" "$(memory "$method")"
done
cat <<'NOTES'

bits: what the file spends on each quantized weight, side information included (gptq: a 2-bit grid,
entropy-coded). The file also holds the embedding, watersic's in some bits more, the others' in 16 bits,
the norms and the tokenizer. KL: from the original's distribution to the quantized model's, for each token. Perplexity
and KL are measured on text that the original model wrote (demo/eval.txt, seed 2), not on books;
the calibration text is the model's own, too (seed 1; 16 windows, by default it is 128). tokens/s:
generating, on all cores. memory: of the weights while it runs, packed (the original in 16 bits).

Open demo/report.html in a browser: curves, every layer, where the bits and the time went.
NOTES

say 'The model writes, from demo/watersic.wsic as it runs'
prompt='It was a dark and stormy night, and'
# First what generate says of memory and speed, then the text whole.
text=$($watersic generate demo/watersic.wsic --prompt "$prompt" --tokens 160 --temperature 0.8 --top-p 0.9 --seed 4)
echo
echo "$prompt$text"
