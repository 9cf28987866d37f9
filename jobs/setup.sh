#!/usr/bin/env bash
# Finds what building and running HACK needs, and installs what is missing with apt-get (Debian 12, Ubuntu 24.04; as root
# or through sudo). Where it cannot, says what is missing for Debian, for Spack and as cluster modules.
#
#   bash jobs/setup.sh [--tests] [--slurm] [--fuzz] [--model] [--plots] [--check]
#
#   --tests   also what the tests need            --model   also Python with pip, to download the demo's model
#   --plots   also what draws pictures (jobs/plot): matplotlib and h5py
#   --slurm   also a Slurm of this machine's own, for the tests of job scripts
#   --fuzz    also clang with libFuzzer, for the long run of tests/fuzz
#   --check   only report; exit status 1 where something is missing
set -euo pipefail

program=setup
# shellcheck source=jobs/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
log=$root/runs/setup.log

# One requirement a line: what it is | Debian package | Spack spec | module | how it is recognized without dpkg
build_requirements='
C++20 compiler, GCC 12 or later      |g++               |gcc@12:        |GCC           |compiler_is_recent
CMake 3.25 or later                  |cmake             |cmake@3.25:    |CMake         |cmake_is_recent
Ninja                                |ninja-build       |ninja          |Ninja         |on_path ninja
pkg-config                           |pkg-config        |pkgconf        |pkgconf       |on_path pkg-config
Open MPI (mpirun)                    |openmpi-bin       |openmpi        |OpenMPI       |has_open_mpi
Open MPI (compiler wrapper, headers) |libopenmpi-dev    |openmpi        |OpenMPI       |on_path mpicxx
parallel HDF5 1.10 or later          |libhdf5-openmpi-dev|hdf5+mpi      |HDF5          |has_parallel_hdf5
OpenBLAS                             |libopenblas-dev   |openblas       |OpenBLAS      |has_library openblas openblas_config.h
LAPACKE                              |liblapacke-dev    |openblas       |OpenBLAS      |has_library lapacke lapacke.h
CLI11                                |libcli11-dev      |cli11          |CLI11         |has_library CLI11 CLI/CLI.hpp
nlohmann-json 3.11 or later          |nlohmann-json3-dev|nlohmann-json@3.11:|nlohmann_json|has_library nlohmann_json nlohmann/json.hpp
fmt                                  |libfmt-dev        |fmt            |fmt           |has_library fmt fmt/format.h
PCRE2                                |libpcre2-dev      |pcre2          |PCRE2         |has_library libpcre2-8 pcre2.h
utf8proc                             |libutf8proc-dev   |utf8proc       |utf8proc      |has_library libutf8proc utf8proc.h
Highway                              |libhwy-dev        |highway        |Highway       |has_library libhwy hwy/highway.h
xxHash 0.8.1 or later                |libxxhash-dev     |xxhash@0.8.1:  |xxHash        |has_library libxxhash xxhash.h'
test_requirements='
clang-format 14                      |clang-format-14   |llvm@14       |Clang         |has_clang_format
clang-tidy 16 or later               |clang-tidy-16     |llvm@16:      |Clang         |has_clang_tidy
GoogleTest                           |libgtest-dev      |googletest     |googletest    |has_library gtest gtest/gtest.h
Boost.Context                        |libboost-context-dev|boost+context|Boost         |has_library boost_context boost/context/fiber.hpp
HDF5 tools (h5ls, h5dump)            |hdf5-tools        |hdf5+mpi       |HDF5          |on_path h5ls
h5py                                 |python3-h5py      |py-h5py        |h5py          |python_with h5py'
slurm_requirements='
Slurm controller                     |slurmctld         |slurm          |Slurm         |on_path slurmctld
Slurm node daemon                    |slurmd            |slurm          |Slurm         |on_path slurmd
Slurm commands                       |slurm-client      |slurm          |Slurm         |on_path sbatch
MUNGE                                |munge             |munge          |munge         |on_path munged
PMIx, by which srun starts ranks     |libpmix2          |pmix           |PMIx          |srun --mpi=list'
fuzz_requirements='
clang 16                             |clang-16          |llvm@16       |Clang         |on_path clang++-16
libFuzzer and sanitizers of clang 16 |libclang-rt-16-dev|llvm@16       |Clang         |links_with_clang -fsanitize=fuzzer
OpenMP of clang                      |libomp-16-dev     |llvm@16       |Clang         |links_with_clang -fopenmp'
model_requirements='
Python 3 with pip                    |python3-pip       |py-pip         |Python        |python_with pip'
plot_requirements='
h5py                                 |python3-h5py      |py-h5py        |h5py          |python_with h5py
matplotlib                           |python3-matplotlib|py-matplotlib  |matplotlib    |python_with matplotlib'

