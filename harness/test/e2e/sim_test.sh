#!/usr/bin/env bash
# The simulator as a person and a script use it: wrong usage, the same seed again, looking at one run, what is saved.
# In a build with defects also that one is found, saved, shrunk, and found again by the plan that was saved.
source "$(dirname "$0")/lib.sh"
sim() { "$assay" sim "$@" --store "$store"; }
totals() { sim "$@" --json 2>/dev/null </dev/null | tail -n 1; }

expect 0 '--seeds A..B' "$assay" sim --help
expect 64 'ends before it begins' "$assay" sim --seeds 9..3
expect 64 'seeds as in 1..1000' "$assay" sim --seeds 1..
expect 64 'takes a seed' "$assay" sim --seed -1
expect 64 'exclude each other' "$assay" sim --seed 1 --seeds 1..2
expect 64 'exclude each other' "$assay" sim --seed 1 --shrink --no-shrink
expect 64 'look at one run' "$assay" sim --seeds 1..2 --trace
expect 64 'stands alone' "$assay" sim --seed 1 nonsense
expect 64 'choose a part' "$assay" sim --seed 1 --from 2s
expect 64 "a transition's number or a time" "$assay" sim --seed 1 --trace --from 2x
expect 64 '3 or 5' "$assay" sim --nodes 4
expect 64 'earthquake' "$assay" sim --faults earthquake
expect 64 'mixed' "$assay" sim --workload nothing
expect 64 'cannot open' "$assay" sim --plan "$scratch/nothing.json"
expect 64 'draws nothing' "$assay" sim --plan "$scratch/nothing.json" --nodes 3
expect 3 'cannot write' "$assay" sim --seed 1 --trace /proc/nothing

# Whatever the jobs, the same seeds come to the same; other seeds do not.
one=$(totals --seeds 1..40 --jobs 1)
two=$(totals --seeds 1..40 --jobs 3)
other=$(totals --seeds 2..41 --jobs 2)
[ "$(field "$one" seeds)" = 40 ] && [ "$(field "$one" failed)" = 0 ] || fail "seeds 1..40: $one"
[ "$(field "$one" digest)" = "$(field "$two" digest)" ] || fail "one job and three differ: $one $two"
[ "$(field "$one" digest)" != "$(field "$other" digest)" ] || fail "other seeds have the same digest: $other"
for member in simulated_seconds wall_seconds simulated_seconds_per_core_second operations ok transitions; do
  awk "BEGIN { exit !($(field "$one" $member) > 0) }" || fail "totals have no $member: $one"
done
[ "$(field "$one" 'faults | length')" -ge 10 ] || fail "hardly a fault took hold: $one"

# The time that may be spent, and a seed that nobody drew.
expect 0 'the time is over' sim --seeds 1..1000000 --time-budget 1s
expect 0 'No violation in 1 seed\.' sim --seed 9223372036854775807

# Looking at one: the same to the byte, in part, in a file, as a picture, up to a point.
sim --seed 7 --trace "$scratch/a.txt" >/dev/null && sim --seed 7 --trace >"$scratch/b.txt" 2>/dev/null
cmp -s "$scratch/a.txt" "$scratch/b.txt" && [ -s "$scratch/a.txt" ] || fail "two traces of a seed differ"
[ "$(sim --seed 7 --digest)" = "$(sim --seed 7 --digest)" ] || fail "two digests of a seed differ"
[ "$(sim --seed 7 --digest)" != "$(sim --seed 8 --digest)" ] || fail "two seeds have the same digest"
last=$(sim --seed 7 --trace --until 100 2>/dev/null | tail -n 1 | awk '{print $1}')
[ "$last" -lt 100 ] && [ "$last" -gt 50 ] || fail "--until 100 ended at $last"
sim --seed 7 --trace --from 1s --to 2s 2>/dev/null | awk '$2 < 1 || $2 > 2 { exit 1 }' || fail "--from 1s --to 2s shows more"
sim --seed 7 --trace --from 10 --to 20 2>/dev/null | awk '$1 < 10 || $1 > 20 { exit 1 }' || fail "--from 10 --to 20 shows more"
sim --seed 7 --sequence "$scratch/s.svg" >/dev/null || fail "no picture"
head -c 200 "$scratch/s.svg" | grep -q '^<svg ' && tail -n 1 "$scratch/s.svg" | grep -q '^</svg>$' || fail "not a picture"
(ulimit -c 0; sim --seed 7 --break-at 100 >/dev/null 2>&1) 2>/dev/null
[ $? -eq 133 ] || fail "--break-at raised no SIGTRAP"
expect 0 'No violation' sim --seed 7
[ ! -e "$store/sim" ] || fail "healthy seeds left something: $(ls "$store/sim")"

if ! "$assay" bugs --help | grep -q -- --where; then
  expect 64 'ci/build bugs' "$assay" sim --seed 1 --bug early-ack
  expect 64 'ci/build bugs' "$assay" bugs
  finish
fi

# A defect: found, told, saved; the shrunk plan shows it again.
expect 64 'there is no defect' "$assay" sim --seed 1 --bug nonsense
output=$(sim --seeds 1..500 --bug no-parent-lock --stop-at-first --shrink-runs 60 --json 2>/dev/null </dev/null)
[ $? -eq 1 ] || fail "no-parent-lock was not found: $output"
found=$(head -n 1 <<<"$output")
directory=$(field "$found" trace)
for name in plan.json shrunk.json history.jsonl trace.txt sequence.svg result.json; do
  [ -s "$directory/$name" ] || fail "no $name in $directory"
done
[ "$(field "$(tail -n 1 <<<"$output")" failed)" = 1 ] || fail "totals: $output"
expect 1 "$(field "$found" kind)" sim --plan "$(field "$found" plan)" --bug no-parent-lock --no-shrink
expect 1 'again    assay sim --plan' sim --plan "$directory/shrunk.json" --bug no-parent-lock --sequence "$scratch/s.svg" --until 99999999
expect 1 "$(field "$found" kind)" sim --seed "$(field "$found" seed)" --bug no-parent-lock --no-shrink
again=$(sim --seeds 1..500 --bug no-parent-lock --stop-at-first --no-shrink --jobs 3 --json 2>/dev/null </dev/null | head -n 1)
[ "$(field "$again" seed)" = "$(field "$found" seed)" ] || fail "with three jobs another seed is the first: $again"

# What is wrong in one history only: a counterexample that stands alone.
output=$(sim --seeds 1..500 --bug info-as-fail --stop-at-first --no-shrink --json 2>/dev/null </dev/null | head -n 1)
[ "$(field "$output" kind)" = history ] || fail "info-as-fail: $output"
expect 1 'invalid' "$assay" check "$(field "$output" trace)/counterexample.jsonl"

expect 0 '1 of 1 defects found' "$assay" bugs --bug early-ack --ranges 2 --seeds 100 --store "$store"
expect 64 'simulator, processes or both' "$assay" bugs --where moon
expect 64 'there is no defect' "$assay" bugs --bug nonsense
finish
