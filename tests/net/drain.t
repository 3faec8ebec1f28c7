#!/bin/sh
# A worker that gets SIGTERM leaves under load: its requests finish there or elsewhere, new ones go
# elsewhere, nobody gets an error, and it ends in time with status 0.
. tests/lib/tap.sh
. tests/lib/arrivals.sh
requires_command jq

image=$SCRATCH/images/model
mkdir "$SCRATCH/images"
lsc-shard pack --dummy stories260k --blocks 7 "$image"
lsc-exec run "$image" --prompt 'Once upon' -n 400 | jq -Rsc 'rtrimstr("\n")' >"$SCRATCH/text"

start() { # start NAME OPTION...
	start_name=$1
	shift
	start_server "$start_name" lsc-exec serve --dir "$SCRATCH/images" --listen 127.0.0.1:0 \
		--threads 1 "$@"
}
requests() { # requests FIRST PAST
	jq -nc --argjson first "$1" --argjson past "$2" \
		'range($first; $past) | {id: ., prompt: "Once upon", n: 400}'
}
pipe() { # pipe OPTION...: until its input ends, which is descriptor 8
	rm -f "$SCRATCH/in"
	mkfifo "$SCRATCH/in"
	timeout 100 lsc-pipe "$image" --arrivals "$SCRATCH/arrivals" "$@" \
		<"$SCRATCH/in" >"$SCRATCH/out" 2>"$SCRATCH/err" &
	pipe=$!
	exec 8>"$SCRATCH/in"
}
await() { # await COUNT TEXT: so many lines of the answers have it
	while [ "$(grep -c "$2" "$SCRATCH/out")" -lt "$1" ]; do
		kill -0 $pipe || break
		sleep 0.02
	done
}
finish() { # finish NAME COUNT
	exec 8>&-
	wait $pipe
	expect_equal "$1: status" $? 0
	expect_equal "$1: answers" "$(grep -c '"done"' "$SCRATCH/out")" "$2"
	expect_equal "$1: no failure" "$(grep -c '"fail"' "$SCRATCH/out")" 0
	jq -c 'select(.type == "done").text' "$SCRATCH/out" | sort -u >"$SCRATCH/texts"
	expect_same "$1: each has the text of one node" "$SCRATCH/texts" "$SCRATCH/text"
}
# term NAME LIMIT: SIGTERM; it ends with 0 within so many seconds
term() {
	term_start=$(date +%s%N)
	eval "kill -TERM \$${1}_pid; wait \$${1}_pid"
	expect_equal "it leaves with status" $? 0
	term_ms=$((($(date +%s%N) - term_start) / 1000000))
	[ $term_ms -lt $(($2 * 1000)) ]
	ok $? "after $term_ms ms"
}

# --- one of two that have all ---

start a
start b
arrivals "$image" "$a $b" all all >"$SCRATCH/arrivals"
pipe
requests 0 20 >&8
await 200 '"token"'
term a 20
grep -q 'leaves' "$SCRATCH/err"
ok $? "its router was told"
requests 20 30 >&8
finish "a worker leaves" 30
expect_equal "what came after that went elsewhere" \
	"$(jq -c 'select(.type == "route" and .id >= 20).stages[0].node' "$SCRATCH/out" | sort -u)" 1

# --- both stages of a pipeline, one after the other, to the other pair ---

for node in c d e f; do start $node; done
arrivals "$image" "$c $d $e $f" 0,1,2,5 3,4,5 0,1,2,5 3,4,5 >"$SCRATCH/arrivals"
pipe
requests 0 12 >&8
await 100 '"token"'
term c 20
await 2000 '"token"'
term f 20
requests 12 16 >&8
finish "stages leave" 16
expect_equal "what came last went to those that were left" \
	"$(jq -c 'select(.type == "route" and .id >= 12).stages | map(.node) | unique' \
		"$SCRATCH/out" | sort -u)" '[1,2]'

# --- the only one, which has no time for it: another takes its place ---

start g --drain-timeout 50ms
arrivals "$image" "$g" all >"$SCRATCH/arrivals"
pipe
requests 0 30 >&8
await 100 '"token"'
term g 2
lsc-exec serve --dir "$SCRATCH/images" --listen "$g" --threads 1 2>"$SCRATCH/log.again" 8>&- &
ended_at_exit $!
finish "the only worker is replaced" 30

# --- nothing to do, and no patience ---

start h --drain-timeout 60s
term h 2
start i --drain-timeout 60s
arrivals "$image" "$i" all >"$SCRATCH/arrivals"
pipe
requests 0 40 >&8
await 100 '"token"'
kill -TERM "$i_pid"
sleep 0.05
kill -INT "$i_pid"
wait "$i_pid"
expect_equal "a second signal ends it at once, with" $? 0
kill $pipe
exec 8>&-
wait $pipe
done_testing
