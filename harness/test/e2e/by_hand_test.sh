#!/usr/bin/env bash
# Faults by hand on a cluster that is up: named, aimed, seen, healed; what cannot be says why.
source "$(dirname "$0")/lib.sh"
export ASAN_OPTIONS=detect_leaks=0
netns_works || { echo "no namespaces here"; exit 77; }
on=(--store "$store")
nemesis() { "$assay" nemesis "$@" "${on[@]}"; }
present() { nemesis status --json | jq -r '[.faults[].fault] | join(" ")'; }
state() { nemesis status --json | jq -r ".nodes[] | select(.node == \"$1\").state"; }

expect 0 'kill-one +a random node is killed' "$assay" nemesis list
expect 0 '"fault": ?"partition-ring"' "$assay" nemesis list --json
expect 3 'no cluster is up' nemesis status
expect 0 'n3 ' "$assay" cluster up --faults partition,pause,kill "${on[@]}"
trap '"$assay" cluster down "${on[@]}" >/dev/null 2>&1; rm -rf "$scratch"' EXIT
expect 0 'no fault is present' nemesis status
expect 0 'number 1' nemesis start kill-one --targets n2
expect 0 'number 2' nemesis start partition-one --targets n2
[ "$(present)" = "kill-one partition-one" ] || fail "present: $(present)"
[ "$(state n2)" = stopped ] || fail "n2 is $(state n2)"
expect 3 'kill-one is present and touches the same' nemesis start pause-one --targets n2
expect 3 'partition-one is present' nemesis start partition-halves
expect 64 'which fault' nemesis start
expect 3 "unknown fault 'kill-on'" nemesis start kill-on
expect 3 'n1 to n3' nemesis start kill-one --targets n5
expect 64 'NAME=NUMBER' nemesis start kill-one --number delay
expect 64 'did you mean' "$assay" nemesis stat
expect 3 'no fault 9 is present' nemesis heal 9
expect 64 'one number' nemesis heal x
expect 0 'healed' nemesis heal 1
[ "$(present)" = partition-one ] || fail "present: $(present)"
[ "$(state n2)" = running ] || fail "n2 is $(state n2)"
for _ in $(seq 200); do nemesis status --json | jq -e '[.nodes[].primary] | any' >/dev/null && break; sleep 0.05; done
expect 0 'number [0-9]+' nemesis start pause-one --targets primary --for 300ms
for _ in $(seq 100); do [ "$(present)" = partition-one ] && break; sleep 0.05; done
expect 0 'healed' nemesis heal
expect 0 'no fault is present' nemesis status
# What is present at the end is healed by the end.
expect 0 '' nemesis start pause-all
expect 0 'stopped' "$assay" cluster down "${on[@]}"
expect_nothing_left "after cluster down"
jq -se 'map(select(.process == "nemesis" and .f == "heal" and .type == "info")) | length >= 4' \
  "$store/cluster/nemesis.jsonl" >/dev/null || fail "the history of the nemesis does not tell of the heals"
finish
