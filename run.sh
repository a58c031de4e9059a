#!/usr/bin/env bash
# Run the gateway and keep it running:   ./run.sh [arguments of run_gateway.py]
#
# The first start sets up .venv from the lock. `POST /shutdown` ends the gateway with 0, or with 1
# when it had to cut a request: then the checkout is pulled, .venv follows the lock, and the gateway
# starts again. A crash restarts it too; a wrong configuration (78) or a taken port (4) does not,
# nor does a signal.
# HUP reloads the configuration, or ends everything when it says that the terminal has closed.
# With IMAGE set and Docker there, a container of that image is run in the same loop.
#
#   IMAGE            container image to run instead of the checkout
#   CACHE_VOLUME     volume of its _cache (ai_vol)    PORTS  published ports (5002-5022)
#   PULL             always; "missing" for an image that was built on this machine
#   RESTART_DELAY_S  seconds between an end and the next start (5)
#   PYTHON           interpreter that creates .venv (the newest one found from 3.10 on)
#   RUN_LOCK         lock to install (requirements-models.lock), e.g. requirements.lock
#   RUN_EXTRA        packages of your own to add to it (requirements-extra.txt, if there is one)
#   RUN_VENV         a ready-made environment to use as it is; nothing is installed
set -u

delay=${RESTART_DELAY_S:-5}
lock=${RUN_LOCK:-requirements-models.lock}
venv=${RUN_VENV:-.venv}
docker=() # how docker is called, empty without it
child=''
gateway='' # the child while it is the gateway, empty while it is a helper
has_terminal=''
signal='' # the first signal that asked us to end
forwarded=''
code=0

say() { printf 'run.sh: %s\n' "$*" >&2; }

# shellcheck disable=SC2329 # the traps in main call it
on_signal() {
  : "${signal:=$1}"
  forwarded=$child
  [ -z "$child" ] || kill -s "$1" -- "$child" 2>/dev/null
}

# A closed terminal sends HUP, and so does a process manager that means "reload": the terminal that
# we were started in is still there then. Under nohup nothing of this has an effect: bash cannot
# trap a signal that was ignored when it started, and the gateway takes it as "reload" itself.
# shellcheck disable=SC2329 # the trap in main calls it
on_hangup() {
  if [ -n "$has_terminal" ] && ! { : </dev/tty; } 2>/dev/null; then
    on_signal TERM
  elif [ -n "$gateway" ]; then
    kill -s HUP -- "$gateway" 2>/dev/null
  else
    say "no gateway is running now; the next one reads the configuration anyway"
  fi
}

# Waits for a command and leaves its exit status in $code; $1 is what a signal is passed on to.
# The command gets a process group of its own: a Ctrl-C would reach it twice otherwise, from the
# terminal and from us, and the second one means "stop at once".
run_child() {
  local scope=$1 pid status
  shift
  forwarded=''
  set -m
  "$@" </dev/null &
  pid=$!
  set +m
  child=$pid
  if [ "$scope" = process ]; then gateway=$pid; else child=-$pid; fi
  # A signal may have come before $child was known.
  [ -z "$signal" ] || [ -n "$forwarded" ] || kill -s "$signal" -- "$child" 2>/dev/null
  code=0
  while :; do
    wait "$pid"
    status=$?
    kill -0 "$pid" 2>/dev/null || break
  done
  # A trap may have cut the last wait short just as the child ended: then ask again.
  wait "$pid" 2>/dev/null
  code=$?
  [ "$code" -ne 127 ] || code=$status
  child=''
  gateway=''
}

# Sleeps and downloads end at once on a signal, with everything they started.
run_helper() {
  run_child group "$@"
  [ -z "$signal" ] || exit 0
  return "$code"
}

find_docker() {
  [ -n "${IMAGE:-}" ] || return
  if ! command -v docker >/dev/null; then
    say "IMAGE is set but there is no docker: running the local gateway"
  elif docker ps >/dev/null 2>&1; then
    docker=(docker)
  elif command -v sudo >/dev/null && sudo -n docker ps >/dev/null 2>&1; then
    docker=(sudo -n docker)
  else
    say "IMAGE is set but docker does not answer: running the local gateway"
  fi
}

