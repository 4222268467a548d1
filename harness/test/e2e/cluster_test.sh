#!/usr/bin/env bash
# A cluster to play with: up, every fs command with its exit codes, status, down, up again with the same data.
source "$(dirname "$0")/lib.sh"
# A process that has joined a sandbox does not find itself in /proc, which the leak checker of sanitizer builds needs.
export ASAN_OPTIONS=detect_leaks=0
on=(--store "$store")
fs() { "$assay" fs "$@" "${on[@]}"; }

expect 3 'no cluster is up' "$assay" cluster status "${on[@]}"
expect 3 'no cluster is up' "$assay" fs ls / "${on[@]}"
expect 0 'n3 ' "$assay" cluster up "${on[@]}"
trap '"$assay" cluster down "${on[@]}" >/dev/null 2>&1; rm -rf "$scratch"' EXIT
expect 3 'up in .* already' "$assay" cluster up "${on[@]}"
expect 0 'primary' "$assay" cluster status "${on[@]}"
expect 0 '' fs mkdir /a
expect 1 'exists already' fs mkdir /a
expect 0 '' fs mkdir /a --exist-ok
expect 1 'no such file' fs mkdir /x/y/z
expect 0 '' fs mkdir /x/y/z --parents
expect 0 '' fs create /a/f
expect 0 'version 2' fs set /a/f hello
expect 1 'version 2' fs set /a/f again --if-version 1
expect 0 'version 3' fs set /a/f again --if-version 2
expect 0 'value +again' fs stat /a/f
expect 0 'version 4' fs complete /a/f --length 4K
expect 0 'length +4096' fs stat /a/f
expect 1 'completed already' fs complete /a/f
expect 0 '' fs create /a/b
block=$(fs add-block /a/b --json | jq .block)
expect 0 'uncommitted' fs blocks /a/b
expect 1 'not committed' fs complete /a/b
expect 0 '' fs commit-block "$block" --length 1K --worker 2
expect 1 'one length' fs commit-block "$block" --length 2K
expect 0 "$block +1024" fs blocks /a/b
expect 1 'no such file' fs commit-block 77
expect 64 'no block id' fs commit-block first
expect 1 'invalid' fs complete /a/b
expect 0 'version 4' fs complete /a/b --length 1K
cat >"$scratch/batch" <<'END'
{"f": "mkdir", "value": {"path": "/batch"}}
{"f": "create", "value": {"path": "/batch/f"}}
{"f": "set", "value": {"path": "/batch/f", "value": "v"}}
END
expect 0 '3 operations done' fs batch "$scratch/batch"
expect 1 'nothing was done, because of operation 1: exists already' fs batch "$scratch/batch"
expect 1 '"at":0' fs batch "$scratch/batch" --json
echo '{"f": "set", "value": {"path": "/batch", "value": "w"}}' >"$scratch/one"
expect 0 '"answers":\[\{"version":3\}\]' bash -c "'$assay' fs batch - --json ${on[*]} <'$scratch/one'"
echo '{"f": "stat", "value": {"path": "/batch"}}' >>"$scratch/batch"
expect 64 'batch:4' fs batch "$scratch/batch"
expect 64 'nowhere' fs batch "$scratch/nowhere"
expect 0 '' fs rm /batch --recursive
expect 0 '' fs rm /a/b
expect 0 '' fs mv /a/f /a/g
expect 0 'false' fs exists /a/f
expect 0 'true' fs exists /a/g
expect 0 '4096 .*/a/g' fs ls /a
expect 0 '"entries":\[\{"name":"g","kind":"file"' fs ls /a --json
expect 0 '2 items' fs ls /
expect 1 'not empty' fs rm /x
expect 0 '' fs rm /x --recursive
expect 1 'invalid' fs rm /
expect 1 'not a directory' fs ls /a/g
expect 64 'takes PATH' fs stat
expect 64 'did you mean --parents' fs mkdir /b --parent
expect 0 '"role":"primary"' "$assay" cluster status "${on[@]}" --json
expect 0 'stopped' "$assay" cluster down "${on[@]}"
expect_nothing_left "after cluster down"
expect 3 'no cluster is up' fs ls /
expect 0 '' "$assay" cluster up "${on[@]}"
expect 0 'value +again' fs stat /a/g
supervisor=$(jq .supervisor "$store/cluster/state.json")
kill -KILL "$supervisor"
expect_nothing_left "after kill -9 of the supervisor"
expect 3 'no cluster is up' "$assay" cluster status "${on[@]}"
[ -e "$store/cluster/state.json" ] && fail "the state of a dead cluster was not cleaned away"
expect 64 'holds the data of 3 nodes' "$assay" cluster up --nodes 1 "${on[@]}"
expect 0 '' "$assay" cluster up --nodes 1 --fresh --provider host "${on[@]}"
expect 0 'false' fs exists /a
expect 0 '' "$assay" cluster down "${on[@]}"
expect_nothing_left "at the end"
finish
