#!/usr/bin/env bash
# `assay bench master --peers`: each peer alone and both, that rows and ratios are there, and that nothing is left.
source "$(dirname "$0")/lib.sh"
place=$scratch/bench
mkdir "$place"
skip() { echo "skipped: $*"; rm -rf "$scratch"; exit 77; }
command -v etcd >/dev/null || skip "etcd is not installed (ci/setup peers)"
command -v java >/dev/null || skip "java is not installed (ci/setup peers)"
[ -r /usr/share/java/zookeeper.jar ] || skip "zookeeper is not installed (ci/setup peers)"
probe=$("$assay" bench master --peers etcd --case rename:1x1 --runs 1 --warm-up 0s --time 100ms --directory "$place" 2>&1)
! grep -q 'built without libnghttp2' <<<"$probe" || skip "assay was built without libnghttp2 (ci/setup peers, then ci/build)"

json=$("$assay" bench master --peers etcd,zookeeper --case create:4x8,stat:2x4,list:2x2:20,delete:2x2,set:2x4,mixed:2x4,rename:1x1 \
  --runs 1 --warm-up 100ms --time 500ms --directory "$place" --json 2>"$scratch/errors") || fail "ended $?: $(cat "$scratch/errors")"
[ "$(jq -s 'map(select(.peer == null)) | length' <<<"$json")" -eq 7 ] || fail "not seven rows of ours: $json"
for peer in etcd zookeeper; do
  [ "$(jq -rs --arg peer $peer 'map(select(.peer == $peer) | .case) | join(" ")' <<<"$json")" = \
    "create:4x8 stat:2x4 list:2x2:20 delete:2x2 set:2x4 mixed:2x4" ] || fail "not the rows of $peer: $json"
done
# A peer may pause for longer than such a run: then it has no ratio.
[ "$(jq -s 'all(.failed == 0 and (.ops_per_second > 0 or (.peer and .ratio == null)))
  and (map(select(.peer and .ops_per_second > 0)) | length >= 8)' <<<"$json")" = true ] || fail "a row is wrong: $json"
[ "$(jq -s '. as $rows | all(.[] | select(.ratio); . as $row |
  ($rows[] | select(.case == $row.case and .peer == null) | .ops_per_second) / .ops_per_second / .ratio | . > 0.98 and . < 1.02)' <<<"$json")" = true ] ||
  fail "a ratio is not that of its rows: $json"
expect_nothing_left "after a run"
[ -z "$(ls -A "$place")" ] || fail "files are left: $(ls -A "$place")"

setsid "$assay" bench master --peers etcd,zookeeper --directory "$place" --case create:2x2 --time 60s >"$scratch/killed" 2>&1 &
pid=$!
await_text "$place/assay-bench-*/zookeeper/log-3" . "$pid"
kill -KILL "$pid"
wait "$pid" 2>/dev/null
expect_nothing_left "after kill -9"

expect 3 'needs the program etcd, which is not in \$PATH: run ci/setup peers' env PATH=/nowhere "$assay" bench master --peers etcd \
  --case stat:1x1 --directory "$place"
[ -z "$(ls -A "$place")" ] || fail "files of the killed one are left: $(ls -A "$place")"
finish
