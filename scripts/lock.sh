#!/usr/bin/env bash
# Pin requirements/*.in, with hashes, in the lock files; Python 3.10 to 3.13 share them.
#   scripts/lock.sh              keep the pins that still fit
#   scripts/lock.sh --upgrade    move everything to its newest release
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

uv=${UV:-$(command -v uv || true)}
if [ -z "$uv" ]; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  "${PYTHON:-python3}" -m venv "$scratch"
  "$scratch/bin/python" -m pip install --quiet --disable-pip-version-check uv
  uv=$scratch/bin/uv
fi

compile() {
  local lock=$1
  shift
  "$uv" pip compile --quiet --no-config --no-python-downloads --universal --python-version 3.10 \
    --generate-hashes --no-emit-index-url --no-emit-find-links \
    --custom-compile-command scripts/lock.sh --output-file "$lock" "$@"
}

# What runs in production is resolved first and together; the tools have to fit around it.
compile requirements-models.lock requirements/runtime.in requirements/models.in "$@"
compile requirements-ner.lock requirements/runtime.in requirements/models.in requirements/ner.in \
  --constraint requirements-models.lock "$@"
compile requirements.lock requirements/runtime.in --constraint requirements-models.lock "$@"
compile requirements-dev.lock requirements/runtime.in requirements/models.in requirements/dev.in \
  --constraint requirements-models.lock "$@"
compile requirements-audit.lock requirements/audit.in "$@"

# magika's wheels for one platform add a program of 33 MB to the 3 MB that the endpoint file_type
# reads. With this one hash in a lock, pip takes the wheel for any platform.
keep_only_any_wheel() {
  local name=$1 version hash folder
  shift
  version=$(sed -n "s/^$name==\([^ ]*\).*/\1/p" "$1")
  folder=$(mktemp -d)
  "${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps \
    --only-binary :all: --platform any --dest "$folder" "$name==$version"
  hash=$(sha256sum "$folder/$name-$version-py3-none-any.whl" | cut -d ' ' -f 1)
  rm -r "$folder"
  grep --quiet "sha256:$hash" "$@"
  sed -i "/^$name==/,/^ *#/{/--hash=/s/.*/    --hash=sha256:$hash/}" "$@"
  # Each of the wheel's hashes became the same line, with no line to go on to after the last one.
  for lock in "$@"; do
    awk -v line="    --hash=sha256:$hash" '!($0 == line && seen++)' "$lock" >"$lock.new"
    mv "$lock.new" "$lock"
  done
}

keep_only_any_wheel magika requirements-models.lock requirements-ner.lock requirements-dev.lock
