#!/usr/bin/env bash
# The reporting of ci/nightly and ci/gate, with a stand-in for assay that gives the verdict that is wanted of each cell.
set -uo pipefail
cd "$(dirname "$0")/../../.."
scratch=$(mktemp -d /tmp/assay-nightly-XXXXXX)
trap 'rm -rf "$scratch"' EXIT
failures=0
fail() { printf 'FAIL: %s\n' "$*" >&2; failures=$((failures + 1)); }

# $scratch/wanted holds lines "PATTERN VERDICT": the first whose pattern matches "COMMAND WORKLOAD NEMESIS BUG" counts.
mkdir "$scratch/bin" "$scratch/legs"
cat >"$scratch/bin/assay" <<'STUB'
#!/usr/bin/env bash
here=${0%/bin/assay}
command=$1; shift
declare -A flag=()
while [ $# -gt 0 ]; do
  case $1 in --json) shift ;; --*) flag[${1#--}]=$2; shift 2 ;; *) run=$1; shift ;; esac
done
if [ "$command" = pack ]; then
  echo packed >"${flag[output]}"
  exit
fi
verdict=valid
while read -r pattern wanted; do
  [[ "$command/${flag[workload]:-}/${flag[nemesis]:-}/${flag[bug]:-}" != $pattern ]] || { verdict=$wanted; break; }
done <"$here/wanted"
trap 'verdict=valid; echo "$command told to end" >>"$here/calls"' TERM
echo "$command ${flag[workload]:-} $verdict" >>"$here/calls"
case $verdict in
slow)
  for ((i = 0; i < 600; i++)); do [ $verdict = slow ] || break; sleep 0.1; done
  ;;
dead) echo "no disk <here> & \"there\"" >&2; exit 3 ;;
esac
case $command in
bugs)
  [ $verdict = missed ] && found=false || found=true
  printf '{"bug":"one","found":true}\n{"bug":"other-one","found":%s}\n' $found
  [ $found = true ]
  exit $?
  ;;
sim)
  [ $verdict = valid ] || printf '{"seed":7,"text":"history at 3 s","command":"assay sim --seed 7 --trace"}\n'
  printf '{"verdict":"%s","seeds":9,"failed":1,"unknown":0,"simulated_seconds":4.5,"operations":77,"faults":{"crash":2,"clog":3}}\n' $verdict
  ;;
run)
  run=${flag[store]}/x/$$
  mkdir -p "$run" && run=$(readlink -f "$run")
  echo 'not json at first'
  jq -cn --arg verdict $verdict --arg run "$run" '{verdict: (if $verdict == "failed" then null else $verdict end), run: $run, operations: 1234,
    faults: {a: {installed: 2}, b: {installed: 3}}, sentence: "It says: <\($verdict)> & \"so\" | \u0001 on.",
    error: (if $verdict == "failed" then "a master ended\nwith a long story" else null end)}'
  ;;
esac
case $verdict in valid) exit 0 ;; invalid) exit 1 ;; unknown | vacuous) exit 2 ;; *) exit 3 ;; esac
STUB
chmod +x "$scratch/bin/assay"
export ASSAY_BIN=$scratch/bin ASSAY_BUGS_BIN=$scratch/bin ASSAY_LEGS=$scratch/legs ASSAY_MACHINE=$scratch

# night EXPECTED-CODE VERDICTS [FLAGS…]: a night whose cells have these verdicts, then looks at what is well-formed.
night() {
  local code=$1 status
  printf '%s\n' "$2" >"$scratch/wanted"
  shift 2
  rm -rf "$scratch/out"
  ci/nightly --minutes 13 --seed 42 --output "$scratch/out" "$@" >"$scratch/text" 2>&1
  status=$?
  [ $status -eq "$code" ] || fail "exit code $status instead of $code with '$(cat "$scratch/wanted")': $(cat "$scratch/text")"
  xmllint --noout "$scratch/out/junit.xml" || fail "junit.xml is not well-formed: $(cat "$scratch/out/junit.xml")"
}
verdict() { jq -r --arg cell "$1" 'select(.cell | startswith($cell)) | .verdict' "$scratch/out/results.jsonl" | sort -u; }
expect_verdict() { [ "$(verdict "$1")" = "$2" ] || fail "$1 is '$(verdict "$1")', not $2"; }
says() { grep -qF -- "$2" "$scratch/out/$1" || fail "$1 does not say '$2': $(cat "$scratch/out/$1")"; }
tests() { xmllint --xpath "string(/testsuites/@$1)" "$scratch/out/junit.xml"; }

