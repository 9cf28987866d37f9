#!/usr/bin/env bash
# The whole path on a real model, from a bare machine (Debian 12, Ubuntu 24.04): installs what is missing, builds, gets
# SmolLM2-135M-Instruct, compresses its MLP to low rank, to 4 bits and to 8 bits, and compares the four models. Ends with
# one table.
# Run it again as often as you like: packages, build and model are reused.
#
#   bash jobs/demo.sh [--ranks N] [--keep R] [--calibration FILE] [--text FILE] [--prompt TEXT] [--max-tokens N]
#
#   --ranks N       MPI ranks on this machine (default 2)
#   --keep R        share of the MLP's bytes that low rank keeps, 0 to 1 (default 0.8)
#   --calibration FILE  text that tiles are fitted to, UTF-8 (default: the licence texts that Debian and Ubuntu
#                   come with; articles like those the model is for are better)
#   --text FILE     text for the perplexity, UTF-8 (default tests/data/lighthouse.txt)
#   --prompt TEXT   start of the generated text
#   --max-tokens N  how much to generate (default 40)
set -euo pipefail

program=demo
# shellcheck source=jobs/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
# shellcheck source=jobs/environment.sh
. "$root/jobs/environment.sh"
# shellcheck source=jobs/model.sh
. "$root/jobs/model.sh"

ranks=2
keep=0.8
calibration=
text=$root/tests/data/lighthouse.txt
prompt='The lighthouse keeper climbed the stairs and'
max_tokens=40

while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) help_of "${BASH_SOURCE[0]}"; exit 0 ;;
    --ranks | --keep | --calibration | --text | --prompt | --max-tokens) [ $# -ge 2 ] || die "$1 needs a value" ;;
    *) die "unknown option $1 (see --help)" ;;
  esac
  case $1 in
    --ranks) ranks=$2 ;;
    --keep) keep=$2 ;;
    --calibration) calibration=$2 ;;
    --text) text=$2 ;;
    --prompt) prompt=$2 ;;
    --max-tokens) max_tokens=$2 ;;
  esac
  shift 2
done
[[ $ranks =~ ^[1-9][0-9]*$ ]] || die "--ranks $ranks is not a number of ranks. Give 1 or more"
[[ $max_tokens =~ ^[1-9][0-9]*$ ]] || die "--max-tokens $max_tokens is not a number of tokens. Give 1 or more"
[[ $keep =~ ^(0?\.[0-9]*[1-9][0-9]*|1(\.0*)?)$ ]] || die "--keep $keep is not a share. Give a number above 0, up to 1"
[ -f "$text" ] || die "--text $text is no file"
licences=/usr/share/common-licenses
texts=("$licences"/{GPL-3,Apache-2.0,GFDL-1.3,MPL-2.0,LGPL-2.1,Artistic})
[ -z "$calibration" ] || texts=("$(readlink -f "$calibration" || echo "$calibration")")
for file in "${texts[@]}"; do
  [ -f "$file" ] || die "$file is no file. Give a text to fit tiles to with --calibration FILE"
done
text=$(cd "$(dirname "$text")" && pwd)/$(basename "$text")

cd "$root"
output=$root/runs/demo
logs=$output/logs
mkdir -p "$logs"
# Figures and logs of an earlier run must not be taken for this one's.
rm -f "$output"/*.json "$output"/*.h5 "$logs"/*.log

# hack_run NAME COMMAND ARGUMENT…: one subcommand under mpirun, its report and its log named after the step's part.
hack_run() {
  local name=$1
  shift
  logged "$logs/$name.log" mpirun -n "$ranks" "$root/build-quick/bin/hack" "$@" --report "$output/$name.json"
}

step "Packages"
logged "$logs/setup.log" bash "$root/jobs/setup.sh" --model

step "Build"
configure quick "$root/build-quick" "$logs/configure.log" OFF
logged "$logs/build.log" cmake --build --preset quick --parallel "$(build_jobs)" --target hack

step "Model"
logged "$logs/model.log" fetch_model

# Fewer windows, one sweep and equal budgets: a minute in place of the several that the defaults take.
fitted=(--calibration "${texts[@]}" --calibration-windows 6)
step "Compress the MLP to low rank, $keep of its bytes, on $ranks ranks"
hack_run compress_low_rank compress "$model_file" --output "$output/low_rank.h5" --terms lowrank --keep "$keep" \
  "${fitted[@]}" --sweeps 1 --allocation uniform

step "Compress the MLP to 4 bits"
hack_run compress_4_bits compress "$model_file" --output "$output/4_bits.h5" --codec iq4_nl "${fitted[@]}"

step "Compress the MLP to 8 bits"
hack_run compress_8_bits compress "$model_file" --output "$output/8_bits.h5" --codec q8_0 --method plain

# The rest of each model in bf16: the file's own 4-bit blocks would leave little to compare.
step "Perplexity and text of the four models"
# One window: the divergence from the dense model takes two more passes over it.
for name in dense low_rank 4_bits 8_bits; do
  archive=() compared=()
  [ "$name" = dense ] || archive=(--archive "$output/$name.h5") compared=(--divergence)
  hack_run "perplexity_$name" perplexity "$model_file" "${archive[@]}" --dtype bf16 --text "$text" --windows 1 \
    "${compared[@]}"
  hack_run "generate_$name" generate "$model_file" "${archive[@]}" --dtype bf16 --prompt "$prompt" \
    --max-tokens "$max_tokens"
done

step "Result"
logged "$logs/report.log" "$root/build-quick/bin/hack" report "$output"/*.json --output "$output/report.html" \
  --title "Demo of hack: SmolLM2-135M"
# From the checkout, so that the table's paths are short.
"$(python_with json)" "$root/jobs/demo_table.py" runs/demo || die "cannot make the table (see above). The reports are in $output"
end_step
printf 'demo finished in %s\n' "$(duration "$SECONDS")"
