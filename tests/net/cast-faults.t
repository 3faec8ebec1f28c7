#!/bin/sh
# lsc-cast when processes are killed or stopped, sources change, two casts meet, or a disk takes no
# more: a line that names the node, the others go on, and the next cast moves what is missing.
#
# Each loss is tried LSC_TEST_REPEAT times (1).
. tests/lib/tap.sh

repeat=${LSC_TEST_REPEAT:-1}
lsc-shard pack --dummy smollm2-135m --layers 4 "$SCRATCH/image.lsc"
size=$(wc -c <"$SCRATCH/image.lsc/image")
total=$(lsc-shard ls --json "$SCRATCH/image.lsc" | sed 's/.*"pieces":\([0-9]*\).*/\1/')
rate=$((size / 2))
for node in one two three four; do start_node $node; done
all=$one,$two,$three,$four

# begin OPTION...: a cast that takes 2 s, in the background, and 1 s of it; $pid
begin() {
	lsc-cast send "$SCRATCH/image.lsc" --max-rate $rate "$@" >"$SCRATCH/out" 2>"$SCRATCH/err" &
	pid=$!
	ended_at_exit $pid
	sleep 1
}

revive() { # revive NODE: a node that was killed, at its address
	eval "address=\$$1"
	start_server "$1" lsc-cast serve --dir "$SCRATCH/$1" --listen "$address"
}

records() { lsc-msg <"$SCRATCH/out" 2>/dev/null; }

pieces() { # pieces NODE head|tail: of the records in out, in the first or last progress of NODE
	records | grep '"type":"progress"' | grep "\"node\":$1," | "$2" -n 1 |
		sed 's/.*"pieces":\([0-9]*\).*/\1/'
}

has() { [ -e "$SCRATCH/$1/image.lsc" ]; }
clear_nodes() { rm -rf "$SCRATCH"/one/* "$SCRATCH"/two/* "$SCRATCH"/three/* "$SCRATCH"/four/*; }

# complete WHEN NODE...: they have the image, and it is right
complete() {
	when=$1 good=0
	shift
	for node; do
		cmp -s "$SCRATCH/image.lsc/image" "$SCRATCH/$node/image.lsc/image" || good=1
	done
	ok $good "$when: $* have the image"
}

half() { # half NODE...: has a part of the image, and nothing that looks like all of it
	for node; do
		[ -d "$SCRATCH/$node/image.lsc.part" ] && ! has "$node"
		ok $? "$node keeps what it has, and does not call it an image"
	done
}

# on_time WHEN SECONDS: when the last node was complete
on_time() {
	took=$(records | grep '"type":"complete"' | tail -n 1 | sed 's/.*"t":\([0-9.]*\).*/\1/')
	awk -v t="${took:-99}" -v most="$2" 'BEGIN { exit !(t < most) }'
	ok $? "$1: the others are complete after ${took:-?} s, at most $2"
}

# --- nothing is lost: what a cast takes undisturbed ---

began=$(date +%s%N)
lsc-cast send "$SCRATCH/image.lsc" --max-rate $rate --to "$all" >"$SCRATCH/out"
quiet=$(awk -v t=$(($(date +%s%N) - began)) 'BEGIN { print t / 1e9 }')
limit=$(awk -v t="$quiet" 'BEGIN { print 1.25 * t + 2 }') # and the time-out
sooner=$(awk -v t="$quiet" 'BEGIN { print 1.25 * t + 0.3 }')
clear_nodes

# --- receivers ---

lose() { # lose VICTIM OTHER...: a receiver is killed half-way
	victim=$1
	shift
	eval "address=\$$victim victim_pid=\$${victim}_pid"
	begin --to "$all"
	kill -KILL "$victim_pid"
	wait $pid
	expect_equal "$victim killed: status" $? 1
	grep -q "$address: left the cast before its end, going on" "$SCRATCH/err"
	ok $? "it is named"
	complete "$victim killed" "$@"
	on_time "$victim killed" "$sooner"
	half "$victim"
	revive "$victim"
	had=$(du -k "$SCRATCH/$victim/image.lsc.part/image" | cut -f1)
	expect_status 0 'the next cast brings it the rest' lsc-cast send "$SCRATCH/image.lsc" --to "$all"
	complete "after it, with $had KiB before" one two three four
	clear_nodes
}

