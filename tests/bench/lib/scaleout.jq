# What came of one mode: from the cast's arrivals ($cast) and what lsc-replay saw ($replay).  Times are
# seconds since the burst began; the cast's since then too.
def one($type): map(select(.type == $type)) | first;
def share($p): sort | if length == 0 then null else .[((length * $p) | ceil) - 1] end;
($replay | one("replay")) as $began
| ($cast | one("cast")) as $start
| ($start.clock - $start.t - $began.clock) as $from
| [$replay[] | select(.type == "request")] as $requests
| ($replay | one("series")) as $series
| [$cast[] | select(.type == "node" and .pieces == $start.pieces) | .node] as $had
| [$cast[] | select(.type == "complete" and (.node | IN($had[]) | not)) | .t + $from] as $complete
| [$requests[] | select(.first) | .first - .left] as $ttft
| {
	name: "scaleout", $mode, $k, $nodes, $rate, cpu_percent: $cpu,
	requests: ($requests | length),
	failed: ([$requests[] | select(.outcome != "ok")] | length),
	tokens: ([$requests[].tokens] | add),
	prompt_tokens: ([$requests[].prompt_tokens] | add),
	chunks: ([$requests[].chunks] | add),
	ttft_p50_s: ($ttft | share(0.5)), ttft_p90_s: ($ttft | share(0.9)), ttft_p99_s: ($ttft | share(0.99)),
	seconds: ([$requests[].end] | max),
	cast_from_s: $from,
	first_complete_s: ($complete | min), last_complete_s: ($complete | max),
	completed: ($complete | length),
	texts: ([$requests[] | {key: (.request | tostring), value: [.text["$bin"], .tokens]}] | from_entries),
	node_cpu_s: $usage[0],
	bin_s: $series.bin, out: $series.out, ttft: ($ttft | sort | map(. * 1000 | round / 1000))
}
