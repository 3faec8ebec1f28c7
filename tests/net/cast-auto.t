#!/bin/sh
# lsc-cast send --sources auto: nodes are asked what they have; those that have it send.
. tests/lib/tap.sh
requires_command jq

lsc-shard pack --dummy smollm2-135m --layers 2 "$SCRATCH/image.lsc"
lsc-shard pack --dummy smollm2-135m --layers 1 "$SCRATCH/other.lsc"
for name in one two three four; do start_node $name; done
gone=127.0.0.1:1

give() { for node; do cp -r "$SCRATCH/image.lsc" "$SCRATCH/$node/"; done; }
clear() { for node; do rm -rf "$SCRATCH/$node/image.lsc" "$SCRATCH/$node/image.lsc.part"; done; }
whole() {
	for node; do expect_same "$node has it" "$SCRATCH/$node/image.lsc/image" "$SCRATCH/image.lsc/image"; done
}
sources() { # who sent, of the records of the last cast
	lsc-msg <"$SCRATCH/out" | jq -r 'select(.type == "node" and .role == "source" and .node > 0) | .name' | sort | tr '\n' ' '
}
sorted() { printf '%s\n' "$@" | sort | tr '\n' ' '; }
receivers() { lsc-msg <"$SCRATCH/out" | grep -c '"complete"'; }

# The image is not here: the nodes that have it give its manifest, and send.
give one two
expect_status 0 'from nodes that have it' lsc-cast send image.lsc --sources auto --ask "$one,$two" --to "$three,$four"
whole three four
expect_equal 'both send' "$(sources)" "$(sorted "$one" "$two")"
grep -q "'image.lsc' is at 2 of 4 nodes, and in part at 0" "$SCRATCH/err"
ok $? 'which is said'

clear two three four
expect_status 0 'one that is to have it has it' lsc-cast send image.lsc --sources auto --to "$one,$two,$three,$four"
whole one two three four
expect_equal 'and is no source by name' "$(sources)" ''
expect_status 0 'all have it' lsc-cast send image.lsc --sources auto --to "$one,$two"
expect_equal 'nothing is sent' "$(lsc-msg <"$SCRATCH/out" | grep -c '"progress"')" 0

clear three
expect_status 0 'sources that are named, of an image that is not here' \
	lsc-cast send image.lsc --sources "$one,$two" --to "$three"
whole three

clear two three four
expect_status 0 'an image that is here, and at a node' lsc-cast send "$SCRATCH/image.lsc" --sources auto \
	--ask "$one,$gone" --to "$two,$three"
whole two three
expect_equal 'which sends as well' "$(sources)" "$one "

# An inventory names nodes to ask.
clear two three
for node in "$one" "$four"; do
	printf '{"type":"node","node":"%s","t":1,"speeds":{}}\n' "$node"
done | sed '1i {"type":"hello","kind":"inventory","version":[1,0]}
$a {"type":"end"}' | lsc-msg from-json >"$SCRATCH/inventory"
expect_status 0 'nodes of an inventory' lsc-cast send image.lsc --sources auto --inventory "$SCRATCH/inventory" --to "$two"
expect_equal 'are asked' "$(sources)" "$one "
clear two
expect_status 0 'but for some' lsc-cast send image.lsc --sources auto --inventory "$SCRATCH/inventory" \
	--exclude "$four" --to "$two"

# Parts of it: a cast that was cut off leaves one at each node.
clear one two three four
lsc-cast send "$SCRATCH/image.lsc" --order kway --max-rate 20M --to "$one,$two,$three" >"$SCRATCH/out" 2>/dev/null &
pid=$!
ended_at_exit $pid
sleep 1
kill -KILL $pid
wait $pid 2>/dev/null
sleep 0.3
[ -d "$SCRATCH/one/image.lsc.part" ] && [ -d "$SCRATCH/two/image.lsc.part" ]
ok $? 'nodes have parts'
give four
expect_status 0 'parts and a whole' lsc-cast send image.lsc --sources auto --ask "$four" --to "$one,$two,$three"
whole one two three
expect_equal 'what they have is not sent' \
	"$(lsc-msg <"$SCRATCH/out" | jq -s '[.[] | select(.type == "node" and .role == "receiver") | .pieces > 0] | all')" true
grep -q "at 1 of 4 nodes, and in part at 3" "$SCRATCH/err"
ok $? 'and counted'

