# shellcheck shell=bash disable=SC2034,SC2154 # what one of the files sets, another uses
# The cells of a night: what is run, how long it takes, and which command repeats it. For ci/nightly and ci/gate.
#
# A cell is a line "NAME SECONDS COMMAND…". The first part of the name is its kind (ci/lib/run.sh judges by it), the last
# one of a run is its seed. Nothing here runs anything: the same arguments give the same lines.

workloads=(mixed register names moves blocks batches)

mixes=(standard brutal journal network storage process time members swarm)

# Of a run beside its load: start, load without faults, comparison, check.
around_a_run=15

# plan_runs BASE FIRST COUNT SECONDS: COUNT runs from the number FIRST on, SECONDS of load each. Any nine in a row from a
# multiple of nine hold every mix and every workload, any fifty-four every pair of them; then come other seeds. In every
# other one clients read at any node, in the next nine in the others.
plan_runs() {
  local base=$1 first=$2 count=$3 seconds=$4 n mix workload nodes reads seed
  for ((n = first; n < first + count; n++)); do
    mix=${mixes[n % 9]}
    workload=${workloads[(n % 9 + n / 9) % 6]}
    nodes=$((n / 3 % 2 ? 5 : 3))
    reads=
    [ $((n % 2)) -eq 0 ] || reads=' --reads any'
    seed=$((base * 1000 + n + 1))
    echo "run/$workload/$mix/$seed $((seconds + around_a_run))" \
      "$bin/assay run --nodes $nodes --time ${seconds}s --workload $workload$reads --nemesis $mix --seed $seed"
  done
}

# The schedules that once broke the master (nemesis/corpus), a minute each.
plan_corpus() { # SEED
  local file
  for file in nemesis/corpus/*.json; do
    echo "run/mixed/$(basename "$file" .json)/$1 $((60 + around_a_run))" \
      "$bin/assay run --nodes $(jq .nodes "$file") --time 60s --schedule $file --seed $1"
  done
}

# plan_simulator FIRST LAST SECONDS: seeds, of which none is begun after SECONDS.
plan_simulator() {
  echo "simulator/$1..$2 $3 $bin/assay sim --seeds $1..$2 --time-budget ${3}s"
}

# Defects that must be found: all of the catalogue in the simulator, some on processes, where it may take a run or more.
canaries=(local-reads early-ack no-fsync)
canary_seconds=45
plan_canaries() { # SEED
  echo "canary/simulator $canary_seconds $bugs_bin/assay bugs --where simulator --ranges 1 --seeds 2000 --range-budget 60s"
  local bug
  for bug in "${canaries[@]}"; do
    echo "canary/$bug $canary_seconds" \
      "$bugs_bin/assay bugs --where processes --bug $bug --tries 1 --minutes 4 --first-seed $1"
  done
}

# Proofs that every fault takes hold and is gone after healing; scripts of their own.
table_seconds=280
plan_tables() { echo "table/faults $table_seconds $legs/faults"; }
# What takes long: many files, and many minutes.
long_seconds=3600
plan_long() {
  echo "long/scale 1500 $legs/scale 20000000 --fresh"
  echo "long/soak 2100 $legs/soak --time 30m"
}
plan_machines() {
  echo "vm/faults 900 $legs/faults-vm"
  echo "vm/vagrant 1200 $legs/vagrant"
}
