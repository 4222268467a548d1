#!/usr/bin/env bash
# The harness killed with -9 at any moment, whatever fault was present: nothing is left, and the next run does not mind.
# And two runs at once, each with every kind of fault: neither sees the other.
source "$(dirname "$0")/lib.sh"
netns_works || { echo "no namespaces here"; exit 77; }

# What a machine would show if something had leaked: links, packet filters, mounts.
outside() {
  cat /proc/net/dev | awk -F: 'NR > 2 { print $1 }' | sort
  nft list tables 2>/dev/null | grep -w assay
  grep -F "$scratch" /proc/mounts
  return 0
}
before=$(outside)

for moment in 0.05 0.7 2.5 4 5.5; do
  "$assay" run --nodes 3 --time 20 --clients 8 --nemesis all --fault-interval 300ms --fault-duration 1s --seed 4 \
    --store "$store" >"$scratch/output" 2>&1 &
  run=$!
  sleep "$moment"
  kill -KILL "$run"
  wait "$run" 2>/dev/null
  expect_nothing_left "killed after $moment s"
  [ "$(outside)" = "$before" ] || fail "killed after $moment s, it left: $(diff <(echo "$before") <(outside))"
done

# The processes that matter one by one: whichever dies, the run ends, says so, and leaves nothing.
for victim in 'assay nemesis' 'assay client'; do
  "$assay" run --nodes 3 --time 30 --clients 8 --nemesis all --fault-interval 300ms --fault-duration 1s --seed 4 \
    --store "$store" >"$scratch/output" 2>&1 &
  run=$!
  await_text "$scratch/output" 'primary n[0-9]' "$run" && sleep 2
  pid=$(pgrep -f -- "${victim/assay/$ASSAY_BIN/assay}.*$scratch" | head -n 1)
  if [ -n "$pid" ]; then kill -KILL "$pid"; else fail "no process of '$victim'"; fi
  wait "$run"
  status=$?
  [ $status -eq 3 ] || fail "without its '$victim' the run ended $status: $(tail -n 5 "$scratch/output")"
  expect_nothing_left "without '$victim'"
  [ "$(outside)" = "$before" ] || fail "without '$victim' it left: $(diff <(echo "$before") <(outside))"
done

pids=()
for seed in 1 2; do
  "$assay" run --nodes 3 --time 8 --clients 8 --client-processes 1 --nemesis all --fault-interval 300ms --fault-duration 700ms \
    --seed $seed --name "beside-$seed" --store "$store" --json >"$scratch/beside-$seed.json" 2>"$scratch/beside-$seed.log" &
  pids+=($!)
done
for seed in 1 2; do
  wait "${pids[$((seed - 1))]}" || fail "run $seed of two at once: $(tail -n 3 "$scratch/beside-$seed.json" "$scratch/beside-$seed.log")"
done
expect_nothing_left "two at once"
[ "$(outside)" = "$before" ] || fail "two at once left: $(diff <(echo "$before") <(outside))"
finish
