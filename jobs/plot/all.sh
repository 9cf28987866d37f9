#!/usr/bin/env bash
# Draws every picture: from the records in jobs/results those of README.md and the pages (docs/pictures), and from the
# reports and archives that jobs/demo.sh has left in runs/demo the same of your own run. Installs matplotlib and h5py
# where no Python has them.
#
#   bash jobs/plot/all.sh [--output FOLDER]
#
#   --output FOLDER  PNG and SVG of all pictures (default runs/plot; the demo's in runs/plot/demo)
set -euo pipefail

program=plot
# shellcheck source=jobs/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/../steps.sh"

output=$root/runs/plot
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) help_of "${BASH_SOURCE[0]}"; exit 0 ;;
    --output) [ $# -ge 2 ] || die "--output needs a folder"; output=$2; shift ;;
    *) die "unknown option $1 (see --help)" ;;
  esac
  shift
done

# python_for_plots: a Python with all that the scripts import.
python_for_plots() {
  local candidate
  for candidate in python3 /usr/bin/python3; do
    "$candidate" -c 'import h5py, matplotlib, numpy' >/dev/null 2>&1 && printf '%s\n' "$candidate" && return 0
  done
  return 1
}

python=$(python_for_plots) || {
  bash "$root/jobs/setup.sh" --plots
  python=$(python_for_plots) || die "no Python imports h5py, matplotlib and numpy. Put one that does first in PATH"
}
draw() { "$python" "$root/jobs/plot/$1.py" "${@:2}"; }

results=$root/jobs/results
draw loss_bytes --records "$results" --output "$output"
draw products --records "$results" --output "$output"
draw scaling "$results/smollm2-135m-slow-links.json" --output "$output"
mv "$output/scaling-smollm2-135m-slow-links.svg" "$output/scaling.svg"
mv "$output/scaling-smollm2-135m-slow-links.png" "$output/scaling.png"
for name in loss_bytes time_rank scaling; do cp "$output/$name.svg" "$root/docs/pictures/$name.svg"; done

demo=$root/runs/demo
if [ -f "$demo/perplexity_8_bits.json" ]; then
  draw loss_bytes "$demo" --output "$output/demo"
  draw tiles "$demo/low_rank.h5" --report "$demo/compress_low_rank.json" --output "$output/demo"
  model=$(find "$root/downloads" -maxdepth 1 -name '*.gguf' -print -quit 2>/dev/null || true)
  if [ -n "$model" ] && [ -x "$root/build-quick/bin/hack" ]; then
    work=$(mktemp -d "$output/demo/.dense.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    "$root/build-quick/bin/hack" export "$model" --format hf --output "$work/dense" --quiet >/dev/null
    draw weights "$work/dense" "$demo/low_rank.h5" --output "$output/demo"
  fi
  say "pictures of the demo: $output/demo"
else
  say "no demo has run here (bash jobs/demo.sh): its pictures are left out"
fi
say "pictures of the pages: $output, $root/docs/pictures"
