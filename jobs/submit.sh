#!/usr/bin/env bash
# Submits one of jobs/*.sbatch with what the site's profile says: partition, account, ranks and GPUs of a node. Prints the
# job's number. Results and logs appear in the folder where it is called.
#
#   bash jobs/submit.sh [--cpu] [SBATCH OPTION…] JOB [ARGUMENT…]
#
#   --cpu           run on the CPUs, whatever GPUs the profile has
#   JOB             compress, perplexity, sweep, generate, strong, weak; the ARGUMENTs are those of `hack JOB`
#
#   bash jobs/submit.sh --nodes=4 --time=8:00:00 compress MODEL --output m.h5 --keep 0.3 --calibration articles.txt
#   bash jobs/submit.sh --array=1-8 perplexity MODEL --archive m.h5 --text wiki.test.raw
set -euo pipefail

program=submit
# shellcheck source=jobs/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

options=()
job=""
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) help_of "${BASH_SOURCE[0]}"; exit 0 ;;
    --cpu) HACK_GPUS_PER_NODE=0 ;;
    --*=* | --exclusive | --hold) options+=("$1") ;;
    -*) die "option $1 has no '=' (options of sbatch are given as --name=value here)" ;;
    *) job=$1; shift; break ;;
  esac
  shift
done
[ -n "$job" ] || die "no job named (see --help)"
[ -f "$root/jobs/$job.sbatch" ] || die "there is no job $job (compress, heal, perplexity, sweep, generate, strong, weak)"
command -v sbatch >/dev/null || die "sbatch is not on PATH (not a login node of a Slurm cluster?)"

# shellcheck source=jobs/profile.sh
. "${HACK_PROFILE:-$root/jobs/profile.sh}"
# The job meets the same profile and the same checkout, wherever it was submitted from.
export HACK_ROOT=$root HACK_GPUS_PER_NODE
site=()
[ -z "$HACK_PARTITION" ] || site+=("--partition=$HACK_PARTITION")
[ -z "$HACK_ACCOUNT" ] || site+=("--account=$HACK_ACCOUNT")
if [ "$HACK_GPUS_PER_NODE" -gt 0 ]; then
  # Every rank sees all GPUs of its node and takes its own: per-task binding would hide peers from one another.
  site+=("--ntasks-per-node=$HACK_GPUS_PER_NODE" "--gpus-per-node=$HACK_GPUS_PER_NODE")
else
  site+=("--ntasks-per-node=$HACK_RANKS_PER_NODE")
fi
exec sbatch --parsable "${site[@]}" "${options[@]}" "$root/jobs/$job.sbatch" "$@"
