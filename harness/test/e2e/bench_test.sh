#!/usr/bin/env bash
# `assay bench master` on its own: what it refuses, what it prints, and that it leaves nothing behind.
source "$(dirname "$0")/lib.sh"
place=$scratch/bench
mkdir "$place"
bench() { "$assay" bench master --directory "$place" --runs 1 --warm-up 0s --time 300ms "$@"; }
expect_no_files() { [ -z "$(ls -A "$place")" ] || fail "$1: files are left: $(ls -A "$place")"; }

expect 64 "'creates:8x32' is none" bench --case creates:8x32
expect 64 'needs 1 to 1024 connections' bench --case create:1025x1
expect 64 'needs 1 to 128 requests outstanding' bench --case create:8x129
expect 64 'needs 1 to 10000 names' bench --case list:8x32:0
expect 64 "--peers: 'consul' is none; known are etcd, zookeeper and plain" bench --peers etcd,consul
expect 64 'etcd is named twice' bench --peers etcd,etcd
expect 64 'exclude each other' bench --peers etcd --disks
expect 64 '--rate' bench --rate 0
expect 3 '--directory: cannot use /nowhere' "$assay" bench master --directory /nowhere
expect_no_files "after what was refused"

json=$(bench --case create:4x8,stat:1x1,list:2x2:10,rename:2x2,delete:2x2,set:2x2,mixed:2x2:5 --json --histogram "$scratch/h") ||
  fail "ended $?"
[ "$(jq -s 'length' <<<"$json")" -eq 7 ] || fail "not seven rows: $json"
[ "$(jq -s 'all(.ops_per_second > 0 and .failed == 0 and .peer == null and .p50_us <= .p90_us and .p90_us <= .p99_us
  and .p99_us <= .p999_us and .p999_us <= .max_us)' <<<"$json")" = true ] || fail "a row is wrong: $json"
[ "$(jq -rs 'map(.case) | join(" ")' <<<"$json")" = "create:4x8 stat:1x1 list:2x2:10 rename:2x2 delete:2x2 set:2x2 mixed:2x2:5" ] ||
  fail "not the cases that were asked for: $json"
[ "$(ls "$scratch" | grep -c '^h\..*\.assay$')" -eq 7 ] || fail "not a histogram a row: $(ls "$scratch")"
grep -q '^#\[Max     = ' "$scratch/h.create:4x8.assay" || fail "this is no histogram: $(head "$scratch"/h.create*)"
expect_no_files "after a run"

# Open loop: what is asked for, if it can be had at all.
json=$(bench --case stat:8x1 --rate 200 --json --histogram "$scratch/one") || fail "ended $?"
[ "$(jq '.rate == 200 and .ops_per_second <= 210 and .unsent <= 60' <<<"$json")" = true ] || fail "not 200 a second: $json"
[ -s "$scratch/one" ] || fail "one row's histogram has another name: $(ls "$scratch")"

# Killed: no process is left, and the next one removes the files.
setsid "$assay" bench master --directory "$place" --case create:8x32 --time 60s >"$scratch/killed" 2>&1 &
pid=$!
await_text "$place/assay-bench-*/assay/nodes/n1/log" . "$pid"
sleep 1
kill -KILL "$pid"
wait "$pid" 2>/dev/null
expect_nothing_left "after kill -9"
bench --case stat:1x1 >/dev/null || fail "ended $?"
expect_no_files "after the next run"

# Stopped by a person.
"$assay" bench master --directory "$place" --case create:8x32 --time 60s >"$scratch/stopped" 2>&1 &
pid=$!
await_text "$place/assay-bench-*/assay/nodes/n1/log" . "$pid"
kill -TERM "$pid"
wait "$pid"
[ $? -eq 3 ] || fail "SIGTERM is no success"
grep -q interrupted "$scratch/stopped" || fail "it does not say that it was stopped: $(cat "$scratch/stopped")"
expect_nothing_left "after SIGTERM"
expect_no_files "after SIGTERM"


# More connections than files may be open.
expect 3 'need 1280 open files, the limit is 300: raise it' bash -c "ulimit -n 300; exec \"$assay\" bench master --case stat:1024x1"
finish
