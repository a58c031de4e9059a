#!/usr/bin/env bash
# Check everything, or run some tests:
#   ./run_tests.sh                       linters, layers, types, then the default suite
#   ./run_tests.sh tests/unit -k wire    pytest alone, with these arguments
# .venv-dev follows requirements-dev.lock; RUN_VENV uses a ready-made environment instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
unset PYTHONDONTWRITEBYTECODE # compiled modules make every process that a test starts faster

venv=${RUN_VENV:-.venv-dev}
[ -n "${RUN_VENV:-}" ] || scripts/bootstrap.sh "$venv" requirements-dev.lock
python=$venv/bin/python

step() {
  printf '== %s\n' "$*"
  "$python" "$@"
}

if [ $# -eq 0 ]; then
  step -m ruff check .
  step -m ruff format --check .
  step "$venv/bin/lint-imports" # it has no module to run with -m
  step -m mypy
  printf '== pytest\n'
  # Most of the tests' time is waiting for processes: two at a time, each file in one process.
  exec "$python" -m pytest -n 2 --dist loadfile
fi
exec "$python" -m pytest "$@"
