#!/bin/sh
# lsc-cast send --sources auto: nodes are asked what they have, and whoever has it sends it; the
# command itself needs nothing of the image.
. tests/lib/tap.sh
requires_command jq python3

lsc-shard pack --dummy smollm2-135m --layers 4 "$SCRATCH/image.lsc"
lsc-shard pack --dummy smollm2-135m --layers 3 "$SCRATCH/other.lsc"
id=$(lsc-shard ls --json "$SCRATCH/image.lsc" | jq -r .id)
pieces=$(lsc-shard ls --json "$SCRATCH/image.lsc" | jq -r .pieces)
last=$(($(lsc-shard ls --json "$SCRATCH/image.lsc" | jq '.blocks | length') - 1))
for node in a b c d e; do start_node $node; done

auto() { # from where there is no image
	auto_image=$1
	shift
	(cd "$SCRATCH/work" && exec lsc-cast send "$auto_image" --sources auto "$@")
}
mkdir "$SCRATCH/work"

stranger() { python3 "$TOP/tests/lib/stranger.py" "$@"; }

has() { # has NODE...: the image, all of it
	for node; do
		expect_same "$node has the image" "$SCRATCH/$node/image.lsc/image" \
			"$SCRATCH/image.lsc/image"
		[ ! -e "$SCRATCH/$node/image.lsc.part" ]
		ok $? "and no part of it"
	done
}

forget() { for node; do rm -rf "$SCRATCH/$node"/*; done; }
keep() { for node; do cp -r "$SCRATCH/image.lsc" "$SCRATCH/$node"; done; }
part() { # part NODE BLOCK...: leaves it these
	eval "part_address=\$$1"
	shift
	stranger part "$SCRATCH/image.lsc" "$part_address" "$@" || ok 1 'a part is left'
}
senders() { # the names of those that sent pieces
	lsc-msg <"$SCRATCH/out" | jq -rs '[.[] | select(.type == "stats" and .sent > 0) | .node] as $n |
		.[] | select(.type == "node" and (.node | IN($n[]))) | .name' | sort | tr '\n' ' '
}
sorted() { printf '%s\n' "$@" | sort | tr '\n' ' '; }

# --- whole sources ---

keep a
expect_status 0 'one of three has it' auto image.lsc --to "$a,$b,$c"
has a b c
lsc-msg <"$SCRATCH/out" >"$SCRATCH/records"
expect_equal 'who has it is a source' \
	"$(jq -c 'select(.type == "node") | [.node, .name, .role]' "$SCRATCH/records" | head -n 1)" \
	"[1,\"$a\",\"source\"]"
expect_equal 'and is sent nothing' \
	"$(jq -c 'select(.type == "stats" and .node == 1) | .received' "$SCRATCH/records")" 0
expect_equal 'the command is no node' "$(jq -c 'select(.node == 0)' "$SCRATCH/records")" ''
expect_status 0 'where all have it' auto image.lsc --to "$a,$b,$c"
expect_equal 'all are complete' "$(lsc-msg <"$SCRATCH/out" | grep -c '"type":"complete"')" 3
expect_equal 'and nobody sends' "$(senders)" ''
[ "$(lsc-msg <"$SCRATCH/out" | jq 'select(.type == "end") | .seconds < 2')" = true ]
ok $? 'nor waits'

forget b c
keep b
expect_status 0 'two that need not get it have it' auto image.lsc --to "$c,$d" --ask "$a,$b,$e"
has c d
expect_equal 'and both send' "$(senders | tr ' ' '\n' | grep -cx -e "$a" -e "$b")" 2
[ ! -e "$SCRATCH/e/image.lsc" ]
ok $? 'one that has it not is asked, and no more'

forget b c d
expect_status 0 'a fixed order' auto image.lsc --to "$b,$c" --ask "$a" --order round-optimal
has b c
forget b c d
expect_status 0 'the image here, and at another node' \
	sh -c "cd '$SCRATCH' && lsc-cast send image.lsc --sources auto --to '$b,$c' --ask '$a'"
has b c
expect_equal 'both send' "$(senders | tr ' ' '\n' | grep -cx -e local -e "$a")" 2
forget b c
expect_status 0 'under another name' auto nothing --name image.lsc --to "$b" --ask "$a"
has b

# --- what was asked ---

forget a b c d
keep a
part b 0 1
expect_status 0 '--dry-run' auto image.lsc --to "$b,$c" --ask "$a,$d,127.0.0.1:1" -n
expect_equal 'says who is what' "$(sed -n 's/^  \([^ ]*\)  *\([a-z-]*\)  *\([a-z0-9]*\).*/\1 \2 \3/p' \
	"$SCRATCH/out" | grep -v feeds)" "$b receiver $(jq -n "[$(lsc-shard ls --json "$SCRATCH/image.lsc" |
	jq -c '[.blocks[:2][].pieces] | add // 0')] | .[0]")
