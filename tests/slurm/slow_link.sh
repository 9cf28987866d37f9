#!/usr/bin/env bash
# Runs an MPI program on several hosts with a slow network, all on this machine: each host is a network namespace with a
# host name and a /dev/shm of its own, behind a bridge; every link takes RATE in each direction and no more.
#
#   slow_link.sh HOSTS RATE COMMAND…     one rank a host, e.g. slow_link.sh 4 100mbit hack study strong …
#
# Exit status: COMMAND's; 77 and the reason on stdout where this machine cannot. Everything lives in namespaces that end
# with this script, even by SIGKILL: no process, interface or mount is left, and those of the machine are never changed.
set -euo pipefail

cannot() { echo "$*"; exit 77; }

# Outside: makes the namespaces and waits.
outside() {
  local program
  for program in mpirun unshare setpriv setsid ip tc; do
    command -v "$program" >/dev/null || cannot "$program is not installed"
  done
  [ "$(id -u)" -eq 0 ] || cannot "hosts of their own need root"
  unshare --net --mount --uts --ipc --pid --fork true 2>/dev/null ||
    cannot "hosts of their own need name spaces (unshare is not permitted)"
  folder=$(mktemp -d)
  trap 'kill -KILL "$inside" 2>/dev/null || true; wait "$inside" 2>/dev/null || true; rm -rf "$folder"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  HACK_HOSTS_FOLDER=$folder setpriv --pdeathsig KILL setsid unshare --net --mount --uts --ipc --pid --fork --kill-child=KILL --mount-proc \
    bash "$0" "$@" </dev/null &
  inside=$!
  wait "$inside"
}

# limit COMMAND…: `tc` at one end of a link. A bucket of two packets: with one, timers that come late cost bandwidth.
limit() {
  "$@" qdisc add dev "$device" root tbf rate "$rate" burst 4000 latency 200ms
}

connect() {
  local host device
  mount -t tmpfs tmpfs /run
  ip link set lo up
  ip link add hub type bridge
  ip link set hub up
  for ((host = 1; host <= hosts; ++host)); do
    ip netns add "h$host"
    ip link add "to$host" type veth peer name net0 netns "h$host"
    ip link set "to$host" master hub up
    ip -n "h$host" link set lo up
    ip -n "h$host" address add "10.77.0.$host/24" dev net0
    ip -n "h$host" link set net0 up
    device=to$host limit tc 2>/dev/null || cannot "the kernel has no token bucket (tc tbf)"
    device=net0 limit tc -n "h$host"
  done
}

# What mpirun takes for ssh: agent ADDRESS COMMAND…
write_agent() {
  cat >"$folder/agent" <<'END'
#!/bin/sh
host=h${1##*.}
shift
exec unshare --uts --mount sh -c 'hostname "$1" && mount -t tmpfs tmpfs /dev/shm && exec ip netns exec "$1" sh -c "$2"' \
  sh "$host" "$*"
END
  chmod +x "$folder/agent"
}

# Inside: number 1 of its process space; what it started ends with it.
inside() {
  local list="" host
  connect
  write_agent
  for ((host = 1; host <= hosts; ++host)); do list+=${list:+,}10.77.0.$host:1; done
  export TMPDIR=$folder OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  export OMPI_MCA_plm_rsh_agent=$folder/agent OMPI_MCA_mpi_yield_when_idle=1
  export OMPI_MCA_btl_tcp_if_include=net0 OMPI_MCA_oob_tcp_if_include=net0
  export OMPI_MCA_hwloc_base_binding_policy=none
  "$folder/agent" 10.77.0.1 "$(printf '%q ' mpirun --host "$list" -n "$hosts" "$@")"
}

hosts=$1 rate=$2
if [ -z "${HACK_HOSTS_FOLDER:-}" ]; then
  outside "$@"
else
  folder=$HACK_HOSTS_FOLDER
  unset HACK_HOSTS_FOLDER
  shift 2
  inside "$@"
fi