# All green: everything ran, nothing is kept of it, what is not there is skipped.
night 0 ''
expect_verdict run/ valid
expect_verdict canary/ found
expect_verdict simulator/ valid
expect_verdict table/ skipped
[ "$(jq -r 'select(.cell | startswith("run/")) | .cell | split("/")[2]' "$scratch/out/results.jsonl" | head -n 9 | sort -u | wc -l)" -eq 9 ] ||
  fail "the first nine runs do not hold every mix"
[ -z "$(find "$scratch/out/store" -mindepth 2)" ] || fail "green runs are kept"
[ -z "$(ls "$scratch/out/packs")" ] || fail "green runs are packed"
says summary.md '| run/mixed/standard/42001 | valid | 1234 | 5 |'
says summary.md "$scratch/legs/faults is not there"
says summary.md 'For 2 more there was no time'
[ "$(tests failures)/$(tests errors)/$(tests skipped)" = 0/0/1 ] || fail "junit counts $(tests failures)/$(tests errors)/$(tests skipped)"
[ "$(tests tests)" = "$(wc -l <"$scratch/out/results.jsonl")" ] || fail "junit tells of $(tests tests) tests"

# Each verdict with its exit code; what is worst counts.
night 1 'run/names/* invalid' --only 'run/*/4200[34]'
expect_verdict run/names/ invalid
says summary.md '**invalid**'
says summary.md '### run/names/journal/42003: invalid'
says summary.md "    $scratch/bin/assay run --nodes 3 --time"
says junit.xml 'message="It says: &lt;invalid&gt; &amp; &quot;so&quot; | ? on."'
[ "$(find "$scratch/out/packs" -name '*run-names-journal-42003.tar.gz' | wc -l)" -eq 1 ] || fail "no pack: $(ls "$scratch/out/packs")"
says junit.xml 'run-names-journal-42003.tar.gz'
night 2 'run/moves/* vacuous' --only 'run/*/4200[34]'
night 2 'run/moves/* unknown' --only 'run/*/4200[34]'
night 3 'run/moves/* failed' --only 'run/*/4200[34]'
says junit.xml '<error type="failed" message="a master ended&#10;with a long story">'
night 3 'run/moves/* dead' --only 'run/*/4200[34]'
says summary.md 'no result, exit code 3: no disk <here> & "there"'
night 3 $'run/moves/* failed\nrun/names/* vacuous' --only 'run/*/4200[34]'
night 1 $'run/moves/* failed\nrun/names/* invalid\nrun/blocks/* vacuous' --only 'run/*/4200[345]'
night 3 'bugs/*/early-ack missed' --only 'canary/*'
expect_verdict canary/early-ack missed
expect_verdict canary/local-reads found
says summary.md 'broken on purpose passed: other-one'
night 3 'bugs/*/early-ack dead' --only 'canary/*'
expect_verdict canary/early-ack failed
night 1 'sim/* invalid' --only 'simulator/*'
says summary.md '    assay sim --seed 7 --trace'

# Legs that are there: what they end with is their verdict.
printf '#!/bin/sh\necho "27 faults took hold"\n' >"$scratch/legs/faults" && chmod +x "$scratch/legs/faults"
night 0 '' --only 'table/*'
expect_verdict table/ valid
printf '#!/bin/sh\necho "no kernel to boot"\nexit 77\n' >"$scratch/legs/faults"
night 2 '' --only 'table/*'
expect_verdict table/ skipped
printf '#!/bin/sh\necho "delay was not there"\nexit 1\n' >"$scratch/legs/faults"
night 3 '' --only 'table/*'
says summary.md 'exit code 1: delay was not there'
printf '#!/bin/sh\necho fine\n' >"$scratch/legs/faults-vm" && chmod +x "$scratch/legs/faults-vm"
night 2 '' --minutes 30 --only vm/faults
says summary.md 'there is no machine yet: run ci/setup vm'
: >"$scratch/box.img"
night 0 '' --minutes 30 --only vm/faults
expect_verdict vm/faults valid

