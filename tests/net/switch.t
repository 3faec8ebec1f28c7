#!/bin/sh
# Requests in flight go from a pipeline to a node that came to hold everything, in each of the ways
# there are: the same text in all, nothing lost and nothing twice.
#
# When a node completes, and how long its image took, is written into the arrivals here.
. tests/lib/tap.sh
. tests/lib/arrivals.sh
requires_command jq
[ "${LSC_BIN:-bin}" = bin ] || skip_all 'minutes in this build: unit/shift and unit/move do the same in it'

mkdir "$SCRATCH/images" "$SCRATCH/experts"
image=$SCRATCH/images/model
lsc-shard pack --dummy smollm2-135m --layers 6 --dtype f32 --blocks 8 "$image"

start_workers() { # start_workers DIR
	workers=
	for i in 0 1 2; do
		start_server worker$i lsc-exec serve --dir "$1" --listen 127.0.0.1:0 --threads 1
		eval "workers=\"\$workers \$worker$i\""
	done
}
start_workers "$SCRATCH/images"

# requests N TOKENS [MORE]: so many with prompts of their own, of which some draw
requests() {
	seq "$1" | while read -r id; do
		how=
		[ $((id % 2)) = 1 ] || how=',"temperature":0.9,"top_p":0.9,"seed":'$id
		[ $((id % 4)) = 3 ] || [ $((id % 4)) = 0 ] && how="$how,\"repetition_penalty\":1.2"
		echo "{\"id\":$id,\"prompt\":\"Once upon a time $id${3:-}\",\"max_tokens\":$2$how}"
	done
}

# ask T OPTION...: the requests in $SCRATCH/requests, over two halves, until all have some tokens;
# then node 2 has the image, which took it T seconds
ask() {
	t=$1
	shift
	rm -f "$SCRATCH/arrivals"
	mkfifo "$SCRATCH/arrivals"
	timeout 120 lsc-pipe "$image" --arrivals "$SCRATCH/arrivals" "$@" <"$SCRATCH/requests" \
		>"$SCRATCH/out" 2>"$SCRATCH/err" &
	pipe=$!
	exec 9>"$SCRATCH/arrivals"
	arrivals "$image" "$workers" 0,1,2,6 3,4,5,6 6 | lsc-msg to-json | grep -v '"end"' |
		lsc-msg from-json >&9
	n=$(wc -l <"$SCRATCH/requests")
	while kill -0 $pipe 2>/dev/null && [ "$(jq -r 'select(.type == "token").id' "$SCRATCH/out" |
		sort | uniq -c | awk '$1 >= 3' | wc -l)" -lt "$n" ]; do
		sleep 0.05
	done
	[ -z "${meanwhile:-}" ] || $meanwhile
	echo "{\"type\":\"complete\",\"t\":$t,\"node\":2}" | lsc-msg from-json >&9
	wait $pipe
	status=$?
	exec 9>&-
}

texts() { jq -cs 'map(select(.type == "done")) | sort_by(.id) | map([.id, .tokens, .text])' "$SCRATCH/out"; }
ways() { jq -r 'select(.type == "switch").how' "$SCRATCH/out" | sort | uniq -c | xargs; }

expect_whole() { # expect_whole NAME: as without a switch
	expect_equal "$1: all are answered" $status 0
	texts >"$SCRATCH/got"
	expect_same "$1: with the same text" "$SCRATCH/got" "$SCRATCH/want"
	expect_equal "$1: each token once, in order" \
		"$(jq -s 'map(select(.type == "token")) | group_by(.id) |
			all(map(.pos) | . == [range(.[0]; .[0] + length)])' "$SCRATCH/out")" true
}

requests 4 60 >"$SCRATCH/requests"
ask 0.1 --switch never
texts >"$SCRATCH/want"
expect_equal "never: nobody moves" "$status $(ways)" "0 "
expect_equal "all tokens are there" "$(jq -c 'map(.[1])' "$SCRATCH/want")" "[60,60,60,60]"

ask 0.1 --switch recompute
expect_whole recompute
expect_equal "recompute: all do so" "$(ways)" "4 recompute"
ask 0.1 --switch move
expect_whole move
expect_equal "move: all do so" "$(ways)" "4 move"
expect_equal "move: by the bytes of their keys and values" \
	"$(jq -s 'map(select(.type == "switch")) | all(.bytes == .positions * 6 * 2 * 3 * 64 * 4 and
		.took_s > 0)' "$SCRATCH/out")" true
expect_equal "move: each runs there alone" "$(jq -s 'map(select(.type == "route")) | group_by(.id) |
	all(last.stages | length == 1 and .[0].node == 2)' "$SCRATCH/out")" true

# What is sooner depends on how long the past is, and on how fast a node gets what others have.
# figures: for the only request, which of both was thought to be sooner
figures() {
	jq -s 'map(select(.type == "switch"))[0] |
		if .move_s < .recompute_s then "move" else "recompute" end' "$SCRATCH/out"
}
requests 1 40 "$(yes ' and so on' | head -n 250 | tr -d '\n')" >"$SCRATCH/requests"
ask 0.1 --switch never
texts >"$SCRATCH/want"
expect_equal "a long prompt" "$(jq '.prompt_tokens? // empty | . > 700' "$SCRATCH/out")" true
ask 0.1
expect_whole "auto, long and near"
expect_equal "auto moves it" "$(ways) $(figures)" '1 move "move"'
ask 20000
expect_whole "auto, long and far"
expect_equal "auto computes it" "$(ways) $(figures)" '1 recompute "recompute"'

expect_status 64 "another way is none" lsc-pipe "$image" --arrivals "$SCRATCH/arrivals" --switch fly
done_testing