run_container() {
  local name options=() command=()
  for name in AID_APP_ID SHOW_PACKS TZ "${!BIS_@}"; do
    [ -z "${!name+set}" ] || options+=(-e "$name=${!name}")
  done
  [ $# -eq 0 ] || command=(python run_gateway.py "$@")
  # --stop-timeout leaves room for the gateway's own 30 s of draining.
  run_child process "${docker[@]}" run --rm --pull="${PULL:-always}" --stop-timeout 40 \
    -p "${PORTS:-5002-5022}:${PORTS:-5002-5022}" -v "${CACHE_VOLUME:-ai_vol}:/aid_app/_cache" \
    ${options[@]+"${options[@]}"} "$IMAGE" ${command[@]+"${command[@]}"}
}

prepare_venv() {
  [ -n "${RUN_VENV:-}" ] || run_helper scripts/bootstrap.sh "$venv" "$lock"
}

# Fails, with the reason said, when the code that is here may not be the newest.
pull() {
  local limit=() answer
  if ! command -v git >/dev/null; then
    say "git is not installed, so nothing can be pulled"
    return 1
  fi
  # Git refuses a folder of another user's, and says what to do about it.
  if ! answer=$(git rev-parse --git-dir 2>&1); then
    say "git does not read this checkout: $answer"
    return 1
  fi
  if ! git rev-parse --abbrev-ref '@{upstream}' >/dev/null 2>&1; then
    say "this branch follows no other, so there is nothing to pull"
    return 0
  fi
  command -v timeout >/dev/null && limit=(timeout 120)
  run_helper ${limit[@]+"${limit[@]}"} env GIT_TERMINAL_PROMPT=0 git pull --quiet --ff-only && return
  say "git pull failed"
  return 1
}

# Every failure here is a warning: what worked before the update goes on working.
update_checkout() {
  [ ! -e .git ] || pull || say "warning: going on with the code that is here"
  prepare_venv || say "warning: $lock is not installed, going on with the packages that are here"
}

run_once() {
  if [ ${#docker[@]} -gt 0 ]; then
    run_container "$@"
  else
    run_child process "$venv/bin/python" run_gateway.py "$@"
  fi
  [ -z "$signal" ] || exit "$code"
}

# True for arguments that print something and end: those are no gateway to restart.
is_question() {
  local argument
  for argument in "$@"; do
    case $argument in -h | --help | --version | --check-config) return 0 ;; esac
  done
  return 1
}

main() {
  local fd
  for fd in 0 1 2; do # what is opened next would take the number of one that is closed
    [ -e "/dev/fd/$fd" ] || eval "exec $fd<>/dev/null"
  done
  # The script may have been called through a link.
  cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" || exit 1
  [[ $delay =~ ^[0-9]+([.][0-9]+)?$ ]] || {
    say "RESTART_DELAY_S: expected seconds, got \"$delay\""
    exit 78
  }
  trap 'on_signal TERM' TERM
  trap 'on_signal INT' INT
  { : </dev/tty; } 2>/dev/null && has_terminal=yes
  trap on_hangup HUP
  trap 'say "USR1 and USR2 mean nothing here: HUP reloads, TERM stops"' USR1 USR2
  unset PYTHONDONTWRITEBYTECODE # compiled modules make every restart faster
  find_docker
  [ ${#docker[@]} -gt 0 ] || prepare_venv || exit "$code"

  while [ -z "$signal" ]; do
    run_once "$@"
    ! is_question "$@" || exit "$code"
    if [ ${#docker[@]} -gt 0 ]; then # the next image may be the repaired one
      say "container ended with $code, next one in $delay s"
    else
      case $code in
        4 | 78) exit "$code" ;; # the gateway has said why; a restart would say it again
        0 | 1) # 1: the same, but the stop had to cut a request; or a fault, which an update may mend
          say "gateway ended with $code, updating, next start in $delay s"
          update_checkout
          ;;
        *) say "gateway ended with $code, next start in $delay s" ;;
      esac
    fi
    run_helper sleep "$delay"
  done
}

# One command, read whole before it runs: git pull may replace this file.
main "$@"
exit
