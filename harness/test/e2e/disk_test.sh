#!/usr/bin/env bash
# What a master does when its disk forgets, is full, or fails: it keeps what it has acknowledged, refuses and recovers, or ends
# with a word and comes back with all that it has promised.
source "$(dirname "$0")/lib.sh"
netns_works || { echo "no namespaces here"; exit 77; }
[ -r /dev/fuse ] && [ -w /dev/fuse ] || { echo "skipped: /dev/fuse cannot be opened here"; exit 77; }

told() { # FAULTS: a run of these and no others; its directory is $run, its result $json
  echo "{\"schedule\": 1, \"nodes\": 3, \"faults\": [$1]}" >"$scratch/told.json"
  json=$("$assay" run --time 6 --clients 16 --client-processes 1 --seed 1 --schedule "$scratch/told.json" --store "$store" --json 2>/dev/null)
  run=$(field "$json" run)
  [ "$(field "$json" verdict)" = valid ] || fail "$1: $json"
  [ "$(jq -s 'map(select(.phase == "healed")) | length' "$run/events.jsonl")" = "$2" ] || fail "not every fault came: $json"
}
evidence() { jq -s "map(select(.phase == \"healed\")) | .[$1].evidence.$2" "$run/events.jsonl"; }
# The last entries of the logs that a node has started with, in order.
log_ends() { sed -nE 's/.*raft starts: .*log \([0-9]+, ([0-9]+)\].*/\1/p' "$run/nodes/$1/log"; }

# Every node forgets all that it has not synced, in its first seconds and again: the names of the log's files and directories
# are durable, too.
loss='"fault": "disk-power-loss-all", "for_ms": 300, "numbers": {"keeps": 0, "draw": 1}'
told "{\"at_ms\": 1000, $loss}, {\"at_ms\": 3500, $loss}" 2
for node in n1 n2 n3; do
  ends=($(log_ends $node))
  [ "${ends[1]}" -gt 1 ] && [ "${ends[2]}" -ge "${ends[1]}" ] || fail "$node has forgotten its log: ${ends[*]}"
done

# A full disk refuses writes; reads go on; there is room again, and so is everything else. Where the others' disks had room for
# one entry more than the primary's, it is committed, and reads wait until the primary has it too: then once more.
during() { jq -n "[inputs | select(.type == \"ok\" and (.f == \"$1\" or .f == \"$2\") and .time > ${window% *} and .time < ${window#* })] | length" \
  <(tail -n +2 "$run/history.jsonl"); }
for try in 1 2 3 4 5; do
  told '{"fault": "disk-full-all", "at_ms": 1500, "for_ms": 2000, "numbers": {"for_all": 1}}' 1
  [ "$(evidence 0 calls_refused | cut -d. -f1)" -gt 0 ] || fail "nothing met the full disk"
  grep -q '"state":"died"' "$run/events.jsonl" && fail "a node ended over a full disk"
  window=$(jq -s 'map(select(.fault == "disk-full-all")) | [.[] | .time_ns] | "\(.[0] + 500000000) \(.[1])"' -r "$run/events.jsonl")
  [ "$(during create mkdir)" -eq 0 ] || fail "what a full disk did not take was acknowledged"
  # On a machine that is too busy, followers may lose their patience, and without room nobody can be elected.
  [ "$(field "$json" elections)" -gt 0 ] || [ "$(during stat list)" -gt 100 ] && break
  [ "$try" -lt 5 ] || fail "reads stood still: $(during stat list) in 1.5 s"
done

# An fsync fails: the node ends with a word. What it could not sync is gone at the next power loss unless it was written again,
# so what it starts with must be written again first.
told '{"fault": "disk-error-sync", "at_ms": 1000, "for_ms": 700, "targets": ["n1"], "numbers": {"chance": 1, "draw": 1}},
  {"fault": "disk-power-loss-one", "at_ms": 3500, "for_ms": 500, "targets": ["n1"], "numbers": {"keeps": 0, "draw": 1}}' 2
grep -q '"node":"n1","state":"ended","reason":"exit status 3"' "$run/events.jsonl" || fail "n1 did not end over it"
grep -qE 'syncing log-.* failed: Input/output error' "$run/nodes/n1/log" || fail "n1 does not say why"
ends=($(log_ends n1))
[ "${#ends[@]}" -eq 3 ] && [ "${ends[2]}" -ge "${ends[1]}" ] || fail "n1 has forgotten its log: ${ends[*]}"

ls "$run"/nodes/*/data >/dev/null 2>&1 && fail "the masters' data should be gone after a good run"
ls "$run"/nodes/*/hidden >/dev/null 2>&1 && fail "something of the disks is left"
expect_nothing_left "at the end"
finish
