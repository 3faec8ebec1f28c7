#!/bin/sh
# lsc-cast send --verify-only: what nodes have is read there and held against the sender's manifest;
# images and files; nothing is moved.
. tests/lib/tap.sh
requires_command jq

lsc-shard pack --dummy smollm2-135m --layers 1 "$SCRATCH/image.lsc"
lsc-shard pack --dummy smollm2-135m --layers 2 "$SCRATCH/wider.lsc"
mkdir -p "$SCRATCH/tree/below"
head -c 3000000 /dev/urandom >"$SCRATCH/tree/big"
echo small >"$SCRATCH/tree/below/small"
for node in good bad absent other; do start_node $node; done

verify() { lsc-cast send --verify-only "$@"; }

flip() { # flip FILE OFFSET: changes one byte in place
	byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
	printf "\\$(printf %o $((255 - byte)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

said() { # said NAME LINES: the answers in the order of their text
	expect_equal "$1" "$(LC_ALL=C sort "$SCRATCH/out")" "$(printf '%s\n' "$2" | LC_ALL=C sort)"
}

# --- an image ---

expect_status 0 'a cast' lsc-cast send "$SCRATCH/image.lsc" --to "$good,$bad"
expect_status 0 'which is verified' verify "$SCRATCH/image.lsc" --to "$good,$bad"
said 'both are good' "$good good
$bad good"
expect_equal 'and nothing else is said' "$(wc -c <"$SCRATCH/err")" 0

expect_status 1 'a node without it' verify "$SCRATCH/image.lsc" --to "$good,$absent"
said 'is named' "$good good
$absent absent: it is not there"
expect_equal 'and is sent nothing' "$(ls "$SCRATCH/absent")" ''

flip "$SCRATCH/bad/image.lsc/image" 1000000
cp -r "$SCRATCH/wider.lsc" "$SCRATCH/other/image.lsc"
expect_status 1 'of each kind one' \
	verify "$SCRATCH/image.lsc" --to "$good,$bad,$absent,$other,127.0.0.1:1"
n=$(jq -n --arg n "$(lsc-cast send "$SCRATCH/image.lsc" --to a -n --json | jq .pieces)" '$n | tonumber')
piece=$((1000000 / $(lsc-cast send "$SCRATCH/image.lsc" --to a -n --json | jq .piece_bytes)))
grep -v '^127.0.0.1:1 ' "$SCRATCH/out" >"$SCRATCH/four"
grep '^127.0.0.1:1 ' "$SCRATCH/out" >"$SCRATCH/fifth"
mv "$SCRATCH/four" "$SCRATCH/out"
said 'a line each' "$good good
$bad bad: 1 of $n pieces do not match their hashes, the first is $piece
$absent absent: it is not there
$other other: what has its name is another image"
grep -q '^127.0.0.1:1 unknown: .*Connection refused' "$SCRATCH/fifth"
ok $? 'and one that is not reached'
note <"$SCRATCH/fifth"

expect_status 1 'where none is reached' verify "$SCRATCH/image.lsc" --to 127.0.0.1:1
expect_status 1 '--json' verify "$SCRATCH/image.lsc" --to "$good,$bad,$absent" --json
expect_equal 'a record each' \
	"$(jq -c '[.type, .name, .state, (.why == "")]' "$SCRATCH/out" | LC_ALL=C sort)" \
	"$(printf '["checked","%s",%s]\n' "$good" '"good",true' "$bad" '"bad",false' \
		"$absent" '"absent",false' | LC_ALL=C sort)"
expect_status 0 'under another name' verify "$SCRATCH/wider.lsc" --name image.lsc --to "$other"
expect_status 74 'to a full disk' sh -c \
	"lsc-cast send --verify-only '$SCRATCH/image.lsc' --to $good >/dev/full"
expect_status 74 'without an image of our own' verify "$SCRATCH/nothing.lsc" --to "$good"

# A node that says nothing.
kill -STOP "$good_pid"
began=$(date +%s)
expect_status 1 'a node that is silent' verify "$SCRATCH/image.lsc" --to "$good" --timeout 1s
kill -CONT "$good_pid"
grep -qE "^$good unknown: (nothing heard for 1.0 s|timed out .*)$" "$SCRATCH/out"
ok $? 'is not known'
[ $(($(date +%s) - began)) -le 5 ]
ok $? 'and not waited for'

truncate -s -1 "$SCRATCH/bad/image.lsc/image"
expect_status 1 'an image that is cut short' verify "$SCRATCH/image.lsc" --to "$bad"
grep -q "^$bad bad: " "$SCRATCH/out"
ok $? 'is bad'
note <"$SCRATCH/out"

# --- files ---

expect_status 0 'a cast of files' lsc-cast send --raw "$SCRATCH/tree" --to "$good,$bad"
expect_status 0 'which is verified' verify --raw "$SCRATCH/tree" --to "$good,$bad"
said 'both are good' "$good good
$bad good"
flip "$SCRATCH/bad/tree/big" 2000000
expect_status 1 'a file that was written to' verify --raw "$SCRATCH/tree" --to "$bad"
grep -q "^$bad bad: .* is not any more what was cast$" "$SCRATCH/out"
ok $? 'is told by its time'
touch -r "$SCRATCH/tree/big" "$SCRATCH/bad/tree/big"
mkdir "$SCRATCH/other/tree"
expect_status 1 'of each kind one' verify --raw "$SCRATCH/tree" --to "$good,$bad,$absent,$other"
grep -q "^$bad bad: 1 of [0-9]* pieces do not match their hashes, the first is [0-9]*$" "$SCRATCH/out"
ok $? 'a changed byte is found'
grep -v "^$bad bad: " "$SCRATCH/out" >"$SCRATCH/three"
mv "$SCRATCH/three" "$SCRATCH/out"
sed -i "s/^\($other [a-z]*\): .*/\1/" "$SCRATCH/out"
said 'the others as they are' "$good good
$absent absent: it is not there
$other other"

# --- keys, and what does not go together ---

if lsc --features | grep -qx 'tls yes'; then
	lsc-cast keygen "$SCRATCH/key"
	start_server keyed lsc-cast serve --dir "$SCRATCH/good" --listen 127.0.0.1:0 \
		--key-file "$SCRATCH/key"
	expect_status 0 'with a key' \
		verify "$SCRATCH/image.lsc" --to "$keyed" --key-file "$SCRATCH/key"
	expect_status 1 'without it' verify "$SCRATCH/image.lsc" --to "$keyed"
	said 'nothing is said' "$keyed unknown: wants a key: give --key-file"
fi
expect_status 64 'not of nodes that are launched' \
	verify "$SCRATCH/image.lsc" --to a --launch ssh --dir /tmp
expect_one_line '--verify-only asks nodes that are there'
done_testing
