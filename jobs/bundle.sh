#!/usr/bin/env bash
# Packs what was built into one archive that starts on a machine without package manager and compiler: the program, the
# GPU's tests, Open MPI and every library they need but glibc (2.36 or later there) and NVIDIA's (from there, or from
# what CUDA_HOME names there).
#
#   bash jobs/bundle.sh [--build FOLDER] [--output FILE.tar.gz]
#
#   --build FOLDER   what to pack (default: build-cuda, else build)
#   --output FILE    (default: runs/hack-bundle.tar.gz)
#
# There:  tar xf hack-bundle.tar.gz && . hack-bundle/environment.sh && bash $HACK_BUNDLE/tests/gpu/run.sh
set -euo pipefail

program=bundle
# shellcheck source=jobs/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

build=""
output=$root/runs/hack-bundle.tar.gz
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) help_of "${BASH_SOURCE[0]}"; exit 0 ;;
    --build) [ $# -ge 2 ] || die "--build needs a folder"; build=$2; shift ;;
    --output) [ $# -ge 2 ] || die "--output needs a file"; output=$2; shift ;;
    *) die "unknown option $1 (see --help)" ;;
  esac
  shift
done
if [ -z "$build" ]; then
  build=$root/build-cuda
  [ -x "$build/bin/hack" ] || build=$root/build
fi
[ -x "$build/bin/hack" ] || die "no program in $build; build it first: cmake --preset cuda && cmake --build --preset cuda"
# Found by their programs alone: in a global LD_LIBRARY_PATH this C++ library would come first for the machine's own
# programs, too. RPATH, which RUNPATH is not, holds for what libraries need themselves.
objdump -p "$build/bin/hack" | grep -q 'RPATH .*ORIGIN/\.\./lib' ||
  die "$build/bin/hack does not look for libraries beside it; build it by the preset cuda, which sets its RPATH"

mkdir -p "$(dirname "$output")"
work=$(mktemp -d "$(dirname "$output")/.bundle.XXXXXX")
trap 'rm -rf "$work"' EXIT
top=$work/hack-bundle
mkdir -p "$top/bin" "$top/lib/openmpi" "$top/lib/pmix" "$top/share" "$top/etc" "$top/tests/gpu" "$top/tests/data" "$top/jobs"

# path_of NAME: where Open MPI was installed.
path_of() { ompi_info --parsable --path "$1" | cut -d : -f 3; }

# Libraries that belong to the machine: glibc's, and NVIDIA's, of which the small runtime alone comes along.
of_the_machine='^(linux-vdso|ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util|anl|cuda|nvidia-.*|cublas.*|cusolver|cusparse|nvJitLink|nccl))\.so'

# libraries_of FILE…: the libraries that these need, as paths, without the machine's.
libraries_of() {
  ldd "$@" 2>/dev/null | awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 }' | sort -u |
    grep -vE "$of_the_machine" | cut -d ' ' -f 2 || true
}

cp "$build/bin/hack" "$top/bin/"
for test in test_gpu test_gpu_model gpu_ceilings; do
  [ ! -x "$build/tests/$test" ] || cp "$build/tests/$test" "$top/tests/gpu/"
done
cp "$root/tests/gpu/run.sh" "$top/tests/gpu/"
cp "$root/jobs/steps.sh" "$root/jobs/environment.sh" "$top/jobs/"
cp "$root/tests/data/lighthouse.txt" "$top/tests/data/"

for tool in orterun orted; do cp "$(readlink -f "$(command -v $tool)")" "$top/bin/"; done
# These are the system's, without an RPATH; so are the plugins that they load.
for tool in mpirun orted; do
  real=$tool
  [ "$tool" = orted ] || real=orterun
  mv "$top/bin/$real" "$top/bin/$real.bin"
  printf '#!/bin/sh\nexport LD_LIBRARY_PATH=$HACK_BUNDLE/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\nexec "$HACK_BUNDLE/bin/%s.bin" "$@"\n' \
    "$real" >"$top/bin/$tool"
  chmod +x "$top/bin/$tool"
