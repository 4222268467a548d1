#!/usr/bin/env bash
# Faults of snapshots on real masters under load: what the masters' own logs say of their last moments is the proof that they
# were hit while they took, sent or installed one. (The table of faults, nemesis/test/table/, proves the rest without masters.)
source "$(dirname "$0")/lib.sh"
netns_works || { echo "skipped: no namespaces here"; exit 77; }
tries=3

# run_fault FAULT SEED: one run with this fault alone. Sets `run`, the run's directory, and `acts`, how often the nemesis acted.
run_fault() {
  local json
  printf '{"schedule": 1, "nodes": 3, "faults": [{"fault": "%s", "at_ms": 1000, "for_ms": 5000, "draw": %d}]}' "$1" "$2" \
    >"$scratch/schedule.json"
  json=$("$assay" run --time 7s --final 1s --clients 16 --nemesis none --schedule "$scratch/schedule.json" --seed "$2" \
    --name "$1" --store "$store" --json 2>"$scratch/text" | tail -n 1)
  [ "$(field "$json" verdict)" = valid ] || fail "$1: $(cat "$scratch/text")"
  [ "$(field "$json" replicas)" = equal ] || fail "$1: the replicas are not equal"
  run=$(field "$json" run)
  acts=$(jq -s 'map(select(.process == "nemesis" and .f == "act" and .type == "info" and (.value.reason | not))) | length' \
    "$run/history.jsonl")
}

# cut_short BEGIN END: how often, in the logs of the run, the node was started again between BEGIN and END.
cut_short() {
  awk -v begin="$1" -v end="$2" 'FNR == 1 { open = 0 } /serves clients on/ { cut += open; open = 0 }
    $0 ~ begin { open = 1 } $0 ~ end { open = 0 } END { print cut + 0 }' "$run"/nodes/*/log
}

# How often nothing was said for a second or more by a node that had begun to receive a snapshot.
fell_silent() {
  awk '{ split($1, t, /[T:Z]/); now = t[2] * 3600 + t[3] * 60 + t[4] } FNR == 1 { open = 0 }
    open && now - last >= 1 { silent++ } { open = /receiving a snapshot/ ? 1 : 0; last = now } END { print silent + 0 }' "$run"/nodes/*/log
}

starts() { cat "$run"/nodes/*/log | grep -c 'serves clients on'; }

# Whether the run shows what the fault is named after.
shows() {
  case $1 in
  snapshot-kill-taking) [ "$acts" -eq 1 ] && [ "$(starts)" -eq 4 ] ;;
  snapshot-kill-sending) [ "$(cut_short 'is offered a snapshot' 'has the snapshot|is given up')" -ge 1 ] ;;
  snapshot-kill-installing | snapshot-lag-kill) [ "$(cut_short 'receiving a snapshot' 'installed the snapshot|is given up')" -ge 1 ] ;;
  snapshot-pause-installing) [ "$(fell_silent)" -ge 1 ] ;;
  snapshot-lag) [ "$acts" -ge 1 ] && [ "$(starts)" -eq 3 ] && grep -q 'installed the snapshot' "$run"/nodes/*/log ;;
  *) fail "no proof for $1"; return 0 ;;
  esac
}

# The moment may not come while the fault stays, on a machine that is busy.
for fault in $("$assay" nemesis list --json | jq -rs 'flatten | .[] | select(.family == "snapshot") | .fault'); do
  shown=false
  for try in $(seq $tries); do
    run_fault "$fault" "$try"
    ! shows "$fault" || { shown=true; break; }
  done
  $shown || fail "$fault did not come to its moment in $tries runs; the logs of the last are in $run/nodes"
  echo "$fault: run $try, $acts acts"
done
finish
