#!/usr/bin/env bash
# Linearizable reads at any node: by hand at a standby, and a run whose clients read everywhere while nodes and links fail.
source "$(dirname "$0")/lib.sh"
export ASAN_OPTIONS=detect_leaks=0
netns_works || { echo "skipped: no namespaces here"; exit 77; }
on=(--store "$store")
fs() { "$assay" fs "$@" "${on[@]}"; }

expect 64 "primary or any, not 'some'" "$assay" run --reads some
expect 64 "primary or any, not 'some'" "$assay" bench master --reads some
expect 64 "primary or any, not 'some'" fs stat / --reads some
expect 64 "no flag|unknown|--reads" fs mkdir /a --reads any

# -- by hand: whoever asks first asks n1, which is not the primary
expect 0 'n3 ' "$assay" cluster up "${on[@]}"
trap '"$assay" cluster down "${on[@]}" >/dev/null 2>&1; rm -rf "$scratch"' EXIT
expect 0 '' fs create /a/f --parents
for _ in $(seq 100); do # it may be the primary already, or elected so lately that it refuses
  [ "$(field "$(fs stat /a/f --json)" node)" = 2 ] && break
  "$assay" admin journal quorum elect 2 "${on[@]}" >/dev/null 2>&1
done
for i in 1 2 3 4 5; do
  expect 0 "version $((i + 1))" fs set /a/f "$i"
  json=$(fs stat /a/f --reads any --json)
  [ "$(field "$json" node)" = 1 ] || fail "not n1, which is a standby, answered: $json"
  [ "$(field "$json" value)" = "$i" ] || fail "a standby answered what is older: $json"
done
[ "$(field "$(fs stat /a/f --json)" node)" = 2 ] || fail "without the flag the primary answers"
expect 0 'f$' fs ls /a --reads any
expect 0 'true' fs exists /a/f --reads any
expect 0 '' fs blocks /a/f --reads any
expect 1 'no such file' fs stat /b --reads any
expect 0 'stopped' "$assay" cluster down "${on[@]}"

# -- a run
output=$("$assay" run --reads any --time 8s --final 1s --clients 24 --nemesis network,kill --fault-interval 500ms \
  --fault-duration 700ms --seed 3 "${on[@]}" --json 2>"$scratch/text")
status=$?
json=$(tail -n 1 <<<"$output")
[ $status -eq 0 ] || fail "ended $status: $(cat "$scratch/text")"
[ "$(field "$json" verdict)" = valid ] || fail "verdict: $json"
run=$(field "$json" run)
[ "$(jq -r .reads "$run/test.json")" = any ] || fail "test.json does not tell of the reads"
grep -q -- '--reads any' "$scratch/text" || fail "the command that repeats the run does not say where clients read"
answered=$(jq -r 'select(.type == "ok" and .f == "stat").node' "$run/history.jsonl" | sort -u | tr '\n' ' ')
[ "$answered" = "1 2 3 " ] || fail "stat was answered by the nodes $answered, not by all"
expect_nothing_left "after the run"
finish