i=0
while [ $i -lt "$repeat" ]; do
	lose one two three four
	lose two one three four
	lose four one two three

	begin --to "$all"
	kill -STOP "$two_pid"
	wait $pid
	expect_equal 'a receiver stopped: status' $? 1
	grep -q "$two: nothing heard for 2.0 s" "$SCRATCH/err"
	ok $? 'it is named'
	complete 'a receiver stopped' one three four
	on_time 'a receiver stopped' "$limit"
	kill -CONT "$two_pid"
	half two
	expect_status 0 'when it goes on, the next cast completes it' lsc-cast send \
		"$SCRATCH/image.lsc" --to "$all"
	complete 'after it' one two three four
	clear_nodes
	i=$((i + 1))
done

# --- sources ---

i=0
while [ $i -lt "$repeat" ]; do
	cp -r "$SCRATCH/image.lsc" "$SCRATCH/three"
	begin --to "$one,$two,$four" --sources "$three"
	kill -KILL "$three_pid"
	wait $pid
	expect_equal 'one of two sources killed: status' $? 0
	grep -q "$three: left the cast before its end, going on" "$SCRATCH/err"
	ok $? 'it is named'
	complete 'one of two sources killed' one two four
	on_time 'one of two sources killed' "$sooner"
	clear_nodes
	revive three

	begin --to "$all"
	kill -KILL $pid
	wait $pid 2>/dev/null
	had=$(pieces 1 tail)
	sleep 0.5
	half one two three four
	expect_status 0 'the only source killed: another cast of it' lsc-cast send \
		"$SCRATCH/image.lsc" --to "$all"
	[ "${had:-0}" -gt 0 ] && [ "$(pieces 1 head)" -ge "$had" ]
	ok $? "moves the rest: one had ${had:-0} of $total, began with $(pieces 1 head)"
	complete 'after it' one two three four
	clear_nodes
	i=$((i + 1))
done

# All sources are gone when every piece is somewhere: what the receivers hold makes it whole.
cp -r "$SCRATCH/image.lsc" "$SCRATCH/three"
lsc-cast send "$SCRATCH/image.lsc" --max-rate $rate --to "$one,$two" --sources "$three" \
	>"$SCRATCH/out" 2>"$SCRATCH/err" &
pid=$!
ended_at_exit $pid
i=0 # until each has three quarters; halves would do if they were the right ones
until [ "$(pieces 2 tail)" -gt $((total * 3 / 4)) ] 2>/dev/null &&
	[ "$(pieces 3 tail)" -gt $((total * 3 / 4)) ] || [ $i -gt 200 ]; do
	sleep 0.02
	i=$((i + 1))
done
kill -KILL $pid "$three_pid"
wait $pid 2>/dev/null
sleep 0.5
half one two
rm -rf "$SCRATCH/three/image.lsc"
revive three
expect_status 0 'without a source, from parts' lsc-cast send "$SCRATCH/one/image.lsc.part" \
	--to "$all"
complete 'from parts' one two three four
clear_nodes

begin --to "$one"
kill -KILL $pid
wait $pid 2>/dev/null
sleep 0.5
expect_status 74 'a part that is not all of it' lsc-cast send "$SCRATCH/one/image.lsc.part" --to "$two"
expect_one_line ' at no node'
clear_nodes

# The file of the source is written over while it is cast.
cp -r "$SCRATCH/image.lsc" "$SCRATCH/edited"
lsc-cast send "$SCRATCH/edited" --max-rate $rate --to "$all" >"$SCRATCH/out" 2>"$SCRATCH/err" &
pid=$!
ended_at_exit $pid
sleep 0.5
dd if=/dev/urandom of="$SCRATCH/edited/image" bs=65536 seek=$((size / 65536 * 3 / 4)) count=64 \
	conv=notrunc 2>/dev/null
wait $pid
expect_equal 'an image that is edited during its cast: status' $? 65
expect_one_line 'with a wrong hash (said by'
! has one && [ ! -e "$SCRATCH/one/edited" ] && [ ! -e "$SCRATCH/four/edited" ]
ok $? 'nobody takes it for an image'
clear_nodes

# --- strangers ---

# Noise on a node's port, and connections that say nothing, while it receives.
if command -v python3 >/dev/null; then
	begin --to "$all"
	python3 - "$two" <<-'END'
		import os, socket, sys, time
		host, port = sys.argv[1].rsplit(":", 1)
		links = [socket.create_connection((host, int(port))) for _ in range(60)]
		for i, link in enumerate(links[:30]):
		    try:
		        link.sendall(os.urandom(1 + i * 500))
		    except OSError:
		        pass
		time.sleep(0.5)
	END
	wait $pid
	expect_equal 'noise and silence at a port disturb nobody: status' $? 0
	complete 'noise at a port' one two three four
	on_time 'noise at a port' "$sooner"
	clear_nodes
