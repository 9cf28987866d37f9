#!/usr/bin/env bash
# A Slurm cluster of virtual nodes on this machine, for the tests of jobs/*.sbatch: one slurmd a node, each with a host
# name, a /dev/shm and a spool folder of its own; munge, ports, state and logs in one folder. Nothing of the system's own
# Slurm is used or changed.
#
#   cluster.sh start FOLDER NODES CPUS   starts it and waits until all nodes are there; exit status 77 and the reason on
#                                        stdout where this machine cannot
#   cluster.sh lose FOLDER NODE          the node dies: its daemon and everything that runs on it
#   cluster.sh return FOLDER NODE        it comes back
#   cluster.sh left FOLDER               command lines of what runs on the nodes beside their daemons
#   cluster.sh stop FOLDER               ends exactly what was started here
set -euo pipefail

action=$1 folder=$2
export SLURM_CONF=$folder/slurm.conf

cannot() { echo "$*"; exit 77; }

# in_background NAME COMMAND…: its number and start time are kept, so that no other process is ever taken for it.
in_background() {
  local name=$1
  shift
  setsid "$@" >"$folder/log/$name" 2>&1 </dev/null &
  echo "$! $(start_time $!)" >"$folder/process/$name"
}

start_time() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20 || true; }

# number_of NAME: of the process if it still runs.
number_of() {
  local number start
  read -r number start 2>/dev/null <"$folder/process/$1" || return 1
  [ "$(start_time "$number")" = "$start" ] && echo "$number"
}

# end NAME [SIGNAL]: and waits until it is gone; after five seconds without asking.
end() {
  local number attempt
  number=$(number_of "$1") || { rm -f "$folder/process/$1"; return 0; }
  kill "-${2:-TERM}" "$number" 2>/dev/null || true
  for attempt in {1..50}; do
    number_of "$1" >/dev/null && [ "$(sed 's/^.*) //;s/ .*//' "/proc/$number/stat" 2>/dev/null)" != Z ] || break
    [ "$attempt" -lt 50 ] || kill -KILL "$number" 2>/dev/null || true
    sleep 0.1
  done
  rm -f "$folder/process/$1"
}

# Ports that nobody listens on, one for the controller and one a node.
find_ports() {
  local base port taken
  for ((base = 20000 + RANDOM % 400 * 20; base < 32000; base += 20)); do
    taken=0
    for ((port = base; port <= base + nodes; ++port)); do
      ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || taken=1
    done
    [ "$taken" -eq 1 ] || { echo "$base"; return; }
  done
  return 1
}

write_configuration() {
  local node port names=""
  port=$(find_ports) || cannot "no free ports for a Slurm cluster"
  for ((node = 1; node <= nodes; ++node)); do
    names+=" n$node"
    mkdir -p "$folder/spool/n$node" "$folder/tmp/n$node"
  done
  printf '127.0.0.1 localhost%s\n' "$names" >"$folder/hosts"
  : >"$folder/cgroup.conf"
  cat >"$SLURM_CONF" <<END
ClusterName=hack
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$folder/munge/socket
StateSaveLocation=$folder/state
SlurmctldPidFile=$folder/slurmctld.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdSpoolDir=$folder/spool/%n
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmdLogFile=$folder/log/slurmd-%n.log
# PMIx keeps its sockets there: the nodes must not meet.
TmpFS=$folder/tmp/%n
MailProg=/bin/true
MpiDefault=pmix
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=100000
# Nodes may claim more CPUs than there are; everything stays on the loopback interface.
SlurmdParameters=config_overrides
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ReturnToService=2
SlurmdTimeout=30
KillWait=3
MinJobAge=3600
PartitionName=tests Nodes=n[1-$nodes] Default=YES MaxTime=INFINITE DefaultTime=10
END
  for ((node = 1; node <= nodes; ++node)); do
    echo "NodeName=n$node NodeHostname=n$node NodeAddr=127.0.0.1 Port=$((port + node)) Sockets=1" \
      "CoresPerSocket=$cpus ThreadsPerCore=1 RealMemory=1000" >>"$SLURM_CONF"
  done
}

