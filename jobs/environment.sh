# Sourced by jobs/demo.sh and tests/run.sh: lets Open MPI run any number of ranks on ONE machine, as any user.
# For laptops, workstations and CI only. A cluster's job script must not source this: there the scheduler knows the
# cores, binding and yielding cost speed, and the loopback interface reaches no other node.
# The tests' copy of this list is HACK_TEST_ENVIRONMENT in cmake/HackTests.cmake.
# shellcheck shell=bash

# Both are needed, or mpirun refuses to start as root (containers, CI).
export OMPI_ALLOW_RUN_AS_ROOT=1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# More ranks than cores: start all the same, and let a waiting rank give up its core. Without yielding a 16 KiB
# all-reduce of 4 ranks on 2 cores takes 16 ms instead of 0.07 ms.
export OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_mpi_yield_when_idle=1

# Containers often forbid one process to read another's memory ("Read -1, expected N, errno = 1").
export OMPI_MCA_btl_vader_single_copy_mechanism=none

# One machine needs no network; other interfaces may be slow to answer or behind a firewall.
export OMPI_MCA_btl_tcp_if_include=lo
export OMPI_MCA_oob_tcp_if_include=lo

# The system spreads the threads of all ranks over the cores; binding would stack ranks that share a core.
export OMPI_MCA_hwloc_base_binding_policy=none
