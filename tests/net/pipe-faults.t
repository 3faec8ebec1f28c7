#!/bin/sh
# lsc-pipe when workers die, hang, are not there or do not hold what they should: answers go on
# elsewhere with the same text, and where there is no elsewhere they end in words.
. tests/lib/tap.sh
. tests/lib/arrivals.sh
requires_command jq

image=$SCRATCH/images/model
mkdir "$SCRATCH/images" "$SCRATCH/empty"
lsc-shard pack --dummy stories260k --blocks 7 "$image"

# Sends a signal to the worker that the first answer comes from: which of PID... it is depends on who
# could be reached first.  $SCRATCH/hit is its pid.
hit() { # hit SIGNAL PID...
	hit_signal=$1
	shift $(($(sed -n 's/.*"stages":\[{"node":\([0-9]*\).*/\1/p' "$SCRATCH/out" | head -n 1) + 1))
	echo "$1" >"$SCRATCH/hit"
	kill -"$hit_signal" "$1"
}
start() { # start NAME [DIR]
	start_server "$1" lsc-exec serve --dir "${2:-$SCRATCH/images}" --listen 127.0.0.1:0 --threads 1
}
alone() { # alone N: what one node answers, as a JSON string
	lsc-exec run "$image" --prompt 'Once upon' -n "$1" | jq -Rsc 'rtrimstr("\n")' >"$SCRATCH/text"
}
# pipe COUNT N LINES COMMAND OPTION...: COUNT equal requests of N tokens.  After so many lines of the
# answers COMMAND is run; lsc-pipe cannot have got much further by then, as nobody reads on.
pipe() {
	jq -nc --argjson count "$1" --argjson n "$2" \
		'range($count) | {id: ., prompt: "Once upon", n: $n}' >"$SCRATCH/requests"
	pipe_lines=$3 pipe_command=$4
	shift 4
	{
		timeout 100 lsc-pipe "$image" --arrivals "$SCRATCH/arrivals" "$@" \
			<"$SCRATCH/requests" 2>"$SCRATCH/err"
		echo $? >"$SCRATCH/status"
	} | {
		while [ "$pipe_lines" -gt 0 ] && IFS= read -r line; do
			printf '%s\n' "$line"
			pipe_lines=$((pipe_lines - 1))
		done
		$pipe_command >/dev/null
		cat
	} >"$SCRATCH/out"
}
finish() { # finish NAME COUNT: all answers came, whole
	expect_equal "$1: status" "$(cat "$SCRATCH/status")" 0
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
pipe 40 400 2000 "hit KILL $a_pid $b_pid"
finish "a worker is killed" 40
expect_equal "some answers went on elsewhere" "$(moved)" true

# --- a stage of a pipeline dies; nobody else holds its units, until somebody does ---

start b1
start c
arrivals "$image" "$b1 $c" 0,1,2,5 3,4,5 >"$SCRATCH/arrivals"
again() {
	kill -KILL "$c_pid"
	sleep 0.5
	lsc-exec serve --dir "$SCRATCH/images" --listen "$c" --threads 1 2>"$SCRATCH/log.again" &
	echo $! >"$SCRATCH/again"
}
pipe 20 400 1000 again
ended_at_exit "$(cat "$SCRATCH/again")"
finish "a stage dies and comes back" 20
expect_equal "answers that were under way took a new route" "$(moved)" true

# --- one hangs ---

start e
arrivals "$image" "$b1 $e" all all >"$SCRATCH/arrivals"
pipe 40 400 2000 "hit STOP $b1_pid $e_pid" --timeout 3s
finish "a worker is stopped" 40
expect_equal "some answers went on elsewhere" "$(moved)" true
grep -q 'silent for' "$SCRATCH/err"
ok $? "which is said"
kill -CONT "$(cat "$SCRATCH/hit")"

# --- one does not hold what the arrivals say ---

start d "$SCRATCH/empty"
arrivals "$image" "$d $e" all all >"$SCRATCH/arrivals"
pipe 10 400 0 true
finish "a worker that has no such image is left" 10

# --- nobody is left ---

arrivals "$image" "$d" all >"$SCRATCH/arrivals"
pipe 3 400 0 true --timeout 1s
expect_equal "where no worker can, the requests fail" "$(cat "$SCRATCH/status")" 1
expect_equal "each in words" "$(fails 'no image')" 3
arrivals "$image" 127.0.0.1:1 all >"$SCRATCH/arrivals"
pipe 3 400 0 true --timeout 1s
expect_equal "nor where no worker can be reached" "$(cat "$SCRATCH/status")" 1
expect_equal "each in words" "$(fails 'no nodes')" 3

# --- a crowd, in bounded memory ---

alone 16
arrivals "$image" "$b1 $e" all all >"$SCRATCH/arrivals"
measure() { # the memory of the lsc-pipe that works on this arrivals file
	for process in /proc/[0-9]*; do
		[ "$({ tr '\0' ' ' <"$process/cmdline"; } 2>/dev/null | cut -d' ' -f1-4)" = \
			"lsc-pipe $image --arrivals $SCRATCH/arrivals" ] || continue
		sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "$process/status" >"$SCRATCH/kb"
	done
}
pipe 1500 16 20000 measure
finish "1500 requests at once" 1500
case ${LSC_BUILD:-} in
*address* | *thread*) skip "a sanitizer takes more memory than the limit" ;;
*)
	kb=$(cat "$SCRATCH/kb")
	[ "$kb" -gt 0 ] && [ "$kb" -lt 40000 ]
	ok $? "in $kb KB"
	;;
esac
done_testing
