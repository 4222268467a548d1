#!/usr/bin/env bash
# A fourth host is for a node that joins later; a node that is wiped on its host joins again; nothing stays there.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/hosts.sh"
in_namespaces "$@"
hosts_up 4

output=$(timeout 150 "$assay" run --nodes 3 --time 14s --clients 16 --final 1s --seed 3 --store "$store" --json "${ssh_flags[@]}" \
  --nemesis membership-replace,membership-wipe,partition-one --fault-interval 300ms --fault-duration 700ms 2>"$scratch/text")
status=$?
json=$(tail -n 1 <<<"$output")
[ $status -eq 0 ] || fail "ended $status: $(cat "$scratch/text")"
[ "$(field "$json" verdict)" = valid ] || fail "verdict: $json"
[ "$(jq -r '[.replica_nodes[].node] | join(" ")' <<<"$json")" = "n1 n2 n3" ] || fail "other nodes were compared: $json"
for fault in membership-replace membership-wipe; do
  [ "$(jq ".faults[\"$fault\"].installed // 0" <<<"$json")" -ge 1 ] || fail "no $fault was installed: $json"
done
for node in n1 n2 n3 n4; do
  [ -s "$(field "$json" run)/nodes/$node/log" ] || fail "the log of $node was not fetched"
done
expect_clean 4

# Without a host for it nobody joins, and the reason says what to do.
output=$(timeout 150 "$assay" run --nodes 4 --time 5s --clients 8 --final 0s --store "$store" --json "${ssh_flags[@]}" \
  --nemesis membership-add,kill-one --fault-interval 300ms --fault-duration 500ms 2>"$scratch/text")
json=$(tail -n 1 <<<"$output")
[ "$(jq '.faults["membership-add"].installed // 0' <<<"$json")" -eq 0 ] || fail "a fifth node joined on no host: $json"
grep -q 'give one --host more than --nodes says' "$(field "$json" run)/events.jsonl" || fail "nobody says how to have a further node"
expect_clean 4
finish
