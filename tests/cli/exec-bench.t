#!/bin/sh
# lsc-exec bench: what it prints, and what it refuses.  How fast anything is, is for tests/bench.
. tests/lib/tap.sh
requires_command jq

lsc-shard pack --dummy stories260k "$SCRATCH/tiny"
bench() { lsc-exec bench "$SCRATCH/tiny" --runs 2 --prompt-tokens 40 -n 4 --depth 8 "$@"; }

expect_status 0 "a table" bench --threads 1,2 --batch 1,3
for row in 'tiny: llama of 5 layers, bf16' 'reading +2 +[0-9.]+ GB/s' \
	'first token of 40 +2 +1 +[0-9.]+ ms' 'prompt 40 +1 +1 +[0-9.]+ \+- [0-9.]+' \
	'generate 4 +2 +3 +[0-9.]+ \+- [0-9.]+ +[0-9.]+ +[0-9.]+$'; do
	grep -Eq "$row" "$SCRATCH/out"
	ok $? "the table has: $row"
done
expect_equal "and nothing else is said" "$(cat "$SCRATCH/err")" ''

export LSC_KERNELS=portable
expect_status 0 "LSC_KERNELS chooses what it computes with" bench -n 0
grep -q 'portable kernels' "$SCRATCH/out"
ok $? "and the table says so"
export LSC_KERNELS=vax
expect_status 64 "what cannot run here is refused" bench
expect_one_line "LSC_KERNELS is 'vax': here run "
unset LSC_KERNELS

expect_status 0 "JSON" bench --json --threads 1,2 --batch 1,3
expect_equal "a line for each measurement" "$(jq -r '"\(.name) \(.threads) \(.batch // "")"' "$SCRATCH/out")" \
	"$(for t in 1 2; do
		printf '%s\n' "exec-reading $t " "exec-first-token $t " "exec-prompt $t 1" \
			"exec-generate $t 1" "exec-generate $t 3"
	done)"
expect_equal "rates are numbers, and go with each other" "$(jq -s '
	def near($a; $b): ($a / $b - 1) | . < 0.01 and . > -0.01;
	all(.[] | select(.tokens_s);
		.tokens_s > 0 and .deviation_tokens_s >= 0 and .gflop_s > 0 and .read_gb_s > 0
		and (.of_reading * .read_gb_s - .weights_gb_s | fabs) < 0.01)' "$SCRATCH/out")" true
# 5 layers of 64 x 172: 231,040 weights in products and 512 x 64 of the head, which a token reads once.
expect_equal "a token reads the weights once" "$(jq -s '
	.[] | select(.name == "exec-generate" and .batch == 1 and .threads == 1)
	| .weights_gb_s * 1e9 / .tokens_s / 2 | . > 255000 and . < 270000' "$SCRATCH/out")" true
expect_equal "and multiplies with each" "$(jq -s '
	.[] | select(.name == "exec-generate" and .batch == 1 and .threads == 1)
	| .gflop_s * 1e9 / .tokens_s / 2 | . > 255000 and . < 275000' "$SCRATCH/out")" true

expect_equal "no prompt and no tokens: nothing but reading" \
	"$(bench --json --threads 1 --prompt-tokens 0 -n 0 | jq -r .name)" exec-reading
expect_status 64 "more than the context" bench --depth 510
expect_one_line "that takes 634 positions, the context has 512"
expect_equal "and nothing was begun" "$(cat "$SCRATCH/out")" ''
expect_status 64 "a prompt beyond the context" bench --prompt-tokens 513
expect_status 64 "no image" lsc-exec bench
expect_status 64 "a batch of none" bench --batch 1,0
expect_status 64 "a list that is none" bench --threads 1,,2
expect_status 64 "no runs" bench --runs 0
expect_status 74 "an image that is not there" lsc-exec bench "$SCRATCH/none"
expect_one_line "no image 'none'"
mkdir "$SCRATCH/in"
cp -r "$SCRATCH/tiny" "$SCRATCH/in/tiny.part"
pieces=$(lsc-shard ls --json "$SCRATCH/tiny" | jq .pieces)
printf "lscarrv\\0\\1\\0\\0\\0\\$(printf %o "$pieces")\\0\\0\\0" >"$SCRATCH/in/tiny.part/arrivals"
head -c 128 /dev/zero >>"$SCRATCH/in/tiny.part/arrivals"
expect_status 75 "one that is arriving" lsc-exec bench "$SCRATCH/in/tiny"
expect_one_line "is still arriving"
bench --threads 1 --batch 1 >/dev/full 2>"$SCRATCH/err"
expect_equal "standard output is full" $? 74
done_testing
