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
compile requirements.lock requirements/runtime.in --constraint requirements-models.lock "$@"
compile requirements-dev.lock requirements/runtime.in requirements/models.in requirements/dev.in \
  --constraint requirements-models.lock "$@"
compile requirements-audit.lock requirements/audit.in "$@"
