#!/usr/bin/env bash
# A store without room: the run ends by itself, says what is full, keeps what was recorded, and never calls it a verdict.
source "$(dirname "$0")/lib.sh"

# In a mount namespace of its own the store is a small file system.
if [ "${1:-}" != inside ]; then
  rm -rf "$scratch"
  [ "$(id -u)" -eq 0 ] && as_user=() || as_user=(--user --map-root-user)
  unshare "${as_user[@]}" --mount true 2>/dev/null || { echo "skipped: no mount namespaces here"; exit 77; }
  exec unshare "${as_user[@]}" --mount bash "$0" inside
fi
mkdir -p "$store" && mount -t tmpfs -o size=160m tmpfs "$store" || { echo "skipped: cannot mount here"; exit 77; }
output=$("$assay" run --provider host --time 60s --nemesis none --clients 16 --name full --store "$store" 2>&1)
status=$?
[ $status -eq 3 ] || fail "ended $status: $output"
grep -qE 'No verdict' <<<"$output" || fail "a failure must not look like a verdict: $output"
grep -qiE 'no space left' <<<"$output" || fail "what is full is not said: $output"
recorded=$(cat "$store"/full/*/parts/client-*.jsonl "$store"/full/*/history.jsonl 2>/dev/null | wc -l)
[ "$recorded" -ge 1000 ] || fail "only $recorded lines of history were kept: $output"
expect_nothing_left "after a full disk"
umount -l "$store" 2>/dev/null
finish
