#!/usr/bin/env bash
# Ask an advisory service about every package in the lock files:   scripts/audit.sh
# Exit code 0: asked, and nothing is known. 1: something is known. 3: NOT RUN, nobody answered.
# ADVISORIES=osv asks another service than the package index; PIP_AUDIT uses another program.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly NOT_RUN=3
if [ -z "${PIP_AUDIT:-}" ]; then
  scripts/bootstrap.sh .venv-audit requirements-audit.lock
  PIP_AUDIT=.venv-audit/bin/pip-audit
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

audit() {
  "$PIP_AUDIT" --strict --disable-pip --progress-spinner off \
    --vulnerability-service "${ADVISORIES:-pypi}" "$@" >"$scratch/said" 2>&1
}

not_run() {
  tail -n 3 "$scratch/said"
  printf 'NOT RUN: %s; nothing is known about the packages in the lock files\n' "$1"
  exit "$NOT_RUN"
}

# A service that knows nothing finds nothing, and that would pass. So it is first asked about a
# release whose advisories have been public for years.
echo 'jinja2==2.11.2' >"$scratch/known.txt"
if audit --no-deps --requirement "$scratch/known.txt"; then
  not_run 'the advisory service does not know what is wrong with jinja2 2.11.2'
fi
grep -Eq 'CVE-|GHSA-|PYSEC-' "$scratch/said" || not_run 'no advisory service answers'

status=0
# The others are parts of the first.
for lock in requirements-dev.lock requirements-ner.lock requirements-audit.lock; do
  printf '== pip-audit %s\n' "$lock"
  audit --require-hashes --requirement "$lock" || status=1
  if grep -q 'could not be audited' "$scratch/said"; then
    not_run "a package of $lock could not be audited"
  fi
  cat "$scratch/said"
done
exit "$status"
