#!/bin/sh
# lsc-cast send --raw: files and directories, as they are, to nodes over loopback.
. tests/lib/tap.sh

open_up() { chmod -R u+w "$SCRATCH"; } # or others than root could not remove it
call_at_exit open_up

tree=$SCRATCH/tree
mkdir -p "$tree/empty" "$tree/sub/closed" "$tree/sub/..odd" "$tree/with space"
head -c 2500001 /dev/urandom >"$tree/large"
head -c 300000 /dev/urandom >"$tree/sub/large"
for i in 1 2 3 4 5 6 7 8 9; do head -c $((i * 1777)) /dev/urandom >"$tree/sub/small$i"; done
: >"$tree/nothing"
echo '#!/bin/sh' >"$tree/run"
echo closed >"$tree/sub/closed/file"
echo odd >"$tree/with space/$(printf 'n\377ame')"
chmod 755 "$tree/run"
chmod 4750 "$tree/large"
chmod 444 "$tree/sub/large" "$tree/nothing"
chmod 555 "$tree/sub/closed"
ln -s ../large "$tree/sub/link"
ln -s /nowhere/at/all "$tree/dangling"
touch -d '2001-02-03 04:05:06.789' "$tree/nothing" "$tree/large" "$tree/sub"

start_node one
start_node two
to=$one,$two

# What is there: names, kinds, permissions, sizes and times, targets of links.
listing() {
	(cd "$1" && find . -type l -printf '%p l %l\n' -o -type d -printf '%p d %m %T@\n' -o \
		-printf '%p %y %m %T@ %s\n' | LC_ALL=C sort)
}

# same NODE NAME
same() {
	listing "$tree" | sed 's/ f 4750/ f 750/' >"$SCRATCH/want"
	listing "$SCRATCH/$1/$2" >"$SCRATCH/got"
	expect_same "$1 has the tree" "$SCRATCH/got" "$SCRATCH/want"
	diff -r --no-dereference "$tree" "$SCRATCH/$1/$2" >"$SCRATCH/diff" 2>&1
	ok $? "with its bytes"
	[ ! -e "$SCRATCH/$1/$2.part" ]
	ok $? "and nothing half-written"
}

expect_status 0 "a tree" lsc-cast send --raw "$tree" --to "$to"
same one tree
same two tree
expect_status 0 "it verifies" lsc-shard verify "$SCRATCH/one/tree"
lsc-shard ls "$SCRATCH/one/tree" >"$SCRATCH/out"
grep -q 'link .*sub/link -> ../large' "$SCRATCH/out"
ok $? "and is listed"
lsc-shard ls --json "$SCRATCH/one/tree" | jq -e '.files | map(select(.path == "run")) | length == 1' >/dev/null
ok $? "as JSON too"

expect_status 0 "casting again" lsc-cast send --raw "$tree/" --to "$to"
expect_equal "moves nothing" "$(lsc-msg to-json <"$SCRATCH/out" | grep -c '"type":"\(block\|progress\)"')" 0

start_node three
expect_status 0 "a node that has it is a source" lsc-cast send --raw "$tree" --to "$three" --sources "$one"
same three tree

for tool in 'lsc-exec run --prompt x' 'lsc-pipe --arrivals /dev/null'; do
	# shellcheck disable=SC2086
	$tool "$SCRATCH/one/tree" </dev/null >/dev/null 2>"$SCRATCH/err"
	expect_equal "$tool wants a model" $(($? != 0)) 1
	expect_one_line "holds files that were cast, and no model"
done

expect_status 0 "one file" lsc-cast send --raw "$tree/sub/small7" --to "$to" --name a.file
expect_same "is a file" "$SCRATCH/two/a.file" "$tree/sub/small7"
expect_status 0 "a large one" lsc-cast send --raw "$tree/large" --to "$to"
expect_same "too" "$SCRATCH/two/large" "$tree/large"
expect_status 0 "an empty one" lsc-cast send --raw "$tree/nothing" --to "$to"
expect_same "too" "$SCRATCH/two/nothing" "$tree/nothing"
expect_status 0 "an empty directory" lsc-cast send --raw "$tree/empty" --to "$to"
[ -d "$SCRATCH/one/empty" ] && [ -z "$(ls -A "$SCRATCH/one/empty")" ]
ok $? "too"
mkdir "$SCRATCH/closed" && echo closed >"$SCRATCH/closed/file" && chmod 555 "$SCRATCH/closed"
expect_status 0 "a directory that nobody may write to" lsc-cast send --raw "$SCRATCH/closed" --to "$to"
expect_equal "stays one" "$(stat -c %a "$SCRATCH/one/closed")" 555
ln -s tree "$SCRATCH/alias"
expect_status 0 "through a link" lsc-cast send --raw "$SCRATCH/alias" --to "$to"
same two alias

# What is in the way.
echo more >>"$tree/run"
expect_status 74 "another tree of that name" lsc-cast send --raw "$tree" --to "$one"
expect_one_line "is there already, and is another"
expect_equal "stays what it is" "$(cat "$SCRATCH/one/tree/run")" '#!/bin/sh'
mkdir "$SCRATCH/one/own"
expect_status 74 "somebody's own directory" lsc-cast send --raw "$tree" --to "$one" --name own
expect_one_line "no cast brought it"
echo x >>"$SCRATCH/one/large"
expect_status 74 "a file that was changed" lsc-cast send --raw "$tree/large" --to "$one"
expect_one_line "was changed"
expect_status 65 "is seen by verify too" lsc-shard verify "$SCRATCH/one/large"

mkfifo "$tree/pipe"
expect_status 0 "a pipe" lsc-cast send --raw "$tree" --to "$to" --name piped
expect_one_line "are left out: 1, the first is 'pipe'"
[ ! -e "$SCRATCH/one/piped/pipe" ]
ok $? "is left out"
rm "$tree/pipe"
expect_status 74 "a tree without --raw" lsc-cast send "$tree" --to "$to"
expect_one_line "is no image; --raw sends files as they are"
expect_status 74 "nothing there" lsc-cast send --raw "$SCRATCH/nowhere" --to "$to"
expect_one_line "nowhere"

# A receiver that is killed, and one that goes on; one that has nothing alike to take pieces from.
start_node four
lsc-cast send --raw "$tree" --to "$four" --max-rate 1M >"$SCRATCH/out" 2>"$SCRATCH/err" &
pid=$!
sleep 1.2
kill -KILL "$four_pid"
wait $pid
[ -d "$SCRATCH/four/tree.part" ] && [ ! -e "$SCRATCH/four/tree" ]
ok $? "half a tree has no name"
start_node four
expect_status 0 "the next cast" lsc-cast send --raw "$tree" --to "$four"
same four tree

# A file that is cut shorter while it is sent.
start_node five
lsc-cast send --raw "$tree" --to "$five" --max-rate 500k >"$SCRATCH/out" 2>"$SCRATCH/err" &
pid=$!
sleep 1
: >"$tree/large"
wait $pid
expect_equal "a file that is cut ends the cast" $? 74
expect_one_line "cut shorter"
[ ! -e "$SCRATCH/five/tree" ]
ok $? "and nobody has it"
done_testing
