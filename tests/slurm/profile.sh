# The profile of the tests' virtual cluster (cluster.sh): all nodes are this machine.
# shellcheck shell=bash disable=SC2034
# shellcheck source=jobs/environment.sh
. "$root/jobs/environment.sh"
HACK_INTERFACE=lo
HACK_LAUNCHER=${HACK_LAUNCHER-mpirun}
HACK_GPUS_PER_NODE=0
HACK_RANKS_PER_NODE=${HACK_RANKS_PER_NODE-1}
HACK_BIND=none
HACK_PARTITION=tests
HACK_ACCOUNT=
HACK_MODULES=
HACK_RESTARTS=3