# Open MPI takes ranks of one host name for neighbours and shares memory with them: each node has a name of its own.
start_node() {
  # shellcheck disable=SC2016  # expanded in the node
  in_background "$1" unshare --uts --mount bash -c 'hostname "$1" && mount --bind "$2/hosts" /etc/hosts &&
    mount -t tmpfs tmpfs /dev/shm && exec slurmd -D -N "$1"' node "$1" "$folder"
}

# processes_of NODE: everything in the node's name space but its daemon.
processes_of() {
  local space daemon process
  space=$(cat "$folder/space/$1" 2>/dev/null) || return 0
  daemon=$(number_of "$1" || true)
  for process in /proc/[0-9]*; do
    [ "$(readlink "$process/ns/uts" 2>/dev/null)" = "$space" ] || continue
    [ "${process#/proc/}" = "$daemon" ] || echo "${process#/proc/}"
  done
}

all_nodes() { sed -n 's/^NodeName=\([^ ]*\).*/\1/p' "$SLURM_CONF" 2>/dev/null; }

# Waits until every node is there, at work or not.
wait_for_nodes() {
  local attempt node
  for attempt in {1..200}; do
    [ "$(sinfo -h -t idle,mixed,allocated -o %D 2>/dev/null | awk '{ n += $1 } END { print n + 0 }')" != "$(all_nodes | wc -l)" ] || break
    [ "$attempt" -lt 200 ] || return 1
    sleep 0.1
  done
  for node in $(all_nodes); do
    readlink "/proc/$(number_of "$node")/ns/uts" >"$folder/space/$node"
  done
}

start() {
  local program
  for program in munged slurmctld slurmd sbatch srun; do
    command -v "$program" >/dev/null || cannot "$program is not installed (bash jobs/setup.sh --slurm)"
  done
  [ "$(id -u)" -eq 0 ] || cannot "virtual nodes need root"
  unshare --uts --mount true 2>/dev/null || cannot "virtual nodes need name spaces (unshare is not permitted)"
  mkdir -p "$folder"/{state,spool,tmp,log,munge,process,space}
  # Daemons of munge want a socket that every user could reach.
  chmod a+x "$folder/.." "$folder" "$folder/munge"
  write_configuration
  (umask 077 && head -c 64 /dev/urandom >"$folder/munge/key")
  in_background munged munged --foreground --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
    --pid-file="$folder/munge/pid" --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
  for _ in {1..50}; do
    [ ! -S "$folder/munge/socket" ] || break
    sleep 0.1
  done
  [ -S "$folder/munge/socket" ] || { cat "$folder/log/munged" >&2; stop; echo "munged does not start" >&2; return 1; }
  in_background slurmctld slurmctld -D -c
  for node in $(all_nodes); do start_node "$node"; done
  if ! wait_for_nodes; then
    tail -n 20 "$folder"/log/* >&2
    stop
    echo "the nodes do not come up (logs above)" >&2
    return 1
  fi
}

stop() {
  local node process
  if number_of slurmctld >/dev/null; then timeout 10 scancel --user=root 2>/dev/null || true; fi
  for _ in {1..50}; do
    [ -n "$(timeout 5 squeue -h 2>/dev/null)" ] || break
    sleep 0.1
  done
  for node in $(all_nodes); do
    end "$node"
    for process in $(processes_of "$node"); do kill -KILL "$process" 2>/dev/null || true; done
  done
  end slurmctld
  end munged
}

case $action in
  start) nodes=$3 cpus=$4; start ;;
  lose)
    processes=$(processes_of "$3")
    end "$3" KILL
    for process in $processes; do kill -KILL "$process" 2>/dev/null || true; done
    scontrol update "NodeName=$3" State=DOWN Reason=lost
    ;;
  return) start_node "$3"; wait_for_nodes ;;
  left) for node in $(all_nodes); do for p in $(processes_of "$node"); do tr '\0' ' ' <"/proc/$p/cmdline"; echo; done; done ;;
  stop) stop ;;
  *) echo "unknown action $action" >&2; exit 2 ;;
esac
