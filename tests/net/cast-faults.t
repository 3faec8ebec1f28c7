#!/bin/sh
# lsc-cast when processes are killed or stopped, two casts meet, or a disk takes no more: one line that
# names the node, a status, and the next cast moves what is missing.
. tests/lib/tap.sh

lsc-shard pack --dummy smollm2-135m --layers 4 "$SCRATCH/image.lsc"
size=$(wc -c <"$SCRATCH/image.lsc/image")
rate=$((size / 2))
start_node one
start_node two
start_node three

# begin OPTION...: a cast that takes 2 s, in the background; $pid
begin() {
	lsc-cast send "$SCRATCH/image.lsc" --max-rate $rate "$@" >"$SCRATCH/out" 2>"$SCRATCH/err" &
	pid=$!
	ended_at_exit $pid
	sleep 1
}

pieces() { # pieces NODE head|tail: of the records in out, in the first or last progress of NODE
	lsc-msg <"$SCRATCH/out" 2>/dev/null | grep '"type":"progress"' | grep "\"node\":$1," |
		"$2" -n 1 | sed 's/.*"pieces":\([0-9]*\).*/\1/'
}

half() { # half NODE...: has a part of the image, and nothing that looks like all of it
	for node; do
		[ -d "$SCRATCH/$node/image.lsc.part" ] && [ ! -e "$SCRATCH/$node/image.lsc" ]
		ok $? "$node keeps what it has, and does not call it an image"
	done
}

# again FIRST OPTION...: the next cast succeeds, and its node 1 begins with FIRST pieces at least.
again() {
	first=$1
	shift
	expect_status 0 'the next cast succeeds' lsc-cast send "$SCRATCH/image.lsc" \
		--max-rate $rate "$@"
	[ "$(pieces 1 head)" -ge "$first" ] && [ "$first" -gt 0 ]
	ok $? "and moves the rest: one had $first of 345, began with $(pieces 1 head)"
	expect_status 0 'what arrived is right' lsc-shard verify "$SCRATCH/one/image.lsc"
	rm -rf "$SCRATCH/one/image.lsc" "$SCRATCH/two/image.lsc"
}

begin --to "$one,$two"
kill -KILL $pid
wait $pid 2>/dev/null
had=$(pieces 1 tail)
i=0
until grep -q 'abandoned' "$SCRATCH/log.one" || [ $i -gt 50 ]; do
	sleep 0.1
	i=$((i + 1))
done
half one two
again "$had" --to "$one,$two"

begin --to "$one,$two"
kill -KILL "$two_pid"
wait $pid
expect_equal 'a receiver killed: status' $? 74
expect_one_line "$two: "
half one two
had=$(pieces 1 tail)
start_server two lsc-cast serve --dir "$SCRATCH/two" --listen "$two"
again "$had" --to "$one,$two"

lsc-cast send "$SCRATCH/image.lsc" --to "$three" >"$SCRATCH/out"
begin --to "$one,$two" --sources "$three"
kill -KILL "$three_pid"
wait $pid
expect_equal 'a source killed: status' $? 74
expect_one_line "$three: "
half one two
had=$(pieces 2 tail)
again "${had:-0}" --to "$one,$two"

begin --to "$one,$two" --timeout 1s
kill -STOP "$two_pid"
wait $pid
expect_equal 'a receiver that hangs: status' $? 75
expect_one_line "$two: nothing heard for 1.0 s"
kill -CONT "$two_pid"
half one two
again "$(pieces 1 tail)" --to "$one,$two"

begin --to "$one,$two"
expect_status 75 'a second cast of the same image meanwhile' lsc-cast send "$SCRATCH/image.lsc" \
	--to "$two"
expect_one_line "$two: '$SCRATCH/two/image.lsc.part' is being received already"
expect_status 0 'one under another name' lsc-cast send "$SCRATCH/image.lsc" --to "$two" \
	--name other.lsc
wait $pid
expect_equal 'the first is not disturbed' $? 0
rm -rf "$SCRATCH/one/image.lsc" "$SCRATCH/two/image.lsc" "$SCRATCH/two/other.lsc"

begin --to "$one,$two"
kill -TERM $pid
wait $pid
expect_equal 'a cast that is told to end' $? 143
expect_equal 'says nothing of it' "$(wc -c <"$SCRATCH/err")" 0
half one two

# A disk of 20 MB, and one that is read-only.
if unshare -m true 2>/dev/null; then
	cat >"$SCRATCH/small.sh" <<-'END'
		mkdir "$1/small" && mount -t tmpfs -o "size=20m" none "$1/small" || exit 99
		lsc-cast serve --dir "$1/small" --listen 127.0.0.1:0 --ready-fd 3 3>"$1/address" &
		while [ ! -s "$1/address" ]; do sleep 0.05; done
		lsc-cast send "$1/image.lsc" --to "$(cat "$1/address")" >/dev/null 2>"$1/err.full"
		echo $? $(ls "$1/small" | wc -l) >"$1/status"
		mount -o remount,ro "$1/small"
		lsc-cast send "$1/image.lsc" --to "$(cat "$1/address")" >/dev/null 2>"$1/err.ro"
		echo $? >>"$1/status"
		kill $!
		wait
	END
	unshare -m sh "$SCRATCH/small.sh" "$SCRATCH"
	expect_equal 'a full disk is 74 and leaves nothing, a read-only one is 74' \
		"$(tr '\n' ' ' <"$SCRATCH/status")" '74 0 74 '
	mv "$SCRATCH/err.full" "$SCRATCH/err"
	expect_one_line 'No space left on device'
	mv "$SCRATCH/err.ro" "$SCRATCH/err"
	expect_one_line 'Read-only file system'
else
	skip 'mount namespaces are not allowed here'
fi
done_testing