else
	skip 'no python3 to make noise with'
fi

# --- a rate that leaves pauses inside of pieces ---

if command -v python3 >/dev/null; then
	python3 tests/lib/toy_model.py "$SCRATCH/toy.hf" llama3 4
	lsc-shard pack --dtype f32 --piece 256K "$SCRATCH/toy.hf" "$SCRATCH/toy.lsc" 2>/dev/null
	expect_status 0 '160 KB at 40 KB/s' timeout 15 lsc-cast send "$SCRATCH/toy.lsc" \
		--to "$one,$two" --max-rate 40k --timeout 5s
	for node in one two; do
		expect_same "$node has it" "$SCRATCH/$node/toy.lsc/image" "$SCRATCH/toy.lsc/image"
	done
	clear_nodes
fi

# --- casts that meet ---

begin --to "$one,$two"
expect_status 75 'a second cast of the same image meanwhile' lsc-cast send "$SCRATCH/image.lsc" \
	--to "$two"
expect_one_line "$two: '$SCRATCH/two/image.lsc.part' is being received already"
expect_status 0 'one under another name' lsc-cast send "$SCRATCH/image.lsc" --to "$two" \
	--name other.lsc
wait $pid
expect_equal 'the first is not disturbed' $? 0
expect_status 0 'the same cast once more' lsc-cast send "$SCRATCH/image.lsc" --to "$one,$two"
clear_nodes

begin --to "$one,$two"
kill -TERM $pid
wait $pid
expect_equal 'a cast that is told to end' $? 143
expect_equal 'says nothing of it' "$(wc -c <"$SCRATCH/err")" 0
half one two
clear_nodes

# --- disks ---

# One of 20 MB, and one that is read-only, beside a good one; one that something else fills up.
if unshare -m true 2>/dev/null; then
	cat >"$SCRATCH/small.sh" <<-'END'
		mkdir "$1/small" && mount -t tmpfs -o "size=20m" none "$1/small" || exit 99
		lsc-cast serve --dir "$1/small" --listen 127.0.0.1:0 --ready-fd 3 3>"$1/address" &
		server=$!
		while [ ! -s "$1/address" ]; do sleep 0.05; done
		lsc-cast send "$1/image.lsc" --to "$(cat "$1/address")" >/dev/null 2>"$1/err.full"
		echo $? $(ls "$1/small" | wc -l) >"$1/status"
		lsc-cast send "$1/image.lsc" --to "$(cat "$1/address"),$2" >/dev/null 2>"$1/err.both"
		echo $? >>"$1/status"
		mount -o remount,ro "$1/small"
		lsc-cast send "$1/image.lsc" --to "$(cat "$1/address")" >/dev/null 2>"$1/err.ro"
		echo $? >>"$1/status"
		mount -o "remount,rw,size=90m" "$1/small"
		lsc-cast send "$1/image.lsc" --to "$(cat "$1/address")" --max-rate "$3" >/dev/null \
			2>"$1/err.filled" &
		cast=$!
		sleep 1
		dd if=/dev/zero of="$1/small/other" bs=1M 2>"$1/dd"
		wait $cast
		echo $? $(ls "$1/small" | grep -c part) >>"$1/status"
		rm "$1/small/other"
		lsc-cast send "$1/image.lsc" --to "$(cat "$1/address")" >/dev/null 2>"$1/err.again"
		echo $? >>"$1/status"
		kill $server
		wait
	END
	unshare -m sh "$SCRATCH/small.sh" "$SCRATCH" "$one" "$rate"
	expect_equal 'a full disk is 74 and leaves nothing, 1 beside a good one; a read-only one is 74' \
		"$(head -n 3 "$SCRATCH/status" | tr '\n' ' ')" '74 0 1 74 '
	expect_equal 'one that fills up meanwhile is 74 and keeps what came, for the next cast' \
		"$(tail -n 2 "$SCRATCH/status" | tr '\n' ' ')" '74 1 0 '
	mv "$SCRATCH/err.filled" "$SCRATCH/err"
	expect_one_line 'No space left on device'
	complete 'beside a full disk' one
	mv "$SCRATCH/err.full" "$SCRATCH/err"
	expect_one_line 'No space left on device'
	mv "$SCRATCH/err.ro" "$SCRATCH/err"
	expect_one_line 'Read-only file system'
else
	skip 'mount namespaces are not allowed here'
fi
done_testing