done
# Plugins for networks that this machine may not have bring large libraries: left out, TCP and shared memory stay.
for plugin in "$(path_of pkglibdir)"/mca_*.so; do
  ldd "$plugin" 2>/dev/null | grep -qE 'lib(fabric|ucp|uct|ibverbs|psm|psm2|rdmacm|flux|open-trace)' ||
    cp "$plugin" "$top/lib/openmpi/"
done
cp -r "$(path_of pkgdatadir)" "$top/share/openmpi"
[ ! -d "$(path_of sysconfdir)" ] || cp -rL "$(path_of sysconfdir)" "$top/etc/openmpi"
pmix=$(libraries_of "$top"/lib/openmpi/mca_pmix_*.so | grep '/libpmix\.so' | head -n 1 || true)
if [ -n "$pmix" ]; then
  for plugins in "$(dirname "$(readlink -f "$pmix")")"/pmix "$(dirname "$pmix")"/pmix*/lib/pmix; do
    [ ! -d "$plugins" ] || cp "$plugins"/*.so "$top/lib/pmix/" 2>/dev/null || true
  done
fi

mapfile -t programs < <(find "$top/bin" "$top/tests" "$top/lib" -type f \( -name '*.so' -o -perm -u+x \) ! -name '*.sh')
while IFS= read -r library; do cp -L "$library" "$top/lib/"; done < <(libraries_of "${programs[@]}")
# What was copied needs libraries, too; ldd has followed them all, so nothing may be missing now.
missing=$(LD_LIBRARY_PATH=$top/lib ldd "${programs[@]}" 2>/dev/null | awk '/not found/ { print $1 }' | sort -u |
  grep -vE "$of_the_machine" || true)
[ -z "$missing" ] || die "libraries that were not found on this machine: $missing"

cat >"$top/environment.sh" <<'END'
# Sourced where the bundle is used: finds what came along.
# shellcheck shell=bash
HACK_BUNDLE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export HACK_BUNDLE
export PATH=$HACK_BUNDLE/bin:$PATH
# NVIDIA's libraries alone, behind what is there already.
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}${CUDA_HOME:-/usr/local/cuda}/lib64
export OPAL_PREFIX=$HACK_BUNDLE
export OPAL_BINDIR=$HACK_BUNDLE/bin OPAL_LIBDIR=$HACK_BUNDLE/lib OPAL_PKGLIBDIR=$HACK_BUNDLE/lib/openmpi
export OPAL_DATADIR=$HACK_BUNDLE/share OPAL_PKGDATADIR=$HACK_BUNDLE/share/openmpi OPAL_SYSCONFDIR=$HACK_BUNDLE/etc/openmpi
export PMIX_INSTALL_PREFIX=$HACK_BUNDLE PMIX_PKGLIBDIR=$HACK_BUNDLE/lib/pmix PMIX_LIBDIR=$HACK_BUNDLE/lib
# mpirun refuses to start where there is no remote shell, even on one machine; the name of any program contents it.
command -v ssh >/dev/null 2>&1 || command -v rsh >/dev/null 2>&1 || export OMPI_MCA_plm_rsh_agent=$HACK_BUNDLE/bin/orted
END

if command -v strip >/dev/null 2>&1; then
  find "$top/lib" "$top/bin" "$top/tests" -type f \( -name '*.so*' -o -perm -u+x \) ! -name '*.sh' -exec strip --strip-unneeded {} + 2>/dev/null || true
fi
tar -C "$work" -czf "$work/bundle.tar.gz" hack-bundle
mv "$work/bundle.tar.gz" "$output"
printf '%s: %d MiB, %d libraries, from %s\n' "$output" $(($(wc -c <"$output") / 1048576)) \
  "$(find "$top/lib" -name '*.so*' | wc -l)" "$build"
