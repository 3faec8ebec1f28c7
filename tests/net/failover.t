#!/bin/sh
# Every stage of a running pipeline dies, at moments drawn by lot: each answer is whole, its token
# records none too many and none missing, and it is what one node says.  LSC_TEST_REPEAT is how
# often (3), LSC_TEST_SEED the lot.
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
start() { # start NODE ADDRESS
	start_server "w$1" lsc-exec serve --dir "$SCRATCH/images" --listen "$2" --threads 1
}
hit() { # hit STAGE: kills the worker of that stage of the latest route, and starts it again
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		victim=$(grep '"route"' "$SCRATCH/out" | tail -n 1 | jq ".stages[$1].node // empty")
		[ -z "$victim" ] || break
		sleep 0.02
	done
	[ -n "$victim" ] || return
	eval "address=\$w$victim pid=\$w${victim}_pid"
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null
	start "$victim" "$address"
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

moved=0 bad=0 round=0
while [ $round -lt "$repeat" ]; do
	round=$((round + 1))
	before=$lot
	: >"$SCRATCH/out"
	timeout 100 lsc-pipe "$image" --arrivals "$SCRATCH/arrivals" <"$SCRATCH/requests" \
		>"$SCRATCH/out" 2>"$SCRATCH/err" &
	pipe=$!
	draw 300
	sleep "$drawn"
	hit $((round % 2))
	draw 300
	sleep "$drawn"
	hit $(((round + 1) % 2))
	wait $pipe
	status=$?
	tokens "$SCRATCH/out" >"$SCRATCH/got"
	done=$(grep -c '"done"' "$SCRATCH/out")
	moved=$((moved + $(grep -c '"route"' "$SCRATCH/out") - 9))
	if [ $status -eq 0 ] && [ "$done" -eq 9 ] && cmp -s "$SCRATCH/want" "$SCRATCH/got"; then
		continue
	fi
	bad=$((bad + 1))
	echo "round $round, LSC_TEST_SEED=$before: status $status, $done answers" | note
	diff "$SCRATCH/want" "$SCRATCH/got" | head -n 6 | note
	tail -n 6 "$SCRATCH/err" | note
done
expect_equal "$repeat times each stage was killed: answers that were not what they should be" $bad 0
[ "$moved" -gt 0 ]
ok $? "$moved times a request went on over another route"
done_testing
