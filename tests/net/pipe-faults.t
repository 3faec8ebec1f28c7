#!/bin/sh
# lsc-pipe when workers die, hang, are not there or do not hold what they should: answers go on
# elsewhere with the same text, and where there is no elsewhere they end in words.
. tests/lib/tap.sh
. tests/lib/arrivals.sh
requires_data models
requires_command jq

image=$SCRATCH/images/model
mkdir "$SCRATCH/images" "$SCRATCH/empty"
lsc-shard pack --dtype f32 --blocks 7 "$DATA/models/stories260K-fp32" "$image"

start() { # start NAME [DIR]
	start_server "$1" lsc-exec serve --dir "${2:-$SCRATCH/images}" --listen 127.0.0.1:0 --threads 1
}
alone() { # alone N: what one node answers, as a JSON string
	lsc-exec run "$image" --prompt 'Once upon' -n "$1" | jq -Rsc 'rtrimstr("\n")' >"$SCRATCH/text"
}
pipe() { # pipe COUNT N OPTION...: COUNT equal requests of N tokens, in the background: $pipe_pid
	jq -nc --argjson count "$1" --argjson n "$2" \
		'range($count) | {id: ., prompt: "Once upon", n: $n}' >"$SCRATCH/requests"
	shift 2
	timeout 100 lsc-pipe "$image" --arrivals "$SCRATCH/arrivals" "$@" \
		<"$SCRATCH/requests" >"$SCRATCH/out" 2>"$SCRATCH/err" &
	pipe_pid=$!
	ended_at_exit $pipe_pid
}
tokens() { # tokens N: waits for so many
	while [ "$(grep -c '"token"' "$SCRATCH/out")" -lt "$1" ]; do sleep 0.01; done
}
finish() { # finish NAME COUNT: all answers came, whole
	wait $pipe_pid
	expect_equal "$1: status" $? 0
	expect_equal "$1: answers" "$(grep -c '"done"' "$SCRATCH/out")" "$2"
	jq -c 'select(.type == "done").text' "$SCRATCH/out" | sort -u >"$SCRATCH/texts"
	expect_same "$1: each has the text of one node" "$SCRATCH/texts" "$SCRATCH/text"
}
fails() { jq -r 'select(.type == "fail").why' "$SCRATCH/out" | grep -c "$1"; }
moved() { # whether some request had two routes
	jq -s 'map(select(.type == "route")) | group_by(.id) | any(length > 1)' "$SCRATCH/out"
}

# --- a node that has all dies ---

alone 400
start a
start b
arrivals "$image" "$a $b" all all >"$SCRATCH/arrivals"
pipe 60 400
tokens 2000
kill -KILL "$a_pid"
finish "a worker is killed" 60
expect_equal "some answers went on elsewhere" "$(moved)" true

# --- a stage of a pipeline dies; nobody else holds its units, until somebody does ---

start c
arrivals "$image" "$b $c $b" 0,1,2,5 3,4,5 >"$SCRATCH/arrivals"
pipe 40 400
tokens 1000
kill -KILL "$c_pid"
sleep 0.5
lsc-exec serve --dir "$SCRATCH/images" --listen "$c" --threads 1 2>"$SCRATCH/log.again" &
ended_at_exit $!
finish "a stage dies and comes back" 40
expect_equal "answers that were under way took a new route" "$(moved)" true

# --- one hangs ---

arrivals "$image" "$b $c" all all >"$SCRATCH/arrivals"
pipe 60 400 --timeout 3s
tokens 2000
kill -STOP "$b_pid"
finish "a worker is stopped" 60
grep -q 'silent for' "$SCRATCH/err"
ok $? "which is said"
kill -CONT "$b_pid"

# --- one does not hold what the arrivals say ---

start d "$SCRATCH/empty"
arrivals "$image" "$d $b" all all >"$SCRATCH/arrivals"
pipe 10 400
finish "a worker that has no such image is left" 10

# --- nobody is left ---

arrivals "$image" "$d" all >"$SCRATCH/arrivals"
pipe 3 400 --timeout 1s
wait $pipe_pid
expect_equal "where no worker can, the requests fail" $? 1
expect_equal "each in words" "$(fails 'no image')" 3
arrivals "$image" 127.0.0.1:1 all >"$SCRATCH/arrivals"
pipe 3 400 --timeout 1s
wait $pipe_pid
expect_equal "nor where no worker can be reached" $? 1
expect_equal "each in words" "$(fails 'no nodes')" 3

# --- the same text under load, in bounded memory ---

arrivals "$image" "$b $c" all all >"$SCRATCH/arrivals"
alone 16
pipe 1500 16
kb=0
while kill -0 $pipe_pid 2>/dev/null; do
	child=$(cat /proc/$pipe_pid/task/$pipe_pid/children)
	now=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/${child% }/status" 2>/dev/null)
	kb=${now:-$kb}
	sleep 0.2
done
finish "1500 requests at once" 1500
[ "$kb" -gt 0 ] && [ "$kb" -lt "${LSC_TEST_MAX_KB:-40000}" ]
ok $? "in $kb KB"
done_testing
