#!/usr/bin/env bash
# A cluster on three hosts over ssh: a run is valid; whatever breaks off leaves hosts that the next run can use.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/hosts.sh"
in_namespaces "$@"
hosts_up 3

run() { # FLAG…
  timeout 120 "$assay" run --clients 16 --final 1s --store "$store" --json "${ssh_flags[@]}" "$@" 2>"$scratch/text"
}

# A run in which one partition stays until somebody breaks it off; returns when the rules are there, with $runner set.
begin_cut_run() {
  run --time 60s --nemesis partition-halves --fault-interval 1ms --fault-duration 60s >"$scratch/json" &
  runner=$!
  for _ in $(seq 300); do
    [ -z "$(at_host 1 nft list tables)" ] || return 0
    sleep 0.1
  done
  fail "no partition came: $(cat "$scratch/text")"
}

# There are no processes but the test's own in here.
nemesis() { pgrep -f "^$assay nemesis"; }
agents() { pgrep -f "^$assay agent\$"; }
connection() { pgrep -f "^ssh .*root@10.24.0.$1"; }

expect_broken_off() { # WHAT TEXT: the run says so and ends 3
  wait "$runner"
  local status=$?
  [ $status -eq 3 ] || fail "$1: the run ended $status: $(cat "$scratch/text")"
  grep -qE -- "$2" "$scratch/text" "$scratch/json" || fail "$1: nobody says '$2': $(cat "$scratch/text")"
  expect_clean 3
}

expect_valid() { # WHAT FLAG…
  local output status json
  output=$(run --time 6s --seed 3 --nemesis partition,pause,kill --fault-interval 500ms --fault-duration 700ms "${@:2}")
  status=$?
  json=$(tail -n 1 <<<"$output")
  [ $status -eq 0 ] || fail "$1: ended $status: $(cat "$scratch/text")"
  [ "$(field "$json" verdict)" = valid ] || fail "$1: verdict: $json"
  [ "$(field "$json" replicas)" = equal ] || fail "$1: replicas: $json"
  for family in partition pause kill; do
    [ "$(jq "[.faults | to_entries[] | select(.key | startswith(\"$family\")) | .value.installed] | add // 0" <<<"$json")" -ge 1 ] ||
      fail "$1: no $family was installed: $json"
  done
  for node in n1 n2 n3; do
    [ -s "$(field "$json" run)/nodes/$node/log" ] || fail "$1: the log of $node was not fetched"
    [ ! -e "$(field "$json" run)/nodes/$node/data" ] || fail "$1: data of $node was kept after a good run"
  done
  expect_clean 3
}

expect_valid "the first run"

# A host has one run at a time; the other one is told so, and harms nobody.
begin_cut_run
expect 3 'another run uses this host' "$assay" run --time 5s --store "$scratch/other" "${ssh_flags[@]}"
kill -9 $(connection 2)
expect_broken_off "an ssh that was killed" 'the host of n2 cannot be reached any more'
broken=$(readlink -f "$store/latest")
[ -d "$broken/nodes/n2/data" ] || fail "the data of n2 was not fetched after a run that failed"

begin_cut_run
kill -9 $(nemesis)
expect_broken_off "a nemesis that was killed" 'nemesis ended with signal 9'

# An agent that is killed cannot clean up: the next one does.
begin_cut_run
kill -9 $(agents)
expect_broken_off "agents that were killed" 'cannot be reached any more'

# Everything at once: nobody is left to fetch or to remove, until the next run comes.
begin_cut_run
kill -9 $(agents) $(nemesis) $(pgrep -f "^$assay run") # agents first: they must not see the others end
wait "$runner" 2>/dev/null
[ -n "$(at_host 1 nft list tables)" ] || fail "the rules of a dead agent should still be there"
expect_valid "the run after everybody was killed" --tls

# A cluster that stays finds its data again.
timeout 60 "$assay" cluster up --store "$store" "${ssh_flags[@]}" >/dev/null 2>"$scratch/text" || fail "cluster up: $(cat "$scratch/text")"
expect 0 '' "$assay" fs mkdir /kept --store "$store"
expect 0 '3 nodes stopped' "$assay" cluster down --store "$store"
[ -z "$(at_host 1 nft list tables)$(agents)" ] || fail "something runs after cluster down"
timeout 60 "$assay" cluster up --store "$store" "${ssh_flags[@]}" >/dev/null 2>"$scratch/text" || fail "cluster up again: $(cat "$scratch/text")"
expect 0 'kept' "$assay" fs ls / --store "$store"
expect 0 '3 nodes stopped' "$assay" cluster down --store "$store"

expect 3 'n1 .*(command not found|No such file)' "$assay" run --time 5s --store "$store" "${ssh_flags[@]}" --agent "$scratch/nowhere"
expect 64 'node n3 has no host' "$assay" run --provider ssh --nodes 3 --host n1=10.24.0.1 --host n2=10.24.0.2
finish
