#!/usr/bin/env bash
# Metrics and health over HTTP: what a master that runs, waits for a majority, or is misconfigured says there.
source "$(dirname "$0")/lib.sh"

base=$((20000 + $$ % 1500 * 8)) # below the ports that the system hands out
client_port=$base peer_port=$((base + 1)) http_port=$((base + 2))
master() { "$ASSAY_BIN/assay-master" --cluster-id 7 --data "$scratch/$1" "${@:2}"; }
one=(--id 1 --member "1=127.0.0.1:$peer_port:$client_port" --http "127.0.0.1:$http_port")

# get PATH [METHOD]: status line, headers and body.
get() {
  exec 9<>"/dev/tcp/127.0.0.1/$http_port" || return 1
  printf '%s %s HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n' "${2:-GET}" "$1" >&9
  timeout 5 cat <&9 | tr -d '\r'
  exec 9<&- 9>&-
}
await_status() { # PATH CODE
  for _ in $(seq 100); do
    grep -q "^HTTP/1.1 $2 " <<<"$(get "$1" 2>/dev/null)" && return 0
    sleep 0.1
  done
  fail "$1 never answered $2: $(get "$1")"
}
metric() { get /metrics | sed -n "s/^$1 //p"; }
start() {
  "$ASSAY_BIN/assay-master" --cluster-id 7 --data "$scratch/$1" "${@:2}" >"$scratch/log" 2>&1 &
  master=$!
}
stop() {
  kill $master
  wait $master || fail "ended $? after SIGTERM: $(tail -n 3 "$scratch/log")"
}

# -- a node alone
start alone "${one[@]}"
await_status /primary 200
await_status /ready 200
expect 0 '^HTTP/1.1 200 .*' get /health
expect 0 '"healthy": true, "node": 1, "cluster": 7, "role": "primary", "term": [1-9]' get /health
for i in 1 2 3; do
  expect 0 '' "$assay" fs mkdir "/$i" --address "127.0.0.1:$client_port"
done
expect 1 'exists' "$assay" fs mkdir /1 --address "127.0.0.1:$client_port"
expect 0 'true' "$assay" fs exists /1 --address "127.0.0.1:$client_port"
[ "$(metric 'assay_operations_total{operation="mkdir",outcome="ok"}')" = 3 ] || fail "three directories were not counted"
[ "$(metric 'assay_operations_total{operation="mkdir",outcome="exists"}')" = 1 ] || fail "a refusal was not counted"
[ "$(metric assay_inodes)" = 4 ] || fail "$(metric assay_inodes) inodes, not 4"
[ "$(metric assay_promotions_total)" = 1 ] || fail "it became primary once"
[ "$(metric assay_log_sync_duration_seconds_count)" -ge 3 ] || fail "no syncs were counted"
[ "$(metric assay_commit_index)" = "$(metric assay_applied_index)" ] || fail "applied is not what is committed"
[ "$(metric process_open_fds)" -gt 10 ] || fail "no open descriptors"
[ "$(metric process_resident_memory_bytes)" -gt 1000000 ] || fail "no memory"
expect 0 'text/plain; version=0.0.4' get /metrics
expect 0 '^HTTP/1.1 404 ' get /else
expect 0 '^HTTP/1.1 405 ' get /metrics DELETE
# Many at once, some of whom go away without a word.
visitors=()
for i in $(seq 40); do
  (exec 8<>"/dev/tcp/127.0.0.1/$http_port" && printf 'GET /metrics HTTP/1.1\r\n' >&8) 2>/dev/null &
  visitors+=($!)
done
wait "${visitors[@]}"
await_status /health 200
# A port that is taken, and an address that is none.
expect 3 "--http on 127.0.0.1:$http_port.*another" master other --id 1 --member 1=127.0.0.1:$((base + 3)):$((base + 4)) \
  --http "127.0.0.1:$http_port"
expect 64 'http.*not an address' master other --id 1 --member 1=127.0.0.1:1:2 --http somewhere
stop

# -- a node without its majority
start waits "${one[@]}" --member 2=127.0.0.1:$((base + 3)):$((base + 4)) --member 3=127.0.0.1:$((base + 5)):$((base + 6))
await_status /health 503
expect 0 'no primary is known' get /health
expect 0 'not primary' get /primary
[ "$(metric 'assay_role{role="standby"}')" = 1 ] || fail "it is no standby"
stop
expect_nothing_left "at the end"
finish
