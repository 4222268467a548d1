# shellcheck shell=bash disable=SC2034,SC2154 # what one of the files sets, another uses
# Runs the cells of a night one after the other and keeps a line of JSON for each in $out/results.jsonl, from which
# ci/lib/report.sh makes what people and machines read. For ci/nightly and ci/gate, which set:
#   out             the directory of the night     store        its store, below it
#   bin, bugs_bin   programs, and those with named defects; ASSAY_BIN and ASSAY_BUGS_BIN name others, which are not built
#   legs            where the scripts of the legs are (ci; ASSAY_LEGS)
#   machine         the virtual machine's disk and kernel (build/vagrant; ASSAY_MACHINE)
#
# Every cell gets three times its time and five minutes; then it is ended and has failed. A stop signal ends the present
# cell as a person would (assay heals, stops and checks what it has), no other is begun, and the report is written. When
# the script itself is killed, its present cell is told to end, too.

say() { printf '%s: %s\n' "${0##*/}" "$*"; }

bin=${ASSAY_BIN:-build/release/bin}
bugs_bin=${ASSAY_BUGS_BIN:-build/bugs/bin}
legs=${ASSAY_LEGS:-ci}
machine=${ASSAY_MACHINE:-build/vagrant}
packs_max=20
child=0
interrupted=false
not_begun=0

interrupt() {
  [ "$child" -eq 0 ] || kill -TERM "$child" 2>/dev/null || true
  $interrupted || say "interrupted: the present cell is ended, then comes the report"
  interrupted=true
}

# Builds what the cells that are read from standard input need.
build_programs() {
  local cells
  cells=$(cat)
  [ -n "${ASSAY_BIN:-}" ] || ci/build release programs
  [ -n "${ASSAY_BUGS_BIN:-}" ] || ! grep -q '^canary/' <<<"$cells" || ci/build bugs programs
}

# ---- Judging: each sets the fields of the cell's record from its exit code and what it printed ----

# The last line of the output as JSON, or null.
last_json() { tail -n 1 "$1" | jq -Rc 'fromjson? | objects' | grep . || echo null; }
last_words() { grep -v '^[[:space:]]*$' "$1" | tail -n 1 | cut -c1-500 || true; }

# A record of a cell without a result: VERDICT SENTENCE.
plain() { jq -cn --arg verdict "$1" --arg sentence "$2" '{verdict: $verdict, sentence: $sentence}'; }

judge_run() { # STATUS OUTPUT LOG
  local json
  json=$(last_json "$2")
  [ "$json" != null ] || { plain failed "no result, exit code $1: $(last_words "$3")"; return; }
  jq -c '{verdict: (.verdict // "failed"), sentence: (.error // .sentence), operations, faults: ([.faults[]?.installed] | add // 0),
          run, live, replicas}' <<<"$json"
}

judge_simulator() { # STATUS OUTPUT LOG
  local json
  json=$(last_json "$2")
  [ "$json" != null ] || { plain failed "no result, exit code $1: $(last_words "$3")"; return; }
  jq -c --slurpfile lines "$2" '
    [$lines[] | select(.command)] as $failures
    | {verdict: (if $ARGS.positional[0] == "3" then "failed" else .verdict end), operations, faults: ([.faults[]?] | add // 0),
       sentence: "\(.seeds) seeds, \(.simulated_seconds | floor) simulated seconds: \(.failed) failed, \(.unknown) undecided\(
         if $failures | length > 0 then ": \($failures[0].text)" else "" end)"}
      + (if $failures | length > 0 then {command: $failures[0].command} else {} end)' <<<"$json" --args "$1"
}

# Of a broken master a violation is what is wanted.
judge_canary() { # STATUS OUTPUT LOG
  case $1 in
  0) plain found "$(jq -s 'length' "$2") of the defects were found" ;;
  1) plain missed "a master that is broken on purpose passed: $(jq -rs '[.[] | select(.found == false) | .bug] | join(", ")' "$2")" ;;
  *) plain failed "exit code $1: $(last_words "$3")" ;;
  esac
}

# Scripts: 0 holds, 77 cannot be done here, 1 falls short; the last line says why.
judge_script() { # STATUS OUTPUT LOG
  local words
  words=$(last_words "$2")
  case $1 in
  0) plain valid "$words" ;;
  77) plain skipped "${words:-it cannot be done here}" ;;
  *) plain failed "exit code $1: ${words:-$(last_words "$3")}" ;;
  esac
}
judge_table() { judge_script "$@"; }
judge_long() { judge_script "$@"; }
# A run on other machines tells its result as any run does.
judge_vm() { if [ "$(last_json "$2")" = null ]; then judge_script "$@"; else judge_run "$@"; fi; }

