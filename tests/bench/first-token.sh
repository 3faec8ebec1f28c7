#!/bin/sh
# How long `lsc-exec run` takes for its first token on a warm page cache, from before its exec until
# after its end.
#
#	tests/bench/run first-token		random weights in the shape of SmolLM2-135M
#	IMAGE=smollm.lsc tests/bench/run first-token
#
# One JSON line: milliseconds over RUNS runs, and what the process has in memory beside the mapped
# image while it goes on.
runs=${RUNS:-15}
work=${LSC_SCRATCH:-$(mktemp -d "${TMPDIR:-/tmp}/first-token.XXXXXX")}
image=${IMAGE:-$work/first-token.lsc}
[ -d "$image" ] || lsc-shard pack --dummy smollm2-135m "$image" || exit
prompt='Once upon a time there was'
lsc-shard verify "$image" || exit # which also warms the cache

i=0
while [ $i -lt "$runs" ]; do
	start=$(date +%s%N)
	lsc-exec run "$image" --prompt "$prompt" --ids -n 1 >"$work/first-token.out" || exit
	echo $((($(date +%s%N) - start) / 1000))
	i=$((i + 1))
done | sort -n >"$work/first-token.us"

mkfifo "$work/first-token.fifo"
lsc-exec run "$image" --prompt "$prompt" --ids -n 4000 >"$work/first-token.fifo" &
pid=$!
exec 3<"$work/first-token.fifo" # stays open, or the next token would end it
private=$(head -c 8 <&3 >/dev/null &&
	sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' /proc/$pid/status)
kill $pid 2>/dev/null
wait $pid 2>/dev/null

awk -v bytes="$(stat -c %s "$image/image")" -v private="${private:-0}" '
	{ us[NR] = $1 }
	END {
		printf "{\"name\":\"first-token\",\"bytes\":%d,\"runs\":%d,\"p50_ms\":%.1f,\"p99_ms\":%.1f,\"best_ms\":%.1f,\"private_kb\":%d}\n",
			bytes, NR, us[int((NR + 1) / 2)] / 1000, us[int(NR * 0.99 + 0.99)] / 1000, us[1] / 1000, private
	}' "$work/first-token.us"
