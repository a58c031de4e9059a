#!/usr/bin/env bash
# Make VENV hold exactly what LOCK pins:   scripts/bootstrap.sh VENV LOCK
# PYTHON=/path/to/python chooses the interpreter; nothing outside VENV is written.
# What RUN_EXTRA lists (requirements-extra.txt, where there is one) is added, in versions that leave
# those of LOCK as they are.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

venv=$1
lock=$2
python=$venv/bin/python
extra=${RUN_EXTRA:-requirements-extra.txt}
stamp=$venv/.installed.lock # a copy of the lock, and of the extra list, that were installed last

# Prints the version, or fails with 3 (too old) or 4 (Debian ships venv as a package of its own).
probe='import sys
if sys.version_info < (3, 10):
    sys.exit(3)
try:
    import ensurepip, venv
except ImportError:
    sys.exit(4)
print("%d.%d" % sys.version_info[:2])'

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "${0##*/}: $*"
  exit 1
}

has_extra() { [ -e "$extra" ]; }

wanted() {
  cat "$lock"
  ! has_extra || cat "$extra"
}

is_up_to_date() {
  [ -r "$stamp" ] && [ "$(<"$stamp")" = "$(wanted)" ] && has_wanted_python
}

# False too when the interpreter that made the environment has gone since.
has_wanted_python() {
  local version
  version=$("$python" -c "$probe" 2>/dev/null) || return 1
  [ -z "${PYTHON:-}" ] || [ "$version" = "$("$PYTHON" -c "$probe" 2>/dev/null)" ]
}

# The newest version the locks were tested with, then whatever else there is. Each one is run:
# the name on PATH may be a version manager's stub for a Python that is not switched on.
find_python() {
  local candidate without_venv='' candidates=(python3.1{3,2,1,0} python3 python)
  [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
  for candidate in "${candidates[@]}"; do
    "$candidate" -c "$probe" >/dev/null 2>&1
    case $? in
      0)
        base=$candidate
        return
        ;;
      4) without_venv=$candidate ;;
    esac
  done
  [ -z "$without_venv" ] ||
    fail "$without_venv has no venv module: install it (Debian, Ubuntu: apt-get install python3-venv)"
  [ -z "${PYTHON:-}" ] || fail "PYTHON=$PYTHON is not a Python 3.10 or newer"
  fail "no Python 3.10 or newer found: install one, or set PYTHON to its path"
}

create() {
  find_python
  say "Setting up $venv with $base (needs the network, about a minute the first time)"
  rm -rf "$venv"
  "$base" -m venv "$venv" || fail "$base could not create $venv"
  echo incomplete >"$stamp"
}

# In place, so that a failed download leaves the packages that were there.
install() {
  [[ $(<"$stamp") == "$(<"$lock")"* ]] || install_lock
  ! has_extra || install_extra
  wanted >"$stamp"
}

install_lock() {
  echo incomplete >"$stamp"
  "$python" -m pip install -qq --disable-pip-version-check --no-input \
    --require-hashes -r "$lock" || fail "could not install $lock into $venv"
  cat "$lock" >"$stamp"
}

# With the lock's versions as limits, but without its hashes: those would be asked for here, too.
install_extra() {
  local limits=$venv/.limits.txt line
  while read -r line; do
    case $line in [A-Za-z0-9]*) printf '%s\n' "${line%% --hash*}" ;; esac
  done < <(sed 's/ *\\$//' "$lock") >"$limits"
  "$python" -m pip install -qq --disable-pip-version-check --no-input \
    -c "$limits" -r "$extra" || fail "could not add $extra to $venv, beside what $lock pins"
}

[ -r "$lock" ] || fail "$lock is missing"
[ -z "${RUN_EXTRA:-}" ] || [ -r "$extra" ] || fail "RUN_EXTRA: $extra is missing"
is_up_to_date && exit
if command -v flock >/dev/null; then # two set-ups at once wait for each other
  exec 9>"$venv.busy"
  flock 9
  is_up_to_date && exit
fi
if [ ! -e "$stamp" ] || ! has_wanted_python; then
  create
fi
install
