#!/bin/sh
# tests/bench/scaleout.sh, small: a burst meets two nodes that have the model while two are given it; the
# same answers whether these execute while they load or not, and lines that the table and the plots are
# made of.  What it measures is not judged here.
. tests/lib/tap.sh
requires_command jq socat python3 tc curl
requires_feature tls
requires_feature microhttpd
requires_feature curl
requires_namespaces
[ "${LSC_BIN:-bin}" = bin ] || skip_all 'emulated nodes are too slow for this build'

LSC_BENCH_MODES='kway kway-load' LSC_BENCH_K=2 LSC_BENCH_NODES=4 LSC_BENCH_LAYERS=4 LSC_BENCH_RATE=80mbit
LSC_BENCH_BURST=2s LSC_BENCH_REQUESTS=5 LSC_BENCH_CPU=20 TMPDIR=$SCRATCH LSC_BENCH_DIR=$SCRATCH
export LSC_BENCH_MODES LSC_BENCH_K LSC_BENCH_NODES LSC_BENCH_LAYERS LSC_BENCH_RATE LSC_BENCH_BURST \
	LSC_BENCH_REQUESTS LSC_BENCH_CPU LSC_BENCH_DIR TMPDIR
unset LSC_SCRATCH

tests/bench/run scaleout >"$SCRATCH/lines" 2>"$SCRATCH/err"
status=$?
! grep -q 'not measured' "$SCRATCH/err" || skip_all "$(sed -n 's/.*: \(.*\), not measured/\1/p' "$SCRATCH/err")"
expect_equal 'a burst is measured' $status 0
[ $status -eq 0 ] || note <"$SCRATCH/err"

lines() { # lines FILTER: how many for which it holds
	jq -s "map(select(.name == \"scaleout\" and ($1))) | length" "$SCRATCH/lines"
}
expect_equal 'a line for each mode' "$(jq -r 'select(.name == "scaleout").mode' "$SCRATCH/lines" | xargs)" 'kway kway-load'
expect_equal 'every request is answered' "$(lines '.failed == 0 and .requests > 3 and (.ttft | length) == .requests')" 2
expect_equal 'with the same text' "$(lines '.texts == "same"')" 2
expect_equal 'each token once' "$(lines '.tokens == .chunks or .tokens - .chunks < .requests')" 2
expect_equal 'percentiles are in order' \
	"$(lines '.ttft_p50_s > 0 and .ttft_p50_s <= .ttft_p90_s and .ttft_p90_s <= .ttft_p99_s')" 2
expect_equal 'tokens over time are as many' "$(lines '(.out | add) == .chunks')" 2
expect_equal 'all nodes are complete' "$(lines '.completed == 2 and .cast_s > 0.5')" 2

expect_status 0 'the lines make a table' tests/bench/table <"$SCRATCH/lines"
expect_equal 'of both modes' "$(grep -c '^| kway' "$SCRATCH/out")" 2
expect_status 0 'and a plot' tests/bench/lib/scaleout-plot.py "$SCRATCH" <"$SCRATCH/lines"
python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' "$SCRATCH/scaleout-2.svg"
ok $? 'which is XML'
LSC_BENCH_MODES=nothing expect_status 1 'a mode that is none' tests/bench/run scaleout
expect_equal 'nothing is left' "$(find "$SCRATCH" -mindepth 1 -maxdepth 1 -type d | wc -l)" 0
done_testing
