#!/bin/sh
# Every stage of a running pipeline dies, hangs or loses its blocks, at moments drawn by lot: each
# answer is whole, its token records none too many and none missing, and it is what one node says.
# LSC_TEST_REPEAT is how often (3), LSC_TEST_SEED the lot.
. tests/lib/tap.sh
. tests/lib/arrivals.sh
requires_command jq

repeat=${LSC_TEST_REPEAT:-3}
lot=${LSC_TEST_SEED:-$(date +%s)}
echo "# LSC_TEST_SEED=$lot"
image=$SCRATCH/images/model
mkdir "$SCRATCH/images"
lsc-shard pack --dummy stories260k --blocks 7 "$image"

draw() { # draw MS: a time below that, in seconds, in $drawn
	lot=$(((lot * 1103515245 + 12345) % 2147483648))
	drawn=$(printf '0.%03d' $((lot / 65536 % $1)))
}
start() { # start NODE ADDRESS [DIR]
	start_server "w$1" lsc-exec serve --dir "${3:-$SCRATCH/images}" --listen "$2" --threads 1
}
# hit SIGNAL STAGE [DIR]: to the worker of that stage of the latest route.  One that is killed
# starts again, on what is in DIR; one that is stopped goes on after a while.
hit() {
	victim=
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		victim=$(grep '"route"' "$SCRATCH/out" | tail -n 1 | jq ".stages[$2].node // empty")
		[ -z "$victim" ] || break
		sleep 0.02
	done
	[ -n "$victim" ] || return
	eval "address=\$w$victim pid=\$w${victim}_pid"
	kill -"$1" "$pid"
	if [ "$1" = STOP ]; then
		stopped="$stopped $pid"
		return
	fi
	wait "$pid" 2>/dev/null
	start "$victim" "$address" ${3:+"$3"}
}

# Two pairs of nodes, each of which holds all of it together.
for node in 0 1 2 3; do start $node 127.0.0.1:0; done
arrivals "$image" "$w0 $w1 $w2 $w3" 0,1,2,5 3,4,5 0,1,2,3,5 3,4,5 >"$SCRATCH/arrivals"
arrivals "$image" "$w0" all >"$SCRATCH/alone.arrivals"
{
	jq -nc 'range(4) | {id: ., prompt: "Once upon", n: 400}'
	jq -nc 'range(4; 8) | {id: ., prompt: "Once upon", n: 400, temperature: 0.9, seed: .}'
	jq -nc '{id: 8, prompt: "Once upon", n: 300, temperature: 1.1, top_p: 0.9, seed: 7,
		repetition_penalty: 1.2}'
} >"$SCRATCH/requests"
# In the order in which they came, request by request.
tokens() {
	jq -sc "map(select(.type == \"token\") | [.id, .pos, .token, .text]) | sort_by(.[0])[]" "$1"
}
texts() { jq -r "select(.type == \"done\" and .id == $1).text" "$2"; }
lsc-pipe "$image" --arrivals "$SCRATCH/alone.arrivals" <"$SCRATCH/requests" >"$SCRATCH/out"
expect_equal "one node answers" $? 0
tokens "$SCRATCH/out" >"$SCRATCH/want"
lsc-exec run "$image" --prompt 'Once upon' -n 400 >"$SCRATCH/text"
texts 0 "$SCRATCH/out" >"$SCRATCH/got"
expect_same "as lsc-exec run does" "$SCRATCH/text" "$SCRATCH/got"

moved=0 bad=0 stopped= lost=
# round SEED COMMAND...: all requests over the two pairs; what happens meanwhile is up to COMMAND
round() {
	before=$1
	shift
	: >"$SCRATCH/out"
	timeout 100 lsc-pipe "$image" --arrivals "$SCRATCH/arrivals" --stage-timeout 300ms \
		<"$SCRATCH/requests" >"$SCRATCH/out" 2>"$SCRATCH/err" &
	pipe=$!
	"$@"
	wait $pipe
	status=$?
	for pid in $stopped; do kill -CONT "$pid"; done
	stopped=
	[ -z "$lost" ] || restart
	tokens "$SCRATCH/out" >"$SCRATCH/got"
	done=$(grep -c '"done"' "$SCRATCH/out")
	moved=$((moved + $(grep -c '"route"' "$SCRATCH/out") - 9))
	if [ $status -eq 0 ] && [ "$done" -eq 9 ] && cmp -s "$SCRATCH/want" "$SCRATCH/got"; then
		return
	fi
	bad=$((bad + 1))
	echo "$*, LSC_TEST_SEED=$before: status $status, $done answers" | note
	diff "$SCRATCH/want" "$SCRATCH/got" | head -n 6 | note
	tail -n 6 "$SCRATCH/err" | note
}
# rounds COUNT NAME COMMAND...: some more where the lot hit nothing but what was over
rounds() {
	rounds_left=$1 rounds_name=$2 moved=0 bad=0
	shift 2
	while [ "$rounds_left" -gt 0 ] || { [ "$moved" -eq 0 ] && [ "$rounds_left" -gt -10 ]; }; do
		round "$lot" "$@" $((rounds_left & 1))
		rounds_left=$((rounds_left - 1))
	done
	expect_equal "$rounds_name: answers are what they should be" $bad 0
	[ "$moved" -gt 0 ]
	ok $? "$rounds_name: $moved times a request went on over another route"
}
later() { # later COMMAND...: at a moment that the lot says
	draw 300
	sleep "$drawn"
	"$@"
}
kill_both() { # kill_both FIRST
	later hit KILL "$1"
	later hit KILL $((1 - $1))
}
stop_one() { later hit STOP "$1"; }
lose_one() { later hit KILL "$1" "$SCRATCH/$lost"; }
restart() { # the one that lost its blocks has them again
	[ -n "$victim" ] || return
	eval "address=\$w$victim pid=\$w${victim}_pid"
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null
	start "$victim" "$address"
}

rounds "$repeat" "$repeat times each stage is killed" kill_both
others=$((repeat < 8 ? 2 : repeat / 4))
rounds $others "$others times a stage is stopped" stop_one

# What was there is gone when the worker is back.
mkdir "$SCRATCH/empty"
lost=empty
rounds $others "$others times a stage loses the image" lose_one
done_testing
