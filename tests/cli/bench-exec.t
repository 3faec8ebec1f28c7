#!/bin/sh
# tests/bench/exec.sh, on a small image and without peers: lines that are what tests/bench/run and
# table want.  What it measures is not judged here.
. tests/lib/tap.sh
requires_command jq cc

LSC_BENCH_CASES='stories260k/bf16/1 stories260k/f16/2 nothing/bf16/1' LSC_BENCH_ROUNDS=2 TMPDIR=$SCRATCH
LSC_BENCH_PYTHON=
export LSC_BENCH_CASES LSC_BENCH_ROUNDS LSC_BENCH_PYTHON TMPDIR
unset LSC_SCRATCH LSC_BENCH_MODELS LSC_BENCH_ALONE

lines() { # lines FILTER: how many for which it holds
	jq -s "map(select($1)) | length" "$SCRATCH/lines"
}

expect_status 0 'execution is measured' tests/bench/run exec
cp "$SCRATCH/out" "$SCRATCH/lines"
expect_equal 'each round has its lines' "$(lines '.name == "run-generate" and .who == "lsc"
	and .tokens_s > 0')" 8
expect_equal 'and so has the prompt' "$(lines '.name == "run-prompt" and .threads == 2')" 2
expect_equal 'a ratio for each case: of batches' "$(lines '.name == "exec" and .over == "batch 1"
	and (.ratio - .value / .over_value | fabs) < 0.001')" 2
expect_equal 'and of reading' "$(lines '.name == "exec" and .unit == "GB/s" and .ratio > 0')" 2
expect_equal 'no peer is made up' "$(lines '.over == "llama.cpp" or .over == "transformers"')" 0
expect_equal 'what cannot be packed is skipped, and why' \
	"$(lines '.case == "nothing bf16" and (.skipped | test("no shape"))')" 1

expect_status 0 'the lines make a table' tests/bench/table <"$SCRATCH/lines"
grep -Eq '^\| generate, batch 16 \| [0-9.]+ \| tokens/s \| batch 1 \| [0-9.]+ \| [0-9.]+ \|  \|$' "$SCRATCH/out"
ok $? 'with a row for each ratio'

# Targets, from either side.
cat >"$SCRATCH/made" <<'X'
{"name":"exec","case":"c","what":"fast","unit":"u","value":1,"over":"o","over_value":2,"ratio":0.5,"target":1.1,"better":"more"}
{"name":"exec","case":"c","what":"small","unit":"u","value":1,"over":"o","over_value":2,"ratio":0.5,"target":0.5,"better":"less"}
X
expect_equal 'what misses its target is bold' "$(tests/bench/table <"$SCRATCH/made" | grep -c '[*]')" 1
tests/bench/table <"$SCRATCH/made" | grep -q '^| fast .*| \*\*0.50\*\* | >= 1.1 |$'
ok $? 'and that alone'
expect_equal 'no folder is left' "$(find "$SCRATCH" -mindepth 1 -maxdepth 1 -type d | wc -l)" 0
done_testing
