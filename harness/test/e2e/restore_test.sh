#!/usr/bin/env bash
# A backup taken under load becomes another cluster with the same state; a damaged one, or one that would overwrite
# something, becomes nothing.
source "$(dirname "$0")/lib.sh"

base=$((20000 + $$ % 1000 * 12)) # below the ports that the system hands out
declare -A pids=()
# member FIRST: the flags of three members whose ports begin there.
member() { for id in 1 2 3; do printf -- '--member %d=127.0.0.1:%d:%d ' $id $(($1 + 2 * id)) $(($1 + 2 * id + 1)); done; }
addresses() { for id in 1 2 3; do printf -- '--address 127.0.0.1:%d ' $(($1 + 2 * id + 1)); done; }
start() { # NAME CLUSTER FIRST ID
  "$ASSAY_BIN/assay-master" --id $4 --cluster-id $2 --data "$scratch/$1-$4" $(member $3) >>"$scratch/$1-$4.log" 2>&1 &
  pids[$1-$4]=$!
}
stop() { kill ${pids[$1]} && wait ${pids[$1]} || fail "$1 ended $?: $(tail -n 3 "$scratch/$1.log")"; unset "pids[$1]"; }
await_primary() {
  for _ in $(seq 100); do
    grep -q '^primary' <<<"$("$assay" admin report $(addresses $1) 2>/dev/null)" && return 0
    sleep 0.1
  done
  fail "no primary: $("$assay" admin report $(addresses $1) 2>&1)"
}
# Waits until all three have applied the same; complains when they do not.
await_equal() {
  local report
  for _ in $(seq 100); do
    report=$("$assay" admin report $(addresses $1) --json --hash)
    [ "$(jq -r '[.nodes[].state_hash] | unique | length' <<<"$report")" = 1 ] && return 0
    sleep 0.1
  done
  fail "the nodes differ: $report"
}
names() { "$assay" fs ls / $(addresses $1) --json | jq -S '.entries'; }
restore() { # NAME CLUSTER FIRST ID [FLAG…]
  "$assay" admin restore "$scratch/backup" --id $4 --cluster-id $2 --data "$scratch/$1-$4" $(member $3) "${@:5}"
}

old=$base new=$((base + 6))
for id in 1 2 3; do start old 7 $old $id; done
await_primary $old
"$assay" client $(addresses $old) --time 60s --history "$scratch/history.jsonl" >/dev/null &
client=$!
sleep 3
expect 0 'cluster 7 at index' "$assay" admin backup "$scratch/under-load" $(addresses $old)
kill $client
wait $client
expect 0 '' "$assay" fs mkdir /kept $(addresses $old)
expect 0 '' "$assay" fs create /kept/file $(addresses $old)
await_equal $old # what is asked of the first node below it must have applied
expect 0 'cluster 7 at index' "$assay" admin backup "$scratch/backup" $(addresses $old)
before=$(names $old) inodes=$("$assay" admin report $(addresses $old) --json | jq '.nodes[0].inodes')
hash_before=$("$assay" admin report $(addresses $old) --json --hash | jq -r '.nodes[0].state_hash')

# -- what is refused, and leaves nothing
expect 3 'cluster 7 itself.*--same-cluster' restore other 7 $new 1
expect 3 'is not empty, and nothing is overwritten' restore old 8 $new 1
expect 3 'is no backup' "$assay" admin restore "$scratch/history.jsonl.d" --id 1 --cluster-id 8 --data "$scratch/x" $(member $new)
expect 64 'directory of the backup first' "$assay" admin restore --id 1
cp -r "$scratch/backup" "$scratch/spare"
for file in "$scratch"/backup/*; do
  name=$(basename "$file")
  [ -s "$file" ] || continue
  printf '\x5a' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") / 2)) conv=notrunc status=none
  cmp -s "$file" "$scratch/spare/$name" && continue
  expect 3 '(checksum|manifest)' restore other 8 $new 1
  cp "$scratch/spare/$name" "$file"
  truncate -s -1 "$file"
  expect 3 '(shorter|manifest)' restore other 8 $new 1
  cp "$scratch/spare/$name" "$file"
  rm "$file"
  expect 3 '(cannot be opened|no backup)' restore other 8 $new 1
  cp "$scratch/spare/$name" "$file"
done
[ ! -e "$scratch/other-1" ] || fail "a restore that failed left something"

# -- the round trip; node 3 begins empty and is brought up by the others
for id in 1 2; do
  expect 0 'holds the state of cluster 7 at index' restore new 8 $new $id
  start new 8 $new $id
done
await_primary $new
start new 8 $new 3
[ "$(names $new)" = "$before" ] || fail "the names are others"
expect 0 'true' "$assay" fs exists /kept/file $(addresses $new)
hash_after=$("$assay" admin report $(addresses $new) --json --hash | jq -r '.nodes[0].state_hash')
[ -n "$hash_before" ] && [ "$hash_before" = "$hash_after" ] || fail "the state's hash was $hash_before and is $hash_after"
[ "$("$assay" admin report $(addresses $new) --json | jq '.nodes[0].inodes')" = "$inodes" ] || fail "another number of inodes"
expect 0 '' "$assay" fs mkdir /kept/more $(addresses $new)
"$assay" client $(addresses $new) --time 3s --history "$scratch/after.jsonl" >/dev/null || fail "no load on what was restored"
await_equal $new
# Over a restart of all, and what was taken under load is whole, too.
for id in 1 2 3; do stop new-$id; done
for id in 1 2 3; do start new 8 $new $id; done
await_primary $new
expect 0 'true' "$assay" fs exists /kept/more $(addresses $new)
for id in 1 2 3; do stop new-$id; stop old-$id; done
rm -r "$scratch/backup" && mv "$scratch/under-load" "$scratch/backup"
expect 0 'at index' restore again 7 $new 1 --same-cluster
# -- a restore that was broken off is no empty node
rm -r "$scratch/again-1/tables"
expect 3 'log begins behind' timeout 10 "$ASSAY_BIN/assay-master" --id 1 --cluster-id 7 --data "$scratch/again-1" $(member $new)
expect_nothing_left "at the end"
finish