$c receiver absent
$a source all
$d - absent
127.0.0.1:1 - unknown"
grep -q "^  $a  *feeds $b" "$SCRATCH/out"
ok $? 'and who feeds whom'
note <"$SCRATCH/out"
[ ! -e "$SCRATCH/c/image.lsc.part" ]
ok $? 'and sends nothing'
expect_status 0 '--dry-run --json' auto image.lsc --to "$b,$c" --ask "$a,$d" -n --json
expect_equal 'a record each' "$(jq -c 'select(.type == "holding") |
	[.name, .role, .state, .tier, .id, .blocks]' "$SCRATCH/out")" \
	"[\"$b\",\"receiver\",\"part\",\"disk\",\"$id\",[0,1]]
[\"$c\",\"receiver\",\"absent\",null,null,null]
[\"$a\",\"source\",\"whole\",\"disk\",\"$id\",[$(seq -s, 0 "$last")]]
[\"$d\",\"none\",\"absent\",null,null,null]"
expect_equal 'and the plan' "$(jq -c 'select(.type == "plan") | [.nodes[] | .node]' "$SCRATCH/out")" \
	'[1,2,3]'

# --- parts ---

expect_status 0 'a whole source, and a part' auto image.lsc --to "$b,$c" --ask "$a"
has b c
got=$(lsc-msg <"$SCRATCH/out" | jq "select(.type == \"node\" and .name == \"$b\") | .pieces")
[ "$got" -gt 0 ] && [ "$got" -lt "$pieces" ]
ok $? "who had $got pieces goes on from them"

forget a b c d
part a $(seq 0 2)
part b $(seq 2 "$last")
expect_status 0 'two parts, which are all of it' auto image.lsc --to "$a,$b,$c"
has a b c

forget a b c d
part a $(seq 0 2)
part b $(seq 2 "$last")
expect_status 0 'parts at nodes that need not get it' auto image.lsc --to "$c,$d" --ask "$a,$b"
has c d
[ -d "$SCRATCH/a/image.lsc.part" ] && [ ! -e "$SCRATCH/a/image.lsc" ]
ok $? 'which stay parts'
expect_equal 'and both send' "$(senders | tr ' ' '\n' | grep -cx -e "$a" -e "$b")" 2

forget a b c d
part a 0 1
part b "$last"
[ "$last" = 3 ] && missing='block 2' || missing="blocks 2-$((last - 1))"
expect_status 74 'parts that are not all of it' auto image.lsc --to "$a,$c" --ask "$b"
expect_one_line "in $missing of $((last + 1)), are at no node"
note <"$SCRATCH/err"
[ -d "$SCRATCH/a/image.lsc.part" ] && [ ! -e "$SCRATCH/c/image.lsc.part" ]
ok $? 'nothing is begun, and nothing lost'
expect_status 64 'a fixed order has no place for parts' \
	auto image.lsc --to "$a,$c" --ask "$b" --order tree

# --- different images ---

forget a b c d
keep a
cp -r "$SCRATCH/other.lsc" "$SCRATCH/b/image.lsc"
expect_status 74 'two nodes have different ones' auto image.lsc --to "$c" --ask "$a,$b"
expect_one_line "different images of the name 'image.lsc': "
grep -q "$(echo "$id" | cut -c1-16) at $a, [0-9a-f]* at $b$" "$SCRATCH/err"
ok $? 'and are named'
note <"$SCRATCH/err"
expect_status 74 'and so where one is here' \
	sh -c "cd '$SCRATCH' && lsc-cast send other.lsc --name image.lsc --sources auto --to '$c,$a'"
grep -q " at here, .* at $a$" "$SCRATCH/err"
ok $? 'which is said'
forget b
mv "$SCRATCH/other.lsc" "$SCRATCH/image.other"
mkdir "$SCRATCH/two" && mv "$SCRATCH/image.other" "$SCRATCH/two/image.lsc"
stranger part "$SCRATCH/two/image.lsc" "$b" 0
expect_status 0 'a part of another is in the way of none' auto image.lsc --to "$c,$b" --ask "$a"
has b c
grep -q "$b: has a part of another image of that name, which gives way" "$SCRATCH/err"
ok $? 'and gives way, which is said'
forget a b c
expect_status 74 'nobody has it' auto image.lsc --to "$a,$b"
expect_one_line "'image.lsc' is neither here nor at any of 2 nodes"

# --- nodes that do not answer, and old ones ---

keep a
expect_status 1 'a receiver that is not there' auto image.lsc --to "$b,127.0.0.1:1" --ask "$a"
has b
expect_status 69 'nobody is there' auto image.lsc --to 127.0.0.1:1
forget b
kill -STOP "$e_pid"
expect_status 0 'one that is silent is not waited for' \
	auto image.lsc --to "$b" --ask "$a,$e" --timeout 500ms
kill -CONT "$e_pid"
has b
grep -q "$e: .*, going on without it$" "$SCRATCH/err"
ok $? 'and is named'

start_stranger() { # start_stranger NAME ARGUMENT...
	mkfifo "$SCRATCH/ready.$1"
	tap_var=$1
	shift
	python3 "$TOP/tests/lib/stranger.py" "$@" >"$SCRATCH/ready.$tap_var" 2>"$SCRATCH/log.$tap_var" &
	eval "${tap_var}_pid=$!"
	ended_at_exit $!
	read -r "$tap_var" <"$SCRATCH/ready.$tap_var"
}
mkdir "$SCRATCH/old" "$SCRATCH/new"
start_stranger old receive "$SCRATCH/old" 2.0
expect_status 0 'a node of version 2.0' auto image.lsc --to "$old" --ask "$a"
expect_same 'gets the image all the same' "$SCRATCH/old/image.lsc/image" "$SCRATCH/image.lsc/image"
grep -q "$old: speaks version 2.0 of the protocol, which cannot say what it has$" "$SCRATCH/err"
ok $? 'and is said to be one'
rm -r "$SCRATCH/old/image.lsc"
start_stranger old2 receive "$SCRATCH/old" 2.0
expect_status 74 'it cannot be a source' auto image.lsc --to "$b" --ask "$old2" --name nothing
grep -q '1 speaks a version that cannot say$' "$SCRATCH/err"
ok $? 'which may be why nobody is'
start_stranger new receive "$SCRATCH/new"
expect_status 0 'a stranger of version 2.1 is asked' auto image.lsc --to "$new" --ask "$a"
expect_same 'and gets the image' "$SCRATCH/new/image.lsc/image" "$SCRATCH/image.lsc/image"
forget b c
start_stranger holder hold "$SCRATCH/image.lsc" "$id"
expect_status 0 'a stranger that has it' auto image.lsc --to "$b,$c" --ask "$holder"
has b c
wait "$holder_pid"
expect_equal 'is told of the end' $? 0

# --- keys, files, and what does not go together ---

if lsc --features | grep -qx 'tls yes'; then
	lsc-cast keygen "$SCRATCH/key"
	forget b c
	for node in a b; do
		start_server keyed_$node lsc-cast serve --dir "$SCRATCH/$node" --listen 127.0.0.1:0 \
			--key-file "$SCRATCH/key"
	done
	expect_status 0 'with a key' auto image.lsc --to "$keyed_b" --ask "$keyed_a" \
		--key-file "$SCRATCH/key"
	has b
	forget b
	expect_status 0 'and plain data' auto image.lsc --to "$keyed_b" --ask "$keyed_a" \
		--key-file "$SCRATCH/key" --cleartext-data
	has b
	expect_status 76 'without it' auto image.lsc --to "$keyed_b" --ask "$keyed_a"
	expect_one_line 'wants a key: give --key-file'
fi
mkdir "$SCRATCH/tree"
head -c 3000000 /dev/urandom >"$SCRATCH/tree/big"
forget b c
expect_status 0 'files' lsc-cast send --raw "$SCRATCH/tree" --to "$b"
expect_status 0 'of which none are here' auto tree --to "$c" --ask "$b"
expect_same 'go from node to node too' "$SCRATCH/c/tree/big" "$SCRATCH/tree/big"

# Nodes of an inventory are asked as well.
forget a b c d
keep a
for node in "$a" "$b" "$d"; do
	printf '{"type":"node","node":"%s","t":1,"speeds":{}}\n' "$node"
done | sed '1i {"type":"hello","kind":"inventory","version":[1,0]}
$a {"type":"end"}' | lsc-msg from-json >"$SCRATCH/inventory"
expect_status 0 'nodes of an inventory' auto image.lsc --to "$b" --inventory "$SCRATCH/inventory" --ask "$d"
has b
expect_equal 'send what they have' "$(senders)" "$a "
forget b
expect_status 0 'which may come by a pipe' sh -c "cd $SCRATCH/work && lsc-cast send image.lsc --sources auto \
	--to $b --inventory - <$SCRATCH/inventory >$SCRATCH/out2"
has b
head -c 60 "$SCRATCH/inventory" >"$SCRATCH/cut"
expect_status 65 'one that is cut' auto image.lsc --to "$b" --inventory "$SCRATCH/cut"
expect_one_line "inventory '$SCRATCH/cut': "
expect_status 74 'none' auto image.lsc --to "$b" --inventory "$SCRATCH/none"

refuses() { # refuses WORDS ARGUMENT...
	tap_words=$1
	shift
	expect_status 64 "$tap_words" lsc-cast send "$@"
	grep -qF -- "$tap_words" "$SCRATCH/err"
	ok $? 'is said'
}
refuses '--ask is for --sources auto' image.lsc --to "$b" --ask "$a"
refuses '--inventory is for --sources auto' image.lsc --to "$b" --inventory "$SCRATCH/inventory"
refuses '--sources is auto or nodes' image.lsc --to "$b" --sources auto --sources "$a"
refuses '--sources auto asks nodes that are there' image.lsc --to b --sources auto --launch ssh --dir /tmp
refuses '--verify-only has no sources' image.lsc --to "$b" --sources auto --verify-only
refuses "there is no image 'nothing' here" nothing --to "$b" --sources auto --exec 127.0.0.1:9
refuses "is no name for an image" .hidden --to "$b" --sources auto
expect_status 74 'a path is no name' lsc-cast send ./nothing --to "$b" --sources auto
done_testing
