#!/usr/bin/env bash
# Bad input: each with a message that names place and cure, and its exit code.
source "$(dirname "$0")/lib.sh"
h=$scratch/h.jsonl

expect 64 'usage: assay COMMAND' "$assay"
expect 0 'commands:' "$assay" --help
expect 0 'assay [0-9]' "$assay" --version
expect 0 '--nemesis FAULTS' "$assay" help run
expect 64 "did you mean 'assay check'" "$assay" chek
expect 64 "unknown command 'xyzzyplugh'" "$assay" xyzzyplugh
expect 64 'did you mean --nodes' "$assay" run --node 3
expect 64 'out of range: 1 to 9' "$assay" run --nodes 12
expect 64 'whole number' "$assay" run --seed banana
expect 64 'duration such as' "$assay" run --time soon
expect 64 '--time needs a value' "$assay" run --time
expect 64 'mixed' "$assay" run --workload nothing
expect 64 'partition' "$assay" run --nemesis earthquake
expect 64 'auto, netns, host, ssh or vagrant' "$assay" run --provider moon
expect 64 "a test's name" "$assay" run --name ../x
expect 64 'client-processes' "$assay" run --clients 1 --client-processes 2
expect 64 '/nowhere cannot be executed' "$assay" run --master /nowhere
expect 64 'takes no argument' "$assay" run mixed
expect 3 'cannot make directory /proc' "$assay" run --store /proc/nothing
expect 3 'no store at' "$assay" list --store "$scratch/nothing"
expect 3 'is not a run' "$assay" report "$scratch"
expect 64 'which history' "$assay" check
expect 64 'one history at a time' "$assay" check a b --certificate c

line() { printf '{"index":%s,"time":%s,"process":%s,"type":"%s","f":"mkdir","value":%s%s}\n' "$@"; }
good() { line 0 1 0 invoke '{"path":"/a"}' ',"op":4294967297' && line 1 2 0 ok '{"creator":4294967297}' ',"op":4294967297'; }

good >"$h" && expect 0 'valid' "$assay" check "$h"
good >"$h" && expect 0 '"verdict":"valid"' "$assay" check "$h" --json
expect 3 'nothing.jsonl' "$assay" check "$scratch/nothing.jsonl"
expect 3 '"error":' "$assay" check "$scratch/nothing.jsonl" --json
echo 'what?' >"$h" && good >>"$h" && expect 3 'h.jsonl:1: ' "$assay" check "$h"
{ good && line 2 3 5 ok '{"creator":1}' ''; } >"$h" && expect 3 'h.jsonl:3: ' "$assay" check "$h"
{ good && line 2 3 5 invoke '{"path":"/b"}' '' | sed s/mkdir/mkdirs/; } >"$h" && expect 3 'h.jsonl:3: .*mkdirs' "$assay" check "$h"
{ good && printf '{"index":2,"ti'; } >"$h" && expect 0 'valid' "$assay" check "$h"
{ good && printf '{"index":2,"ti\n'; } >"$h" && expect 3 'h.jsonl:3: ' "$assay" check "$h"
{ good && line 2 3 1 invoke '{"path":"/a"}' ',"op":8589934593' && line 3 4 1 ok '{"creator":8589934593}' ',"op":8589934593'; } >"$h"
expect 1 'invalid' "$assay" check "$h"
good >"$scratch/good.jsonl"
expect 1 '' "$assay" check "$scratch/good.jsonl" "$h"
expect 3 '' "$assay" check "$scratch/good.jsonl" "$h" "$scratch/nothing.jsonl"
expect 0 '' "$assay" check "$scratch/good.jsonl" --certificate "$scratch/certificate"
expect 0 '' "$ASSAY_BIN/assay-verify" "$scratch/good.jsonl" "$scratch/certificate"
expect 3 'cannot' "$assay" check "$scratch/good.jsonl" --certificate /proc/nothing/certificate
expect 1 '' "$assay" check "$h" --counterexample "$scratch/c.jsonl"
expect 1 '' "$assay" check "$scratch/c.jsonl"

# A master that cannot start, one that dies at once: the harness failed, and the end of its log is said.
printf '#!/bin/sh\necho "cannot open /data: no such thing" >&2\nexit 3\n' >"$scratch/broken"
chmod +x "$scratch/broken"
expect 3 'cannot open /data: no such thing' "$assay" run --provider host --master "$scratch/broken" --time 2s --store "$store"
expect_nothing_left "after a master that cannot start"
finish
