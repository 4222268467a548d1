#!/usr/bin/env bash
# A master whose disk is full again and again, at any byte, goes on by itself when there is room; its history is linearizable.
source "$(dirname "$0")/lib.sh"

# In a mount namespace of its own the data are in a small file system whose size changes.
if [ "${1:-}" != inside ]; then
  rm -rf "$scratch"
  [ "$(id -u)" -eq 0 ] && as_user=() || as_user=(--user --map-root-user)
  unshare "${as_user[@]}" --mount true 2>/dev/null || { echo "skipped: no mount namespaces here"; exit 77; }
  exec unshare "${as_user[@]}" --mount bash "$0" inside
fi
client_port=$((20000 + $$ % 10000 * 2)) peer_port=$((20001 + $$ % 10000 * 2))
mkdir -p "$scratch/data" && mount -t tmpfs -o size=1g tmpfs "$scratch/data" || { echo "skipped: cannot mount here"; exit 77; }
"$ASSAY_BIN/assay-master" --id 1 --cluster-id 7 --data "$scratch/data" --member "1=127.0.0.1:$peer_port:$client_port" \
  --snapshot-threshold 500 >"$scratch/master.log" 2>&1 &
master=$!
expect 0 '' "$assay" fs mkdir --address "127.0.0.1:$client_port" /before
"$assay" client --address "127.0.0.1:$client_port" --time 20s --request-timeout 20s --history "$scratch/history.jsonl" >/dev/null &
client=$!
RANDOM=1
while kill -0 $client 2>/dev/null; do
  # Bytes run out, or names (which a link takes as well).
  if [ $((RANDOM % 2)) -eq 0 ]; then
    limit=size=$(($(df --output=used -k "$scratch/data" | tail -n 1) + RANDOM % 600 + 4))k
  else
    limit=nr_inodes=$(($(df --output=iused "$scratch/data" | tail -n 1) + RANDOM % 4))
  fi
  mount -o "remount,$limit" "$scratch/data" 2>/dev/null
  sleep 0.$((RANDOM % 8 + 1)) # the disk is full for a while: time is what is tested
  mount -o remount,size=1g,nr_inodes=100000 "$scratch/data"
  sleep 0.3
done
wait $client
kill -0 $master 2>/dev/null || fail "the master ended: $(tail -n 3 "$scratch/master.log")"
expect 0 '' "$assay" fs mkdir --address "127.0.0.1:$client_port" --timeout 15s /after
met=$(grep -c 'No space left' "$scratch/master.log")
[ "$met" -ge 3 ] || fail "the tables met a full disk $met times only: this test shows nothing"
kill $master
wait $master || fail "ended $? after SIGTERM"
expect 0 'valid' "$assay" check "$scratch/history.jsonl"
umount -l "$scratch/data"
finish