# Parts alone, which are everything together, or not.
pieces=$(lsc-shard ls --json "$SCRATCH/image.lsc" | jq .pieces)
part() { # part NODE FROM TO: has these pieces, by the table that a receiver would have left
	mkdir "$SCRATCH/$1/image.lsc.part"
	cp "$SCRATCH/image.lsc"/* "$SCRATCH/$1/image.lsc.part/"
	python3 - "$SCRATCH/$1/image.lsc.part/arrivals" "$pieces" "$2" "$3" <<-'END'
		import struct, sys
		path, n, first, last = sys.argv[1], *map(int, sys.argv[2:])
		boot = open("/proc/sys/kernel/random/boot_id", "rb").read()[:39]
		bits = bytearray((n + 63) // 64 * 8)
		for piece in range(first, last):
		    bits[piece // 8] |= 1 << piece % 8
		open(path, "wb").write(struct.pack("<8sII40sIIII", b"lscarrv", 1, n, boot, 0, 0, last - first, 0) + bits)
	END
}
clear one two three four
if command -v python3 >/dev/null; then
	part one 0 $((pieces / 2))
	part two $((pieces / 2)) $((pieces - 1))
	expect_status 74 'parts that are not everything' lsc-cast send image.lsc --sources auto --to "$one,$two,$three"
	grep -q "piece $((pieces - 1)) of $pieces is neither here nor at any other node" "$SCRATCH/err"
	ok $? 'which piece is nowhere is said'
	part four $((pieces - 1)) "$pieces"
	expect_status 74 'the rest at a node that is not to have it' \
		lsc-cast send image.lsc --sources auto --ask "$four" --to "$one,$two,$three"
	grep -q "$four has 1 of $pieces pieces of 'image.lsc', and gives them if it is to have the others" "$SCRATCH/err"
	ok $? 'is not taken from there without being asked, and that is said'
	expect_status 0 'parts that are everything' lsc-cast send image.lsc --sources auto --to "$one,$two,$three,$four"
	whole one two three four
else
	skip 'no python3 to make parts with'
fi

# Who has something else of that name, or is not there.
clear one two three four
cp -r "$SCRATCH/other.lsc" "$SCRATCH/one/image.lsc"
give two three
expect_status 0 'the image that most have is meant' \
	lsc-cast send image.lsc --sources auto --ask "$one,$two,$three,$gone" --to "$four"
whole four
expect_equal 'and they send it' "$(sources)" "$(sorted "$two" "$three")"
grep -q "$one has another image 'image.lsc'" "$SCRATCH/err"
ok $? 'the other one is named'
rm -rf "$SCRATCH/one/image.lsc"
echo broken >"$SCRATCH/two/image.lsc/manifest"
clear four
expect_status 0 'a damaged one is none' lsc-cast send image.lsc --sources auto --ask "$two,$three" --to "$four"
expect_equal 'and sends nothing' "$(sources)" "$three "
rm -rf "$SCRATCH/two/image.lsc"
clear three four
expect_status 74 'nobody has it' lsc-cast send image.lsc --sources auto --ask "$gone" --to "$one"
expect_one_line "'image.lsc' is neither here nor at any node that was asked; cannot connect to '$gone'"
give three
kill -STOP "$three_pid"
expect_status 74 'one that is silent' lsc-cast send image.lsc --sources auto --ask "$three" --to "$one" --timeout 300ms
expect_one_line 'timed out waiting for its hello'
kill -CONT "$three_pid"

# Keys: who has not the cluster's key is told nothing.
if lsc --features | grep -qx 'tls yes'; then
	lsc-cast keygen "$SCRATCH/key" && lsc-cast keygen "$SCRATCH/wrong"
	for name in five six; do
		mkdir -p "$SCRATCH/$name"
		start_server $name lsc-cast serve --dir "$SCRATCH/$name" --listen 127.0.0.1:0 --key-file "$SCRATCH/key"
	done
	give five
	expect_status 0 'with a key' lsc-cast send image.lsc --sources auto --ask "$five" --to "$six" --key-file "$SCRATCH/key"
	whole six
	clear six
	expect_status 0 'and plain data links' lsc-cast send image.lsc --sources auto --ask "$five" --to "$six" \
		--key-file "$SCRATCH/key" --cleartext-data
	whole six
	expect_status 74 'another key' lsc-cast send image.lsc --sources auto --ask "$five" --to "$six" \
		--key-file "$SCRATCH/wrong"
	expect_one_line 'neither here nor'
	expect_status 74 'no key' lsc-cast send image.lsc --sources auto --ask "$five" --to "$six"
else
	skip 'no TLS'
fi

# Files that were cast as they are.
mkdir "$SCRATCH/files" && echo text >"$SCRATCH/files/a"
expect_status 0 'files' lsc-cast send --raw "$SCRATCH/files" --to "$one"
expect_status 0 'from a node that has them' lsc-cast send files --sources auto --ask "$one" --to "$two"
expect_same 'are files there' "$SCRATCH/two/files/a" "$SCRATCH/files/a"

refuse() { # refuse MESSAGE OPTION...
	message=$1
	shift
	expect_status 64 "refuses $*" lsc-cast send "$@"
	grep -qF -- "$message" "$SCRATCH/err"
	ok $? "saying: $message"
}
refuse 'are for --sources auto' image.lsc --ask "$one" --to "$two"
refuse 'are for --sources auto' image.lsc --inventory "$SCRATCH/inventory" --to "$two"
refuse 'asks nodes in order to send' image.lsc --sources auto --dry-run --to "$two"
refuse 'asks nodes in order to send' image.lsc --sources auto --verify-only --to "$two"
refuse "not as 'a'" image.lsc --sources auto --to "$two" --name a
refuse "'image.lsc' is not here" image.lsc --sources "$one" --dry-run --to "$two"
refuse "cannot open '$SCRATCH/none'" image.lsc --sources auto --inventory "$SCRATCH/none" --to "$two"
expect_status 74 'a path that is not there' lsc-cast send "$SCRATCH/none.lsc" --sources auto --to "$two"
expect_status 74 'a name without sources' lsc-cast send image.lsc --to "$two"
done_testing
