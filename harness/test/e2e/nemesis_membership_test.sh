#!/usr/bin/env bash
# Members come and go as faults: by hand, drawn, told on events; what cannot be is skipped, and in the end all is as before.
source "$(dirname "$0")/lib.sh"
export ASAN_OPTIONS=detect_leaks=0
netns_works || { echo "no namespaces here"; exit 77; }
on=(--store "$store")
nemesis() { "$assay" nemesis "$@" "${on[@]}"; }
members() { "$assay" admin journal quorum info --json "${on[@]}" | jq -r '[.members | sort_by(.node)[] | "\(.node) \(.role)"] | join(", ")'; }
expect_members() { [ "$(members)" = "$1" ] || fail "members are $(members), not $1"; }
leader() { "$assay" admin journal quorum info --json "${on[@]}" | jq -r .leader; }
home="1 voter, 2 voter, 3 voter"

# -- by hand
expect 0 'n3 ' "$assay" cluster up --faults partition "${on[@]}"
trap '"$assay" cluster down "${on[@]}" >/dev/null 2>&1; rm -rf "$scratch"' EXIT
expect 3 'name a fault of membership at the start' nemesis start membership-demote
expect 0 'stopped' "$assay" cluster down "${on[@]}"
expect 0 'n3 ' "$assay" cluster up --faults membership,kill --fresh "${on[@]}"
expect_members "$home"
expect 0 'n4 +off' nemesis status
expect 0 'number 1' nemesis start membership-add --number votes=1
expect_members "$home, 4 voter"
expect 0 'n4 +running' nemesis status
expect 0 'membership-add .* n4 ' nemesis status
expect 3 'membership-add is present and touches the same' nemesis start membership-demote
expect 0 '' "$assay" fs mkdir /while-four "${on[@]}"
expect 0 'healed' nemesis heal 1
expect_members "$home"
expect 0 'n4 +off' nemesis status
expect 0 'number' nemesis start membership-remove-one --targets n2
[[ "$(members)" != *"2 voter"* ]] || fail "n2 is still a member: $(members)"
expect 0 'healed' nemesis heal
expect_members "$home"
expect 0 'number' nemesis start membership-replace --targets n1 --number keeps_data=1
[[ "$(members)" = *"4 voter"* && "$(members)" != *"1 voter"* ]] || fail "n1 is not replaced: $(members)"
expect 0 'n1 +off' nemesis status
# One that has joined is hit as any other.
expect 0 'number' nemesis start kill-one --targets n4
expect 0 'n4 +stopped' nemesis status
expect 0 'healed' nemesis heal
expect_members "$home"
before=$(leader)
expect 0 'number' nemesis start membership-transfer
[ "$(leader)" != "$before" ] || fail "node $before leads on"
expect 0 'healed' nemesis heal
expect 0 'number' nemesis start membership-wipe --targets n3
expect 0 'healed' nemesis heal
expect_members "$home"
expect 0 '/while-four' "$assay" fs ls / "${on[@]}"
expect 0 'number' nemesis start membership-remove-primary
expect 0 'stopped' "$assay" cluster down "${on[@]}"
expect_nothing_left "after cluster down"
# The end has healed what was present.
expect 0 'n3 ' "$assay" cluster up "${on[@]}"
expect_members "$home"
expect 0 'stopped' "$assay" cluster down "${on[@]}"

# -- in runs
run() { "$assay" run "${on[@]}" --clients 8 --rate 200 "$@"; }
installed() { jq -r 'select(.event == "fault" and .phase == "installed").fault' "$store/latest/events.jsonl"; }
cat >"$scratch/told.json" <<'END'
{"schedule": 1, "nodes": 3, "faults": [
  {"fault": "membership-add", "at_ms": 200, "until": {"operation": 600}, "numbers": {"votes": 1}},
  {"fault": "kill-one", "at_ms": 250, "for_ms": 1500, "targets": ["n4"]},
  {"fault": "membership-remove-primary", "on": {"operation": 900}, "for_ms": 1000}]}
END
expect 0 'Linearizable.*membership' run --time 9 --nemesis none --schedule "$scratch/told.json"
[ "$(installed | sort | uniq | xargs)" = "kill-one membership-add membership-remove-primary" ] || fail "installed: $(installed)"
[ "$(jq -r .replica_nodes[].node "$store/latest/result.json" | xargs)" = "n1 n2 n3" ] || fail "other nodes were compared"
expect 0 'Linearizable' "$assay" replay "$store/latest" "${on[@]}"
[ "$(installed | grep -c membership)" -eq 2 ] || fail "the replay has not changed members: $(installed)"
# Without a primary there is nobody to ask.
cat >"$scratch/told.json" <<'END'
{"schedule": 1, "nodes": 3, "faults": [
  {"fault": "kill-majority", "at_ms": 100, "for_ms": 9000},
  {"fault": "membership-add", "at_ms": 2000, "for_ms": 1000}]}
END
expect 0 'membership-add +0 +0 +1' run --time 10 --nemesis none --schedule "$scratch/told.json"
jq -se 'any(.[]; .phase == "skipped" and (.reason | test("primary|leads")))' "$store/latest/events.jsonl" >/dev/null ||
  fail "it is not told why membership-add was skipped"
# Plain processes can be members as well.
expect 0 'Linearizable.*membership' run --time 6 --provider host --nemesis membership-add,membership-wipe --fault-duration 500ms --fault-interval 500ms
expect_nothing_left "at the end"
finish
