#!/bin/sh
# lsc-sim cast against lsc-cast in an emulated cluster: what it predicts is within a tenth of what
# is measured there, for 1 to 8 receivers and 1, 2 and 4 sources.  Nothing is fitted to the run, whose
# better time of two counts: what else the machine does only adds to it.
. tests/lib/tap.sh
# A minute, of which what others do with the processors would be measured, too.
[ -n "${LSC_TEST_CALIBRATE:-}" ] || skip_all "takes a machine that does nothing else: LSC_TEST_CALIBRATE=yes"
requires_command jq socat python3 tc
requires_namespaces

LSC_BENCH_LAYERS=4 LSC_BENCH_RATE=200mbit LSC_BENCH_NODES='1 2 4 8' LSC_BENCH_SOURCES='2/4 4/4' \
	LSC_BENCH_TLS=no LSC_BENCH_CASES='uniform sources' LSC_BENCH_RUNS=2 TMPDIR=$SCRATCH
export LSC_BENCH_LAYERS LSC_BENCH_RATE LSC_BENCH_NODES LSC_BENCH_SOURCES LSC_BENCH_TLS \
	LSC_BENCH_CASES LSC_BENCH_RUNS TMPDIR
[ "$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print int($4) }')" -lt 1048576 ] || {
	LSC_BENCH_DIR=/dev/shm
	export LSC_BENCH_DIR
}
unset LSC_SCRATCH

expect_status 0 'casts are measured' tests/bench/run cast
cp "$SCRATCH/out" "$SCRATCH/lines"

# tbf counts a frame of 1514 bytes for 1448 of data, and a command takes some ms to begin.
cat >"$SCRATCH/site" <<'END'
payload=0.9564 latency=100us start=20ms
nodes=12 link=200mbit
END
bytes=$(jq -s 'map(.bytes // empty)[0]' "$SCRATCH/lines")

predicted() { # predicted KEY SOURCES RECEIVERS
	lsc-sim cast --cluster "$SCRATCH/site" --bytes "$bytes" --sources "$2" --receivers "$3" \
		--system lsc --json | jq "select(.type == \"multicast\") | .$1"
}

measured() { # measured FILTER
	jq -s "map(select(.seconds and $1)) | map(.seconds) | min" "$SCRATCH/lines"
}

near() { # near WHAT PREDICTED MEASURED
	awk -v p="$2" -v m="$3" 'BEGIN { exit !(m > 0 && p > 0.9 * m && p < 1.1 * m) }'
	ok $? "$1: $2 s predicted, $3 s measured"
}

for n in 1 2 4 8; do
	near "to $n" "$(predicted all_s 1 $n)" "$(measured ".case == \"uniform\" and .receivers == $n")"
done
for k in 2 4; do
	near "$k sources, 4 receivers, all blocks between them" "$(predicted covered_s $k 4)" \
		"$(measured ".case == \"sources\" and .sources == $k and (.what | test(\"between\"))")"
	near "$k sources, 4 receivers, all complete" "$(predicted all_s $k 4)" \
		"$(measured ".case == \"sources\" and .sources == $k and (.what | test(\"complete\"))")"
done
done_testing