on_path() { command -v "$1" >/dev/null 2>&1; }

compiler_is_recent() {
  local compiler=${CXX:-c++} major
  on_path "$compiler" || return 1
  major=$(printf '#ifdef __clang__\n99\n#else\n__GNUC__\n#endif\n' | "$compiler" -E -P -x c++ - 2>/dev/null | tr -dc 0-9)
  [ "${major:-0}" -ge 12 ]
}

cmake_is_recent() {
  local version
  version=$(cmake --version 2>/dev/null | sed -n '1s/[^0-9]*\([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
  [ -n "$version" ] && [ $((${version% *} * 1000 + ${version#* })) -ge 3025 ]
}

has_open_mpi() { mpirun --version 2>/dev/null | grep -q 'Open MPI'; }

# Only a parallel HDF5 brings a parallel compiler wrapper.
has_parallel_hdf5() { on_path h5pcc || on_path h5pcc.openmpi; }

has_clang_format() {
  on_path clang-format-14 || clang-format --version 2>/dev/null | grep -q 'version 14\.'
}

# Older ones do not know all of C++20.
has_clang_tidy() {
  local version
  version=$(clang-tidy --version 2>/dev/null | sed -n 's/.*version \([0-9]*\)\..*/\1/p')
  [ "${version:-0}" -ge 16 ] || on_path clang-tidy-16
}

# links_with_clang OPTION…: whether clang's own library for these options is there.
links_with_clang() {
  printf 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }\n%s\n' \
    "$([ "$1" = -fsanitize=fuzzer ] || echo 'int main() {}')" |
    ${CXX:-clang++-16} "$@" -x c++ - -o /dev/null >/dev/null 2>&1
}

# has_library PKG_CONFIG_NAME HEADER: known to pkg-config, or its header stands where the compiler or CMake would look.
has_library() {
  local folder
  pkg-config --exists "$1" 2>/dev/null && return 0
  printf '#include <%s>\n' "$2" | "${CXX:-c++}" -M -x c++ - >/dev/null 2>&1 && return 0
  while IFS= read -r folder; do
    [ -n "$folder" ] && [ -e "$folder/include/$2" ] && return 0
  done < <(tr ':;' '\n' <<<"${CMAKE_PREFIX_PATH:-}")
  return 1
}

# Leaves the lines of `requirements` that are not met in `missing`. dpkg answers for all packages at once; what it does
# not know may have come another way (Spack, modules) and is looked for. Versions are checked even where dpkg answers.
find_missing() {
  local line package probe installed=""
  missing=()
  if on_path dpkg-query; then
    # shellcheck disable=SC2016,SC2046  # the format is dpkg's; package names are words
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $(packages_of "${requirements[@]}") 2>/dev/null ||
      true)
  fi
  for line in "${requirements[@]}"; do
    package=$(field 2 "$line") probe=$(field 5 "$line")
    case $probe in
      *_is_recent) ;;
      *) [[ $'\n'$installed$'\n' == *$'\n'"installed $package"$'\n'* ]] && continue ;;
    esac
    # shellcheck disable=SC2086  # a probe is a function's name and its arguments
    $probe >/dev/null 2>&1 || missing+=("$line")
  done
}

# field NUMBER LINE: one column of a requirement, without the spaces around it.
field() {
  local columns value
  IFS='|' read -r -a columns <<<"$2"
  value=${columns[$(($1 - 1))]}
  value=${value#"${value%%[! ]*}"}
  printf '%s' "${value%"${value##*[! ]}"}"
}

packages_of() { column_of 2 "$@"; }

# column_of NUMBER LINE…: the column's different values, in order, on one line.
column_of() {
  local number=$1 line value values=()
  shift
  for line in "$@"; do
    value=$(field "$number" "$line")
    case " ${values[*]-} " in *" $value "*) ;; *) values+=("$value") ;; esac
  done
  printf '%s' "${values[*]-}"
}

# report_missing: what is missing, under the three names by which people get it.
report_missing() {
  local line
  say "missing:"
  for line in "${missing[@]}"; do printf '  %s\n' "$(field 1 "$line")" >&2; done
  cat >&2 <<END
Debian 12, Ubuntu 24.04:  apt-get install --no-install-recommends $(packages_of "${missing[@]}")
Spack:                    spack install $(column_of 3 "${missing[@]}")   (then: spack load, the same names)
cluster modules:          module load $(column_of 4 "${missing[@]}")   (names vary: module spider NAME; HDF5 built with MPI)
END
}

# install PREFIX…: one apt-get run, the prefix being how to become root. The index may be old or a server busy: a second
# attempt follows after a few seconds. What decides is the installation, not the index of some other repository.
install() {
  local attempt options=(-o DPkg::Lock::Timeout=300 -o Acquire::Retries=2 -o Acquire::http::Timeout=30)
  mkdir -p "$(dirname "$log")"
  : >"$log"
  for attempt in 1 2; do
    [ "$attempt" -eq 1 ] || sleep 5
    "$@" env DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" update >>"$log" 2>&1 </dev/null || true
    # shellcheck disable=SC2046  # package names are words
    "$@" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get "${options[@]}" install -y \
      --no-install-recommends $(packages_of "${missing[@]}") >>"$log" 2>&1 </dev/null && return 0
  done
  return 1
}

check_only=0
wanted=$build_requirements
while [ $# -gt 0 ]; do
  case $1 in
    --tests) wanted+=$test_requirements ;;
    --slurm) wanted+=$slurm_requirements ;;
    --fuzz) wanted+=$fuzz_requirements ;;
    --model) wanted+=$model_requirements ;;
    --plots) wanted+=$plot_requirements ;;
    --check) check_only=1 ;;
    -h | --help) help_of "${BASH_SOURCE[0]}"; exit 0 ;;
    *) die "unknown option $1 (--tests, --slurm, --fuzz, --model, --plots, --check)" ;;
  esac
  shift
