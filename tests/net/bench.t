#!/bin/sh
# tests/bench/cast.sh, on a small image: lines that are what tests/bench/run and table want, and
# nothing left behind.  What it measures is not judged here.
. tests/lib/tap.sh
requires_command jq socat python3 tc
requires_namespaces

LSC_BENCH_LAYERS=1 LSC_BENCH_RATE=400mbit LSC_BENCH_NODES=2 LSC_BENCH_RECEIVERS=2 LSC_BENCH_MIXED=
LSC_BENCH_SOURCES=2/2 LSC_BENCH_PEERS='chain rsync' LSC_BENCH_PEER_NODES=2 TMPDIR=$SCRATCH
export LSC_BENCH_LAYERS LSC_BENCH_RATE LSC_BENCH_NODES LSC_BENCH_RECEIVERS LSC_BENCH_MIXED \
	LSC_BENCH_SOURCES LSC_BENCH_PEERS LSC_BENCH_PEER_NODES TMPDIR
unset LSC_SCRATCH

lines() { # lines FILTER: how many for which it holds
	jq -s "map(select($1)) | length" "$SCRATCH/lines"
}

bench() { # bench CASES
	LSC_BENCH_CASES=$1 tests/bench/run cast
}

expect_status 0 'casts are measured' bench 'uniform sources partial peers'
cp "$SCRATCH/out" "$SCRATCH/lines"
expect_equal 'the machine is described' \
	"$(lines '.name == "machine" and .cores >= 1 and (.cpu | length > 0) and .date')" 1
expect_equal 'a cast is a ratio of two times' "$(lines '.case == "uniform" and .receivers == 2
	and (.ratio - .seconds / .over_seconds | fabs) < 0.001 and .ratio > 0.5')" 1
expect_equal 'receivers together, and each' "$(lines '.case == "sources" and .sources == 2
	and .ratio > 0')" 2
expect_equal 'one that has a part' \
	"$(lines '.case == "partial" and .had_share >= 0 and .had_share < 1')" 2
expect_equal 'a peer receives and verifies' \
	"$(lines '.case == "peers" and (.what | startswith("socat")) and .ratio > 0.5')" 2
[ "$(lines '.case == "peers" and (.what | startswith("rsync")) and (.ratio or .skipped)')" -ge 1 ]
ok $? 'and another, or says why not'
expect_equal 'nothing failed' "$(lines '.failed')" 0

expect_status 0 'the lines make a table' tests/bench/table <"$SCRATCH/lines"
grep -Eq '^\| 2 receivers \| [0-9.]+ \| [0-9.]+ \| [*]*[0-9]\.[0-9]{3}[*]* \| 1.02 \| \|$' "$SCRATCH/out"
ok $? 'with a row for each measure'

expect_status 1 'what is not there is not measured' bench 'uniform nothing'
grep -qx "cast: there is nothing called 'nothing' to measure" "$SCRATCH/err"
ok $? 'and its name is said'
expect_equal 'no folder is left' "$(find "$SCRATCH" -mindepth 1 -maxdepth 1 -type d | wc -l)" 0
done_testing
