#!/usr/bin/env bash
# The whole path on a real model, from a bare machine (Debian 12, Ubuntu 24.04): installs what is missing, builds, gets
# SmolLM2-135M-Instruct, compresses it, compares dense and compressed perplexity and text. Ends with one table.
# Run it again as often as you like: packages, build and model are reused.
#
#   bash jobs/demo.sh [--ranks N] [--keep R] [--calibration FILE] [--text FILE] [--prompt TEXT] [--max-tokens N]
#
#   --ranks N       MPI ranks on this machine (default 2)
#   --keep R        share of the MLP's bytes to keep, 0 to 1 (default 0.9)
#   --calibration FILE  text that the factors are fitted to, UTF-8 (default: the licence texts that Debian and Ubuntu
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
keep=0.9
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
  [ -f "$file" ] || die "$file is no file. Give a text to fit the factors to with --calibration FILE"
done
text=$(cd "$(dirname "$text")" && pwd)/$(basename "$text")

cd "$root"
output=$root/runs/demo
archive=$output/smollm2.h5
logs=$output/logs
mkdir -p "$logs"
# Figures and logs of an earlier run must not be taken for this one's.
rm -f "$output"/*.json "$output"/*.h5 "$logs"/*.log

# hack_run NAME COMMAND ARGUMENT…: one subcommand under mpirun, its report and its log named after the step's part.
hack_run() {
  local name=$1
  shift
  logged "$logs/$name.log" mpirun -n "$ranks" "$root/build/bin/hack" "$@" --report "$output/$name.json"
}

step "Packages"
logged "$logs/setup.log" bash "$root/jobs/setup.sh" --model

step "Build"
configure release "$root/build" "$logs/configure.log" OFF
logged "$logs/build.log" cmake --build --preset release --parallel "$(build_jobs)" --target hack

step "Model"
logged "$logs/model.log" fetch_model

step "Compress the MLP to $keep of its bytes on $ranks ranks"
# Fewer windows, one sweep and equal budgets: a minute in place of the several that the defaults take.
hack_run compress compress "$model_file" --output "$archive" --keep "$keep" --calibration "${texts[@]}" \
  --calibration-windows 12 --sweeps 1 --allocation uniform

step "Perplexity of the original model"
hack_run perplexity_dense perplexity "$model_file" --text "$text"

step "Perplexity on the compressed tiles"
hack_run perplexity_compressed perplexity "$model_file" --archive "$archive" --text "$text"

step "Text from the original model"
hack_run generate_dense generate "$model_file" --prompt "$prompt" --max-tokens "$max_tokens"

step "Text from the compressed tiles"
hack_run generate_compressed generate "$model_file" --archive "$archive" --prompt "$prompt" --max-tokens "$max_tokens"

step "Result"
# From the checkout, so that the table's paths are short.
"$(python_with json)" "$root/jobs/demo_table.py" runs/demo || die "cannot make the table (see above). The reports are in $output"
end_step
printf 'demo finished in %s\n' "$(duration "$SECONDS")"