done
mapfile -t requirements < <(sed '/^$/d' <<<"$wanted")

find_missing
if [ ${#missing[@]} -eq 0 ]; then
  echo "setup: everything needed is here"
  exit 0
fi
if [ "$check_only" -eq 1 ]; then
  report_missing
  exit 1
fi

become_root=()
if ! on_path apt-get; then
  report_missing
  die "cannot install it (this system has no apt-get). Install what is named above and run again."
elif [ "$(id -u)" -ne 0 ]; then
  become_root=(sudo)
  # Only a person at a terminal can type a password.
  [ -t 0 ] || become_root+=(-n)
  if ! on_path sudo || ! "${become_root[@]}" true; then
    report_missing
    die "cannot install it (neither root nor allowed to use sudo). Ask an administrator, or use Spack or modules."
  fi
fi

echo "setup: installing $(packages_of "${missing[@]}") (log: $log)"
if ! install "${become_root[@]}"; then
  tail -n 5 "$log" >&2
  find_missing
  report_missing
  die "apt-get could not install it (its output is in $log). Check the network and the package sources."
fi
hash -r
find_missing
if [ ${#missing[@]} -gt 0 ]; then
  report_missing
  die "apt-get installed its packages, but these are too old or not found (Debian 12 or Ubuntu 24.04 have them)."
fi
echo "setup: installed"
