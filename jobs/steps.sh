# Sourced by jobs/demo.sh, jobs/model.sh, jobs/setup.sh and tests/run.sh: numbered steps with their times, logs, and
# the build that both commands share. The sourcing script sets `program` (its name, for messages).
# shellcheck shell=bash disable=SC2154  # program comes from the sourcing script

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

step_number=0
step_title=""
step_start=0

say() { printf '%s: %s\n' "$program" "$*" >&2; }

die() {
  say "$@"
  exit 1
}

# help_of SCRIPT: its opening comment.
help_of() { sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$1"; }

# Prints the time of the step that ends here.
end_step() {
  [ -z "$step_title" ] || printf -- '-- %s: %s\n' "$step_title" "$(duration $((SECONDS - step_start)))"
  step_title=""
}

# step TITLE: ends the step before and begins the next one.
step() {
  end_step
  step_number=$((step_number + 1))
  step_title=$1
  step_start=$SECONDS
  printf '\n== %d. %s\n' "$step_number" "$step_title"
}

# duration SECONDS: 75 -> "1 min 15 s".
duration() {
  if [ "$1" -ge 60 ]; then printf '%d min %d s' $(($1 / 60)) $(($1 % 60)); else printf '%d s' "$1"; fi
}

# logged LOG COMMAND…: shows what the command prints and keeps it in LOG; a failure ends the script and names the log.
logged() {
  local log=$1 status=0
  shift
  mkdir -p "$(dirname "$log")"
  "$@" </dev/null 2>&1 | tee "$log" || status=${PIPESTATUS[0]}
  [ "$status" -eq 0 ] || die "step '$step_title' failed (exit status $status). Its output is in $log"
}

# python_with MODULE: prints a Python that has MODULE. The first on PATH may be a private one without Debian's modules.
python_with() {
  local candidate
  for candidate in python3 /usr/bin/python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$1') is None)" >/dev/null 2>&1
    then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  return 1
}

# Compilations that fit both the cores and the memory (1.5 GiB each); 1 where neither can be read.
build_jobs() {
  local cores memory
  cores=$(nproc 2>/dev/null || echo 1)
  memory=$(awk '/^MemAvailable:/ { print int($2 / 1572864) }' /proc/meminfo 2>/dev/null || echo "$cores")
  [ "${memory:-0}" -ge 1 ] || memory=1
  if [ "$memory" -lt "$cores" ]; then echo "$memory"; else echo "$cores"; fi
}

# cached FOLDER NAME: the value of NAME in the folder's CMake cache, or nothing.
cached() { sed -n "s|^$2:[A-Z]*=||p" "$1/CMakeCache.txt" 2>/dev/null || true; }

# configure PRESET FOLDER LOG WITH_TESTS [OPTION…]: configures where that is still to be done. The demo asks for OFF (no GoogleTest
# needed) and takes a folder that has the tests as it is; the tests ask for ON, which only adds targets to what the demo
# has built. A folder configured for a checkout at another place is configured from nothing.
configure() {
  local preset=$1 folder=$2 log=$3 with_tests=$4 fresh=() home
  shift 4
  home=$(cached "$folder" CMAKE_HOME_DIRECTORY)
  if [ -n "$home" ] && ! [ "$home" -ef "$root" ]; then
    fresh=(--fresh)
  elif [ -f "$folder/build.ninja" ] &&
    { [ "$with_tests" = OFF ] || [ "$(cached "$folder" HACK_BUILD_TESTS)" = ON ]; }; then
    printf 'already configured: %s\n' "$folder"
    return 0
  fi
  logged "$log" cmake "${fresh[@]}" --preset "$preset" "-DHACK_BUILD_TESTS=$with_tests" "$@"
}
