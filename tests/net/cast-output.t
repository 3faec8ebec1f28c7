#!/bin/sh
# lsc-cast send when its output cannot be written: the cast goes on, and the status says so.
. tests/lib/tap.sh

lsc-shard pack --dummy smollm2-135m --layers 1 "$SCRATCH/image.lsc"
start_node one

send() { lsc-cast send "$SCRATCH/image.lsc" --to "$one" "$@" 2>"$SCRATCH/err"; }

lost() { # lost NAME STATUS
	expect_equal "$1" "$2" 74
	expect_one_line 'arrival records were not written'
	expect_same 'the image is there all the same' "$SCRATCH/one/image.lsc/image" \
		"$SCRATCH/image.lsc/image"
	rm -rf "$SCRATCH/one/image.lsc"
}

send >/dev/full
lost 'a full disk' $?

send >&-
lost 'a closed output' $?

mkfifo "$SCRATCH/gone"
: <"$SCRATCH/gone" &
{
	wait $!
	send
	status=$?
} >"$SCRATCH/gone"
lost 'a reader that went away' $status

# A pipe that is full and that nobody reads: the nodes get the image, and a signal ends the wait.
mkfifo "$SCRATCH/full"
sleep 60 <"$SCRATCH/full" &
ended_at_exit $!
{
	timeout 1 head -c 1048576 /dev/zero
	lsc-cast send "$SCRATCH/image.lsc" --to "$one" 2>"$SCRATCH/err" &
	pid=$!
	i=0
	while [ ! -d "$SCRATCH/one/image.lsc" ] && [ $i -lt 100 ]; do
		sleep 0.1
		i=$((i + 1))
	done
	sleep 0.5
	kill -TERM $pid
	(
		sleep 10
		kill -KILL $pid
	) 2>/dev/null &
	watchdog=$!
	wait $pid
	status=$?
	kill $watchdog
} >"$SCRATCH/full" 2>/dev/null
expect_equal 'a reader that does not read: SIGTERM ends it' $status 143
expect_same 'the image is there' "$SCRATCH/one/image.lsc/image" "$SCRATCH/image.lsc/image"
done_testing
