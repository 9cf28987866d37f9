# Sourced by jobs/*.sbatch: the life of one batch job. `run_job ARGUMENT…` runs `hack ARGUMENT…` on the allocation's
# ranks, stops it when Slurm's signal says that the time is nearly over, and puts the job back into the queue; what was
# finished is on disk, and the same command goes on after it.
# shellcheck shell=bash

# shellcheck source=jobs/profile.sh
. "${HACK_PROFILE:-$root/jobs/profile.sh}"

say() { printf 'job: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# has_option NAME ARGUMENT…: whether --NAME is among them.
has_option() {
  local name=--$1 argument
  shift
  for argument; do
    case $argument in "$name" | "$name="*) return 0 ;; esac
  done
  return 1
}

# The name of this job's results: job's name and number, the same after it was requeued.
results=${SLURM_JOB_NAME}-${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+.$SLURM_ARRAY_TASK_ID}

load_modules() {
  local name
  for name in $HACK_MODULES; do
    module load "$name" || die "cannot load the module $name (HACK_MODULES of the profile)"
  done
}

# Sets `launcher` to the command that starts one process on each rank.
choose_launcher() {
  local binding
  if [ -n "$HACK_INTERFACE" ]; then
    export OMPI_MCA_btl_tcp_if_include=$HACK_INTERFACE OMPI_MCA_oob_tcp_if_include=$HACK_INTERFACE
    export NCCL_SOCKET_IFNAME=$HACK_INTERFACE
  fi
  case $HACK_LAUNCHER in
    mpirun)
      case $HACK_BIND in
        none) binding=(--bind-to none) ;;
        core) binding=(--map-by "slot:PE=${SLURM_CPUS_PER_TASK:-1}" --bind-to core) ;;
        numa) binding=(--bind-to numa) ;;
        *) die "HACK_BIND=$HACK_BIND is not known (numa, core, none)" ;;
      esac
      launcher=(mpirun -n "$SLURM_NTASKS" "${binding[@]}")
      ;;
    srun)
      case $HACK_BIND in
        none) binding=(--cpu-bind=none) ;;
        core) binding=(--cpu-bind=cores) ;;
        numa) binding=(--cpu-bind=ldoms) ;;
        *) die "HACK_BIND=$HACK_BIND is not known (numa, core, none)" ;;
      esac
      launcher=(srun --mpi=pmix "${binding[@]}" --kill-on-bad-exit=1)
      ;;
    *) die "HACK_LAUNCHER=$HACK_LAUNCHER is not known (mpirun, srun)" ;;
  esac
}

# One line a rank: its number, host, CPUs and GPUs, as the program will meet them.
# shellcheck disable=SC2016  # expanded on the ranks
list_ranks() {
  "${launcher[@]}" bash -c 'printf "rank %s host %s cpus %s gpus %s\n" \
    "${OMPI_COMM_WORLD_RANK:-${PMIX_RANK:-$SLURM_PROCID}}" "$(hostname)" \
    "$(sed -n "s/^Cpus_allowed_list:[[:space:]]*//p" /proc/self/status)" "${CUDA_VISIBLE_DEVICES:-none}"' </dev/null
}

