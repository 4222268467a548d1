#!/usr/bin/env bash
# A run as one file: everything in it, and a page that says what; unpacked, it is checked like the run itself.
source "$(dirname "$0")/lib.sh"
cd "$scratch"
expect 0 '' "$assay" run --provider host --clients 8 --nemesis kill-one --time 3s --final 0 --name good --store "$store"
run=$(readlink -f "$store/latest")
name=good-$(basename "$run")
mkdir -p "$run/nodes/n1/data" && echo stored >"$run/nodes/n1/data/table"

expect 64 'which run' "$assay" pack
expect 3 'is not a run' "$assay" pack "$scratch"
expect 64 'ends with .tar.gz or .tar.zst' "$assay" pack "$run" --output x.zip
expect 3 'cannot create /nowhere/.*--output' "$assay" pack "$run" --output /nowhere/x.tar.gz
expect 0 "^$name.tar.gz  [0-9.]+ MiB" "$assay" pack latest --store "$store"
expect 3 'is there already.*--force' "$assay" pack "$run"
expect 0 '"bytes":[1-9][0-9]*}' "$assay" pack "$run" --force --json

mkdir unpacked && tar -xzf "$name.tar.gz" -C unpacked || fail "tar cannot unpack it"
[ "$(ls unpacked)" = "$name" ] || fail "not one directory: $(ls unpacked)"
for file in README test.json result.json history.jsonl events.jsonl schedule.json certificate report.html logs/nemesis.log nodes/n2/log; do
  [ -e "unpacked/$name/$file" ] || fail "$file is not in it"
done
[ ! -e "unpacked/$name/nodes/n1/data" ] || fail "the masters' data is in it, unasked"
grep -q '^Again     assay run .*--nemesis kill-one' "unpacked/$name/README" || fail "no command: $(cat "unpacked/$name/README")"
cmp "$run/history.jsonl" "unpacked/$name/history.jsonl" || fail "the history is another one"
expect 0 'valid' "$assay" check "unpacked/$name"
expect 0 '' "$ASSAY_BIN/assay-verify" "unpacked/$name/history.jsonl" "unpacked/$name/certificate"

tar -tvzf "$name.tar.gz" | awk '$2 != "0/0"' | grep . && fail "it names who packed it"
expect 0 '' "$assay" pack "$run" --with-data --output data.tar.gz
tar -tzf data.tar.gz | grep -x "$name/nodes/n1/data/table" >/dev/null || fail "no data with --with-data: $(tar -tzf data.tar.gz)"
if command -v zstd >/dev/null; then
  expect 0 '' "$assay" pack "$run" --output x.tar.zst
  tar --zstd -tf x.tar.zst | grep -x "$name/README" >/dev/null || fail "the .tar.zst holds $(tar --zstd -tf x.tar.zst)"
fi

# What cannot be finished leaves nothing behind, and what was there stays.
before=$(cksum <data.tar.gz)
mkdir empty
expect 3 'no tar on this machine' env PATH="$scratch/empty" "$assay" pack "$run" --output data.tar.gz --force
printf '#!/bin/sh\nprintf "tar: disk is full\\n" >&2\necho half\nexit 2\n' >empty/tar && chmod +x empty/tar
expect 3 'cannot pack .*disk is full' env PATH="$scratch/empty:$PATH" "$assay" pack "$run" --output data.tar.gz --force
[ "$(cksum <data.tar.gz)" = "$before" ] || fail "a pack that failed replaced the one that was there"
leftover=$(find "$scratch" -maxdepth 1 -name '*.part*'; find /tmp -maxdepth 1 -name 'assay-pack-*' -user "$(id -u)")
[ -z "$leftover" ] || fail "left behind: $leftover"
expect_nothing_left "at the end"
finish
