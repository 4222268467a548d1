# Shared by the end-to-end tests: a store of their own, expectations, and a look at what is left behind.
# ASSAY_BIN names the directory of the programs.
set -uo pipefail
: "${ASSAY_BIN:?names the directory of the programs}"
assay=$ASSAY_BIN/assay
scratch=$(mktemp -d /tmp/assay-e2e-XXXXXX)
store=$scratch/store
failures=0

fail() { printf 'FAIL: %s\n' "$*" >&2; failures=$((failures + 1)); }
finish() {
  [ -n "${KEEP:-}" ] || rm -rf "$scratch"
  [ $failures -eq 0 ] && echo "ok"
  exit $((failures > 0))
}

# expect CODE TEXT command…: the command ends with CODE and says TEXT (an extended regular expression; '' for anything).
expect() {
  local code=$1 text=$2 output status
  shift 2
  output=$("$@" 2>&1 </dev/null)
  status=$?
  [ $status -eq "$code" ] || fail "'$*' ended $status, not $code: $output"
  [ -z "$text" ] || grep -qE -- "$text" <<<"$output" || fail "'$*' does not say /$text/: $output"
}

# Does what `assay run` itself does to find out.
netns_works() {
  [ "$(id -u)" -eq 0 ] && unshare --net --mount --pid --fork true 2>/dev/null && return 0
  unshare --user --map-root-user --net --mount --pid --fork true 2>/dev/null
}

# Processes whose command line names this test's scratch directory; the run's own programs all do.
left_over() { pgrep -f -- "$scratch" | grep -vw -e $$ -e "$BASHPID" || true; }

# Waits until nothing is left, at most 15 s; complains about what is.
expect_nothing_left() {
  local left
  for _ in $(seq 150); do
    left=$(left_over)
    [ -n "$left" ] || return 0
    sleep 0.1
  done
  fail "$1: still running: $(ps -o pid=,args= -p "$(echo $left | tr ' ' ,)" | cut -c1-200)"
}

# Waits until a file of the pattern holds the text, at most 60 s, or until the process is gone.
await_text() { # PATTERN TEXT PID
  for _ in $(seq 600); do
    grep -qsE -- "$2" $1 && return 0
    kill -0 "$3" 2>/dev/null || break
    sleep 0.1
  done
  fail "'$2' never came in $1"
  return 1
}

field() { jq -r ".$2" <<<"$1"; }
