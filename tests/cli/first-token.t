#!/bin/sh
# The first token of a model of 135M weights, from exec on: within half a second on a warm page
# cache, with the image mapped and not copied.
. tests/lib/tap.sh
requires_command jq

RUNS=7 tests/bench/first-token.sh >"$SCRATCH/line"
ok $? "$(cat "$SCRATCH/line")"
best=$(jq '.best_ms | floor' "$SCRATCH/line")
if [ "${LSC_BIN:-bin}" = bin ]; then
	[ "$best" -le 500 ]
	ok $? "the first token takes $best ms"
else
	skip "$best ms are no measure in this build"
fi
# What is private: KV, logits, threads.  270 MB would be a copy.
expect_equal "it has less than 100 MB of memory beside the image" \
	"$(jq '.private_kb > 0 and .private_kb * 1024 < 1e8' "$SCRATCH/line")" true
expect_equal "and not a quarter of the image" \
	"$(jq '.private_kb * 1024 < .bytes / 4' "$SCRATCH/line")" true
done_testing
