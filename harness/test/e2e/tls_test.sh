#!/usr/bin/env bash
# TLS as a person uses it: a run and a cluster with certificates of their own, who is refused, and a clock that is off.
source "$(dirname "$0")/lib.sh"

certificates() { # DIR: the flags of a client
  printf -- '--tls-certificate %s/client.pem --tls-key %s/client.key --tls-authority %s/authority.pem' "$1" "$1" "$1"
}

# -- a run, in which nodes are cut off and killed
if netns_works; then
  faults=partition,kill provider=netns
else
  faults=kill provider=host
fi
output=$("$assay" run --tls --provider $provider --nemesis $faults --time 8s --final 1s --clients 16 --seed 5 --name tls \
  --fault-interval 1s --fault-duration 1s --store "$store" --json 2>"$scratch/text")
status=$?
json=$(tail -n 1 <<<"$output")
[ $status -eq 0 ] || fail "the run ended $status: $(tail -n 30 "$scratch/text")"
[ "$(field "$json" verdict)" = valid ] || fail "verdict: $json"
run=$(field "$json" run)
grep -q 'serves clients on .* with TLS' "$run/nodes/n1/log" || fail "the masters had no TLS: $(head -n 3 "$run/nodes/n1/log")"
[ -e "$run/tls" ] && fail "keys were left in $run/tls"
jq -e '.tls == true' "$run/test.json" >/dev/null || fail "test.json does not say that there was TLS"
grep -q -- '--tls' <<<"$(grep '^again' "$scratch/text")" || fail "the command that repeats the run lacks --tls"
expect_nothing_left "after the run"

# -- a cluster that stays
expect 0 '' "$assay" cluster up --tls --nodes 3 --provider $provider --faults time --store "$store"
tls=$store/cluster/tls
[ "$(stat -c %a "$tls" "$tls"/*.key | sort -u | tr '\n' ' ')" = '600 700 ' ] || fail "others may read $tls: $(ls -l "$tls")"
expect 0 'primary' "$assay" cluster status --store "$store"
expect 0 '' "$assay" fs mkdir /a --store "$store"
expect 0 'a' "$assay" fs ls / --store "$store"
expect 0 'primary' "$assay" admin report --store "$store"
expect 0 '' "$assay" fs exists /a --store "$store" $(certificates "$tls")
# Certificates that are not good are not replaced by better ones, and half of them are none.
expect 3 'cannot read certificate' "$assay" fs exists /a --store "$store" $(certificates "$scratch/none")
expect 3 '--tls-key is missing' env ASSAY_TLS_CERTIFICATE="$tls/client.pem" ASSAY_TLS_AUTHORITY="$tls/authority.pem" \
  "$assay" fs exists /a --store "$store"
cp -r "$tls" "$scratch/before"

# -- a node whose clock is months ahead refuses who comes now, and says so
if [ $provider = netns ]; then
  node=$("$assay" cluster status --store "$store" --json | jq -r '[.nodes[] | select(.role == "standby").node][0]')
  "$assay" nemesis start clock-jump-forward --targets "$node" --number offset_ms=8000000000 --store "$store" >"$scratch/fault" 2>&1 ||
    fail "no clock was moved: $(cat "$scratch/fault")"
  expect 3 'refuses our certificate: it has expired, by the clock there' "$assay" admin report --store "$store"
  await_text "$store/cluster/nodes/$node/log" 'valid until .*, and it is .* by this machine.s clock' $$ || cat "$store/cluster/nodes/$node/log"
  expect 0 '' "$assay" fs mkdir /b --store "$store" --timeout 60s
  expect 0 '' "$assay" nemesis heal --store "$store"
  expect 0 'primary' "$assay" admin report --store "$store"
fi
expect 0 '' "$assay" cluster down --store "$store"

# -- the next time it has new ones, and the old ones are refused
expect 0 '' "$assay" cluster up --tls --nodes 3 --workers 2 --provider $provider --faults none --store "$store"
expect 3 'refused' "$assay" fs mkdir /c --store "$store" --timeout 2s $(certificates "$scratch/before")
expect 3 'does not vouch for' "$assay" fs mkdir /c --store "$store" --timeout 2s $(certificates "$scratch/before")
expect 0 '' "$assay" fs mkdir /c --store "$store"
head -c 3000000 /dev/urandom >"$scratch/data"
expect 0 '' "$assay" fs put "$scratch/data" /c/data --block-size 1M --store "$store"
expect 0 '' "$assay" fs get /c/data "$scratch/back" --store "$store"
cmp "$scratch/data" "$scratch/back" || fail "what came back is not what was put there"
expect 0 '' "$assay" cluster down --store "$store"
expect_nothing_left "after the cluster"

# -- usage
expect 64 '--peers plain is for --tls' "$assay" bench master --peers plain
finish