# --only and --list; wrong usage.
night 0 '' --only 'run/*/storage/*' --only canary/simulator
[ "$(cut -d'"' -f4 "$scratch/out/results.jsonl" | cut -d/ -f1,3 | sort -u | tr '\n' ' ')" = "canary run/storage " ] || fail "--only ran $(cat "$scratch/out/results.jsonl")"
first=$(ci/nightly --list --seed 7) second=$(ci/nightly --list --seed 7) other=$(ci/nightly --list --seed 8)
[ "$first" = "$second" ] || fail "the same seed gives other cells"
[ "$first" != "$other" ] || fail "another seed gives the same cells"
pairs=$(ci/nightly --list --minutes 480 | sed -nE 's#^run/([^/]*/(standard|brutal|journal|network|storage|process|time|members|swarm))/.*#\1#p' | sort -u | wc -l)
[ "$pairs" -eq 54 ] || fail "a long night holds $pairs pairs of workload and mix"
for wrong in "--minutes 0" "--minutes x" "--only nothing" "--what" "--seed"; do
  # shellcheck disable=SC2086 # words are wanted
  ci/nightly $wrong >"$scratch/text" 2>&1
  [ $? -eq 64 ] || fail "ci/nightly $wrong: $(cat "$scratch/text")"
done

# Interrupted: the present cell ends as it would for a person, no other is begun, everything is written.
for signal in TERM INT; do
  printf 'run/register/* slow\n' >"$scratch/wanted"
  rm -rf "$scratch/out" "$scratch/calls"
  env --default-signal=INT ci/nightly --minutes 15 --seed 42 --output "$scratch/out" >"$scratch/text" 2>&1 &
  pid=$!
  for _ in $(seq 300); do grep -qs 'register slow' "$scratch/calls" && break; sleep 0.1; done
  kill -$signal $pid
  wait $pid
  status=$?
  [ $status -eq 2 ] || fail "interrupted by $signal it ended $status: $(cat "$scratch/text")"
  [ "$(jq -r .cell "$scratch/out/results.jsonl" | tr '\n' ' ')" = "run/mixed/standard/42001 run/register/brutal/42002 " ] ||
    fail "after $signal: $(cat "$scratch/out/results.jsonl")"
  expect_verdict run/register valid
  says summary.md 'It was interrupted'
  xmllint --noout "$scratch/out/junit.xml" || fail "junit.xml after $signal"
done

# Killed: what it has begun is told to end.
printf 'run/mixed/* slow\n' >"$scratch/wanted"
rm -rf "$scratch/out" "$scratch/calls"
ci/nightly --minutes 13 --seed 42 --output "$scratch/out" >"$scratch/text" 2>&1 &
pid=$!
for _ in $(seq 300); do grep -qs 'mixed slow' "$scratch/calls" && break; sleep 0.1; done
kill -KILL $pid
wait $pid 2>/dev/null
for _ in $(seq 100); do grep -qs 'run told to end' "$scratch/calls" && break; sleep 0.1; done
grep -qs 'run told to end' "$scratch/calls" || fail "a killed nightly leaves its cell behind"

# The gate takes the same and no skipped leg.
gate() {
  local code=$1 status
  printf '%s\n' "$2" >"$scratch/wanted"
  ci/gate "$scratch/gate" >"$scratch/text" 2>&1
  status=$?
  [ $status -eq "$code" ] || fail "the gate ended $status instead of $code: $(cat "$scratch/text")"
}
printf '#!/bin/sh\necho fine\n' >"$scratch/legs/faults"
gate 0 ''
rm "$scratch/legs/faults"
gate 2 ''

[ $failures -eq 0 ] && echo ok
exit $((failures > 0))
