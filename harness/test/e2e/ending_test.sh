#!/usr/bin/env bash
# Runs that end early: Ctrl-C leaves a checked history, kill -9 leaves a history; neither leaves a process.
source "$(dirname "$0")/lib.sh"
netns_works || { echo "skipped: no namespaces here"; exit 77; }

# A run in a process group and session of its own, as a terminal starts it. A shell's background jobs would ignore Ctrl-C.
start() { # NAME
  : >"$scratch/$1"
  env --default-signal=INT setsid "$assay" run --time 60s --final 500ms --clients 16 --fault-interval 500ms --seed 3 --name "$1" \
    --store "$store" >"$scratch/$1" 2>&1 &
  pid=$!
}
running() { # NAME
  await_text "$store/$1/*/events.jsonl" '"phase":"running"' "$pid" &&
    await_text "$store/$1/*/events.jsonl" '"phase":"installed"' "$pid"
}

start interrupted
if running interrupted; then
  kill -INT -- "-$pid" 2>/dev/null || kill -INT "$pid"
  wait "$pid"
  status=$?
  run=$(readlink -f "$store/latest")
  [ $status -eq 0 ] || fail "an interrupted run ended $status: $(tail -n 20 "$scratch/interrupted")"
  [ "$(jq -r .verdict "$run/result.json")" = valid ] || fail "verdict $(jq -r .verdict "$run/result.json")"
  [ "$(jq -r .interrupted "$run/result.json")" = true ] || fail "the result does not say that it was interrupted"
  "$ASSAY_BIN/assay-verify" "$run/history.jsonl" "$run/certificate" >/dev/null || fail "the certificate is refused"
fi
expect_nothing_left "after Ctrl-C"

start killed
if running killed; then
  kill -KILL "$pid"
  wait "$pid" 2>/dev/null
  run=$(readlink -f "$store/latest")
  expect_nothing_left "after kill -9"
  expect 0 'valid|unknown' "$assay" check "$run/parts/client-0.jsonl"
fi
finish