# ---- Running ----

# Why a cell cannot be run here; nothing when it can.
why_not() { # KIND PROGRAM
  case $1 in
  table | long | vm) [ -x "$2" ] || { echo "$2 is not there"; return; } ;;
  esac
  [ "$1" != vm ] || [ -r "$machine/box.img" ] || echo "there is no machine yet: run ci/setup vm and sudo vagrant/build-box"
}

# What the harness's programs are told beside the command that repeats the cell.
flags_of() { # KIND
  case $1 in
  run | canary) echo "--json --store $store" ;;
  vm) [ "$name" != vm/vagrant ] || echo "--json --store $store" ;;
  simulator) echo "--json --details 1 --store $store" ;;
  esac
}

# Waits for the child, however often a signal interrupts that; sets `status` of run_cell.
await_child() {
  while :; do
    status=0
    wait "$child" || status=$?
    kill -0 "$child" 2>/dev/null || break
  done
  child=0
}

# A green run's history is large and of no use any more; what is red is packed, within reason. Of run_cell it takes `name`
# and `log`, and sets `pack`.
tidy_up() { # RECORD
  local verdict run
  pack=
  read -r verdict run < <(jq -r '"\(.verdict) \(.run // "")"' <<<"$1")
  case $run in "$(readlink -f "$store")"/*) ;; *) return 0 ;; esac
  case $verdict in
  valid | found) rm -rf "$run" ;;
  *)
    [ "$(find "$out/packs" -type f | wc -l)" -lt $packs_max ] || return 0
    pack=$out/packs/${name//\//-}.tar.gz
    "$bin/assay" pack "$run" --output "$pack" >/dev/null 2>>"$log" || pack=
    ;;
  esac
}

# Keeps the record of a cell, and prints a line of it.
keep() { # RECORD NAME COMMAND BEGAN PACK
  local lines
  mapfile -t lines < <(jq -r --arg cell "$2" --arg command "$3" --arg began "$4" --arg ended "$EPOCHREALTIME" --arg pack "$5" '
    {cell: $cell, command: $command, seconds: (($ended | tonumber) - ($began | tonumber))} + .
    | if $pack == "" then . else .pack = $pack end
    | tojson, "\(.cell)  \(.verdict)  \(.seconds | floor) s\(if .verdict | IN("valid", "found") then "" else ": \(.sentence | gsub("\n"; " "))" end)"' <<<"$1")
  printf '%s\n' "${lines[0]}" >>"$out/results.jsonl"
  printf '%s\n' "${lines[1]}"
}

# run_cell NAME SECONDS COMMAND…
run_cell() {
  local name=$1 limit=$(($2 * 3 + 300)) kind=${1%%/*} began=$EPOCHREALTIME status record reason pack=
  shift 2
  local log=$out/logs/${name//\//-}.log output=$out/logs/${name//\//-}.out
  reason=$(why_not "$kind" "$1")
  if [ -n "$reason" ]; then
    record=$(plain skipped "$reason")
  else
    # shellcheck disable=SC2046 # words are wanted
    setpriv --pdeathsig TERM timeout --kill-after=120 "$limit" "$@" $(flags_of "$kind") >"$output" 2>"$log" </dev/null &
    child=$!
    await_child
    case $status in
    124 | 137) record=$(plain failed "it took more than $limit s and was ended") ;;
    *) record=$(judge_"$kind" "$status" "$output" "$log") || record= ;;
    esac
    record=${record:-$(plain failed "what it printed cannot be read: $output")}
    tidy_up "$record"
  fi
  keep "$record" "$name" "$*" "$began" "$pack"
}

# run_cells: those of standard input, until the time is up (`ends_at`, as $SECONDS counts) or a stop signal came.
run_cells() {
  local name seconds command
  while read -r -u 9 name seconds command; do
    if $interrupted || [ $((SECONDS + seconds)) -gt "$ends_at" ]; then
      not_begun=$((not_begun + 1))
      continue
    fi
    # shellcheck disable=SC2086 # a cell's command is words
    run_cell "$name" "$seconds" $command
  done 9<&0
  [ $not_begun -eq 0 ] || say "$not_begun cells were not begun"
}
