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

"$assay" cluster down "${on[@]}" >/dev/null
expect_nothing_left "at the end"
finish
