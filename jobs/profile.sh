# Sourced by jobs/submit.sh on the login node and by every jobs/*.sbatch in the job: what differs from site to site, and
# nothing else. Copy it, change the copy, and name it in HACK_PROFILE; a variable of the environment wins over both.
# shellcheck shell=bash disable=SC2034  # used by the scripts that source this

# Where jobs go; empty: the cluster's default.
HACK_PARTITION=${HACK_PARTITION-}
HACK_ACCOUNT=${HACK_ACCOUNT-}

# Modules to load before the program runs, as it was built: "gcc openmpi hdf5 openblas".
HACK_MODULES=${HACK_MODULES-}

# Network interface of MPI's TCP and of NCCL's sockets ("ib0"); empty: they choose. Name it where nodes have several.
HACK_INTERFACE=${HACK_INTERFACE-}

# mpirun (Open MPI built with Slurm support), or srun (with --mpi=pmix).
HACK_LAUNCHER=${HACK_LAUNCHER-mpirun}

# GPUs of a node; 0 for CPU jobs (submit.sh --cpu). One rank a GPU.
HACK_GPUS_PER_NODE=${HACK_GPUS_PER_NODE-0}

# Ranks of a node in CPU jobs: one a NUMA domain is a good start, and what HACK_BIND says then.
HACK_RANKS_PER_NODE=${HACK_RANKS_PER_NODE-2}

# What each rank is bound to: numa, core (CPUs of --cpus-per-task), none.
HACK_BIND=${HACK_BIND-numa}

# How often a job that reaches its time limit puts itself back into the queue before it gives up.
HACK_RESTARTS=${HACK_RESTARTS-20}