# Prints where the ranks are and ends the job where that is not what was asked for: ranks missing, nodes unevenly full,
# bound ranks that share a core, fewer GPUs than ranks.
check_ranks() {
  local ranks
  ranks=$(list_ranks | sort -V) || die "cannot start $SLURM_NTASKS ranks with ${launcher[*]} (see above)"
  printf '%s\n' "$ranks" >&2
  awk -v expected="$SLURM_NTASKS" -v nodes="$SLURM_JOB_NUM_NODES" -v bind="$HACK_BIND" -v gpus="$HACK_GPUS_PER_NODE" '
    function complain(text) { print "job: " text; wrong = 1 }
    $1 == "rank" {
      ranks++
      on_node[$4]++
      count = split($6, parts, ",")
      for (i = 1; i <= count; i++) {
        split(parts[i], ends, "-")
        last = ends[2] == "" ? ends[1] : ends[2]
        for (cpu = ends[1] + 0; cpu <= last + 0; cpu++) {
          place = $4 " " cpu
          if (bind != "none" && (place in owner) && !clash++)
            complain("ranks " owner[place] " and " $2 " share CPU " cpu " of " $4 \
                     " though HACK_BIND is " bind " (give --ntasks-per-node and --cpus-per-task that fit the node)")
          owner[place] = $2
        }
      }
      if (gpus > 0 && ($8 == "none" || split($8, seen, ",") < gpus))
        complain("rank " $2 " sees the GPUs " $8 ", not " gpus " of them (no --gpu-bind, no --gpus-per-task)")
    }
    END {
      if (ranks != expected) complain("there are " ranks + 0 " ranks, not the " expected " of the allocation")
      for (node in on_node)
        if (on_node[node] * nodes != expected && !uneven++)
          complain(node " has " on_node[node] " ranks of " expected " on " nodes " nodes (give --ntasks-per-node)")
      exit wrong
    }' >&2 <<<"$ranks" || die "the ranks are not placed as asked for (see above)"
}

# Ends the ranks; what they are at is lost, what they have finished is on disk.
stop_ranks() {
  kill -TERM "$ranks_pid" 2>/dev/null || true
}

# Whether every node of the allocation does: mpirun loses a node's ranks long before Slurm takes it for down.
nodes_answer() {
  [ "$SLURM_JOB_NUM_NODES" -eq 1 ] || timeout 60 srun --overlap --mpi=none --nodes="$SLURM_JOB_NUM_NODES" \
    --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 true >/dev/null 2>&1
}

# requeue REASON: the job goes back into the queue; Slurm ends this shell then.
requeue() {
  local restarts=${SLURM_RESTART_COUNT:-0}
  if [ "$restarts" -ge "$HACK_RESTARTS" ]; then
    die "restarted $restarts times and not done (HACK_RESTARTS); submit it again with more --time or more nodes"
  fi
  say "$1: back into the queue (restart $((restarts + 1)))"
  if ! scontrol requeue "$SLURM_JOB_ID"; then
    say "cannot requeue (the site forbids it?); submit the same command again, it goes on from what is finished"
    exit 75
  fi
  sleep 3600 &
  wait $! || true
  exit 75
}

run_job() {
  local status=0 asked="" program=${HACK_PROGRAM:-$root/build/bin/hack} device=cpu
  [ -x "$program" ] || die "there is no program $program (build it, or name it in HACK_PROGRAM)"
  [ -n "${SLURM_NTASKS:-}" ] || die "the number of ranks is not known (give sbatch --ntasks-per-node, or use jobs/submit.sh)"
  [ "$HACK_GPUS_PER_NODE" -eq 0 ] || device=cuda
  load_modules
  choose_launcher
  say "$SLURM_JOB_NAME $SLURM_JOB_ID, start $((${SLURM_RESTART_COUNT:-0} + 1)), $SLURM_NTASKS ranks on $SLURM_JOB_NODELIST, $device"
  check_ranks
  has_option device "$@" || set -- "$@" --device "$device"
  has_option report "$@" || set -- "$@" --report "$results.json"
  say "${launcher[*]} $program $*"

  # The shell must be waiting, not running the ranks itself: a trap would have to wait for them.
  trap 'asked=${asked:-requeue}; stop_ranks' USR1
  trap 'asked=end; stop_ranks' TERM INT
  "${launcher[@]}" "$program" "$@" </dev/null &
  ranks_pid=$!
  while :; do
    wait "$ranks_pid" && status=0 || status=$?
    kill -0 "$ranks_pid" 2>/dev/null || break  # a trap ends the wait, not the ranks
  done
  [ "$status" -ne 0 ] || asked=""  # done in time after all
  [ "$asked" != requeue ] || requeue "time is nearly over"
  [ "$status" -eq 0 ] || [ "$asked" = end ] || nodes_answer || requeue "a node of $SLURM_JOB_NODELIST does not answer"
  say "ended with exit status $status"
  exit "$status"
}
