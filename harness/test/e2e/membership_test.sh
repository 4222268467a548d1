#!/usr/bin/env bash
# Members of a running cluster come and go, and leadership is handed over, as an operator asks for it.
source "$(dirname "$0")/lib.sh"
export ASAN_OPTIONS=detect_leaks=0 # see cluster_test.sh
on=(--store "$store")
quorum() { "$assay" admin journal quorum "$@" "${on[@]}"; }
table() { quorum info; }

expect 64 'did you mean .assay admin journal quorum' "$assay" admin journal quorun
expect 3 'no cluster is up' quorum info
expect 0 'n3 ' "$assay" cluster up --provider host "${on[@]}"
new_pid=
trap '[ -z "$new_pid" ] || kill "$new_pid"; "$assay" cluster down "${on[@]}" >/dev/null 2>&1; rm -rf "$scratch"' EXIT

# -- what there is
[ "$(table | grep -c ' voter ')" -eq 3 ] || fail "not three voters: $(table)"
[ "$(table | grep -c ' leads$')" -eq 1 ] || fail "not one leader: $(table)"
expect 0 '"committed":true,.*"role":"voter"' quorum info --json
leader=$(table | awk '/ leads$/ { print $1 }')

# -- what makes no sense
expect 64 'the number of a node' quorum remove n1
expect 64 'takes NODE=HOST:PEER_PORT:CLIENT_PORT' quorum add 4
expect 1 'no address of a member' quorum add 4=here
expect 1 'is a member already' quorum add 1=127.0.0.1:1:2
expect 1 'there is no member 9' quorum remove 9
expect 1 'is a voter already' quorum promote 1
expect 1 'leads already' quorum elect "$leader"

# -- leadership
other=$((leader % 3 + 1))
expect 0 "node $other leads" quorum elect "$other"
for _ in $(seq 20); do # a node that was elected just now says so, until it has committed something
  quorum elect >/dev/null 2>&1 && handed_over=yes && break
  sleep 0.1
done
[ -n "${handed_over:-}" ] || fail "leadership was not handed over: $(quorum elect 2>&1)"

# -- a fourth node
read -r peer_port client_port < <(python3 -c '
import socket
sockets = [socket.socket() for _ in range(2)]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))')
address=127.0.0.1:$peer_port:$client_port
id=$(grep -o '"cluster_id": *[0-9]*' "$store/cluster/state.json" | grep -o '[0-9]*$')
expect 64 'no --member has the id 4' "${assay}-master" --id 4 --data "$scratch/n4" --cluster-id "$id" --join
"${assay}-master" --id 4 --data "$scratch/n4" --cluster-id "$id" --join --member "4=$address" >"$scratch/n4.log" 2>&1 &
new_pid=$!
expect 0 '' "$assay" fs mkdir /before "${on[@]}"
expect 0 'node 4 is a standby' quorum add "4=$address" --standby
expect 0 '^4 .*standby' quorum info
expect 0 'node 4 is a voter' quorum promote 4
expect 0 'node 4 is a standby' quorum demote 4
expect 0 'node 4 is a voter' quorum promote 4
expect 0 'node 4 leads' quorum elect 4
expect 0 '^4 .* leads' quorum info
expect 0 '/before' "$assay" fs ls / "${on[@]}"
expect 0 '' "$assay" fs mkdir /after "${on[@]}"

# -- the primary is removed: it hands over first
expect 0 'node 4 is no member' quorum remove 4
[ "$(table | grep -c ' voter ')" -eq 3 ] || fail "not three voters: $(table)"
expect 0 '/after' "$assay" fs ls / "${on[@]}"
kill "$new_pid"
wait "$new_pid" || fail "the fourth node did not end in order"
new_pid=

"$assay" cluster down "${on[@]}" >/dev/null

# -- two of three are lost for good: the third goes on alone
recover=(--id 1 --data "$store/cluster/nodes/n1/data" --cluster-id "$id" --member "1=$address")
expect 64 'usage: assay admin journal recover' "$assay" admin journal recover
expect 1 'nothing was changed' "$assay" admin journal recover "${recover[@]}"
expect 3 'holds no journal' "$assay" admin journal recover --id 4 --data "$scratch/none" --cluster-id "$id" --member "4=$address"
expect 0 'from now on: 1$' "$assay" admin journal recover "${recover[@]}" --accept-loss
"${assay}-master" "${recover[@]}" >"$scratch/n1.log" 2>&1 &
new_pid=$!
await_text "$scratch/n1.log" 'leader of term' "$new_pid"
expect 0 '/after' "$assay" fs ls / --address "127.0.0.1:$client_port"
expect 0 '' "$assay" fs mkdir /alone --address "127.0.0.1:$client_port"
expect 0 '^1 .*voter .* leads' "$assay" admin journal quorum info --address "127.0.0.1:$client_port"
kill "$new_pid"
wait "$new_pid" || fail "the recovered node did not end in order"
new_pid=
expect_nothing_left "at the end"
finish
