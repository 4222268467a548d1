#!/usr/bin/env bash
# What an operator asks of a running cluster, with its exit codes.
source "$(dirname "$0")/lib.sh"
export ASAN_OPTIONS=detect_leaks=0 # see cluster_test.sh
on=(--store "$store")
admin() { "$assay" admin "$@" "${on[@]}"; }

expect 3 'no cluster is up' admin log-level
expect 64 'did you mean .assay admin log-level' "$assay" admin log-levels
expect 0 'n3 ' "$assay" cluster up --provider host "${on[@]}"
trap '"$assay" cluster down "${on[@]}" >/dev/null 2>&1; rm -rf "$scratch"' EXIT

# -- log-level
expect 64 'debug, info, warn or error' admin log-level loud
[ "$(admin log-level | grep -c ' info$')" -eq 3 ] || fail "not all three nodes say info"
expect 0 ' debug$' admin log-level debug --node 2
[ "$(admin log-level | grep -c ' info$')" -eq 2 ] || fail "a level was set on other nodes than the one named"
expect 0 'from level debug on' cat "$store/cluster/nodes/n2/log"
expect 3 'no node that answers has the number 9' admin log-level --node 9
expect 3 'no answer' "$assay" admin log-level --address 127.0.0.1:9 --timeout 200ms

# -- report
"$assay" client $(jq -r '.nodes[].address' "$store/cluster/state.json" | sed 's/^/--address /') --time 3s \
  --history "$scratch/history.jsonl" >/dev/null
expect 0 '^primary [1-3] in term [1-9][0-9]*, ' admin report
[ "$(admin report | grep -cE '^ +[123] .*(primary|standby)')" -eq 3 ] || fail "not all nodes are reported: $(admin report)"
expect 0 '"lag":0.*"version":"' admin report --json
expect 3 'unreachable' "$assay" admin report --address 127.0.0.1:9 --timeout 200ms

# -- journal checkpoint
before=$(admin report --json | jq '.nodes[2].snapshot_index')
expect 0 'snapshot at index [1-9]' admin journal checkpoint --node 3
for _ in $(seq 50); do
  after=$(admin report --json | jq '.nodes[2].snapshot_index')
  [ "$after" -gt "$before" ] && break
  sleep 0.1
done
[ "$after" -gt "$before" ] || fail "the log of node 3 was not cut: snapshot at $before, and at $after afterwards"
[ "$(admin report --json | jq '.nodes[2].durable_index')" -ge "$after" ] || fail "the state is not on the disk"

# -- backup
expect 0 'cluster [0-9]+ at index [1-9][0-9]*, [0-9]+ files' admin backup "$scratch/backup"
expect 3 'exists already' admin backup "$scratch/backup"
expect 64 'takes one directory' admin backup
expect 0 '^assay-backup 1' head -n 1 "$scratch/backup/manifest"
expect 0 '"index":[1-9]' admin backup "$scratch/standby" --node $(admin report --json | jq '[.nodes[] | select(.role == "standby")][0].node') --json
expect 3 'cannot make' admin backup "$scratch/nowhere/backup"

"$assay" cluster down "${on[@]}" >/dev/null
expect_nothing_left "at the end"
finish
