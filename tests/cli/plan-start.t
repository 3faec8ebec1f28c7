#!/bin/sh
# lsc-plan start: who starts a model, from an inventory; what an inventory may not say.
. tests/lib/tap.sh

nodes=tests/data/inventory-1.0.rec

expect_status 0 'three nodes' lsc-plan start --model llama --replicas 3 $nodes
cat >"$SCRATCH/want" <<'END'
llama: 15.0 GiB, in GPU memory on 3 of 6 nodes, all ready after 0.64 s
node           how       sends      ready  why
10.0.0.1:7000  serves    source       0 s  has it in GPU memory
10.0.0.2:7000  copies    source    0.64 s  from host memory, at 23.3 GiB/s
10.0.0.3:7000  receives            0.64 s  from 2 nodes, at 11.6 GiB/s; 10.0 GiB have to leave first
10.0.0.4:7000  -                        -  it has no GPU
10.0.0.5:7000  -                        -  GPU memory: 8.0 GiB can be free, and 15.0 GiB are needed
10.0.0.6:7000  -                        -  it is drained
END
expect_same 'hot, warm, and half of it' "$SCRATCH/out" "$SCRATCH/want"
expect_status 1 'five are too many' lsc-plan start --model llama -r 5 $nodes
expect_one_line "'llama' can be ready on 3 of 5 nodes"
expect_status 0 'in host memory' sh -c "lsc-plan start -m llama -r 5 --tier host --commands <$nodes"
cat >"$SCRATCH/want" <<'END'
# 10.0.0.1:7000 serves: has it in GPU memory
# 10.0.0.2:7000 serves: has it in host memory
lsc-cast send llama --sources auto --ask 10.0.0.1:7000,10.0.0.2:7000 --to 10.0.0.3:7000,10.0.0.4:7000,10.0.0.5:7000
END
expect_same 'one cast to all that lack it' "$SCRATCH/out" "$SCRATCH/want"

expect_status 0 'JSON lines' lsc-plan start -m llama -r 1 --json $nodes
cp "$SCRATCH/out" "$SCRATCH/json"
expect_equal 'what was found' "$(sed -n 2p "$SCRATCH/json")" \
	'{"type":"start","model":"llama","id":{"$bin":"YWFhYWFhYWFhYWFhYWFhYQ=="},"bytes":16106127360,"tier":"gpu","replicas":1,"found":1,"ready_s":0.0}'
expect_equal 'one that is not chosen' "$(grep '0.0.2:' "$SCRATCH/json")" \
	'{"type":"node","node":"10.0.0.2:7000","how":"copies","chosen":false,"source":true,"place":1,"ready_s":0.6442450944,"why":"from host memory, at 23.3 GiB/s; others are ready sooner"}'
expect_equal 'one that cannot' "$(grep '0.0.6:' "$SCRATCH/json")" \
	'{"type":"node","node":"10.0.0.6:7000","how":"cannot","chosen":false,"source":false,"place":5,"why":"it is drained"}'
lsc-plan start -m llama -r 1 --records $nodes | lsc-msg >"$SCRATCH/records"
expect_same 'records are the same' "$SCRATCH/records" "$SCRATCH/json"

# An inventory of our own: node lines, given to lsc-msg.
inventory() { # inventory LINE...
	{
		echo '{"type":"hello","kind":"inventory","version":[1,0]}'
		printf '%s\n' "$@"
		echo '{"type":"end"}'
	} | lsc-msg from-json
}
node() { # node NAME KEYS: one that has much room
	printf '{"type":"node","node":"%s","t":1,"host":{"capacity":%d,"used":0},%s}' "$1" 100000000000 "$2"
}
image() { # image NODE TIER KEYS
	printf '{"type":"image","node":"%s","name":"m","id":{"$bin":"%s"},"bytes":8000000000,"tier":"%s"%s}' \
		"$1" YWFhYWFhYWFhYWFhYWFhYQ== "$2" "${3-}"
}
fast='"speeds":{"disk":2000000000.0,"link":4000000000.0}'

inventory "$(node a "$fast")" "$(image a disk)" "$(node b "$fast")" "$(node c "$fast")" >"$SCRATCH/cold"
expect_status 0 'from a disk' lsc-plan start -m m -r 3 "$SCRATCH/cold"
cat >"$SCRATCH/want" <<'END'
m: 7.5 GiB, in host memory on 3 of 3 nodes, all ready after 4 s
node  how       sends      ready  why
a     reads     source       4 s  from disk, at 1.9 GiB/s
b     receives               4 s  from 1 node, at 1.9 GiB/s
c     receives               4 s  from 1 node, at 1.9 GiB/s
END
expect_same 'which one reads for all' "$SCRATCH/out" "$SCRATCH/want"

half=',"whole":false,"n_blocks":4,"blocks":{"$bin":"%s"}'
inventory "$(node a "$fast")" "$(image a host "$(printf "$half" Aw==)")" \
	"$(node b "$fast")" "$(image b host "$(printf "$half" DA==)")" "$(node c "$fast")" >"$SCRATCH/parts"
expect_status 0 'parts' lsc-plan start -m m -r 3 --commands "$SCRATCH/parts"
expect_equal 'complete each other' "$(cat "$SCRATCH/out")" 'lsc-cast send m --sources auto --to a,b,c'
inventory "$(node a "$fast")" "$(image a host "$(printf "$half" Aw==)")" "$(node b "$fast")" >"$SCRATCH/part"
expect_status 1 'one part alone' lsc-plan start -m m -r 1 "$SCRATCH/part"
grep -q 'nothing to load it from' "$SCRATCH/out"
ok $? 'is not enough'

# The later of two streams counts, whatever their order.
inventory '{"type":"node","node":"a","t":2,"host":{"capacity":100000000000,"used":0},"speeds":{}}' \
	"$(image a host)" >"$SCRATCH/later"
expect_status 0 'streams behind each other' \
	sh -c "cat $SCRATCH/later $SCRATCH/cold | lsc-plan start -m m --json | grep -q '\"how\":\"serves\"'"
expect_status 0 'or in files' lsc-plan start -m m --json "$SCRATCH/cold" "$SCRATCH/later"
expect_equal 'each node once' "$(grep -c '"type":"node"' "$SCRATCH/out")" 3

# Names are anything that a record may hold.
inventory "$(node "a';rm -rf b" "$fast")" "$(image "a';rm -rf b" host)" "$(node 'c\\n\\u001bd' "$fast")" |
	sed 's/\\\\/\\/g' >"$SCRATCH/names"
expect_status 0 'names that are none' lsc-plan start -m m -r 2 --commands "$SCRATCH/names"
cat >"$SCRATCH/want" <<'END'
# a';rm -rf b serves: has it in host memory
lsc-cast send m --sources auto --ask 'a'\'';rm -rf b' --to 'c\n\u001bd'
END
expect_same 'are words for a shell' "$SCRATCH/out" "$SCRATCH/want"

inventory "$(node a '"load":1')" "$(image a disk)" "$(node b '"load":2')" >"$SCRATCH/slow"
expect_status 1 'speeds that nobody told' lsc-plan start -m m -r 2 "$SCRATCH/slow"
expect_status 0 'are said' lsc-plan start -m m -r 2 --link 8G/s --disk 1G/s --bytes 16G --json "$SCRATCH/slow"
expect_equal 'and so is a size' "$(grep -c '"node".*"ready_s":16.0' "$SCRATCH/out")" 2
expect_status 1 'what nobody has' lsc-plan start -m n --bytes 1G "$SCRATCH/slow"
refuse() { # refuse STATUS MESSAGE LINE...
	status=$1 message=$2
	shift 2
	inventory "$@" >"$SCRATCH/bad"
	expect_status "$status" "refuses $message" lsc-plan start -m m "$SCRATCH/bad"
	expect_one_line "$message"
}
refuse 65 "an image does not follow its node, 'b'" "$(node a "$fast")" "$(image b host)"
refuse 65 "key 'blocks' is not of 4 blocks" "$(node a "$fast")" "$(image a host "$(printf "$half" AwM=)")"
refuse 65 "key 'blocks' is not of 4 blocks" "$(node a "$fast")" "$(image a host "$(printf "$half" EA==)")"
refuse 65 "there is no tier 'tape'" "$(node a "$fast")" "$(image a tape)"
refuse 65 "key 'link' is negative" "$(node a '"speeds":{"link":-1.0}')"
refuse 65 "key 'gpu' is not a map" "$(node a '"gpu":1')"
refuse 65 "key 'node' is empty" "$(node '' "$fast")"
refuse 1 "no node has 'm'" "$(node a "$fast")"
refuse 65 'a stream begins before the end of another' '{"type":"hello","kind":"inventory","version":[1,0]}'
head -c 200 $nodes >"$SCRATCH/cut"
expect_status 65 'a stream that is cut' lsc-plan start -m m "$SCRATCH/cut"
lsc-msg <$nodes | sed '$d' | lsc-msg from-json >"$SCRATCH/cut"
expect_status 65 'or has no end' lsc-plan start -m m "$SCRATCH/cut"
expect_one_line 'the inventory was cut off'
expect_status 65 'nothing' lsc-plan start -m m /dev/null
expect_status 76 'another stream' lsc-plan start -m m tests/data/values-1.0.rec
expect_status 74 'no such file' lsc-plan start -m m "$SCRATCH/none"
expect_status 64 'no model' lsc-plan start $nodes
expect_status 64 'no such tier' lsc-plan start -m m --tier disk $nodes
expect_status 64 'no such subcommand' lsc-plan begin
expect_status 0 'the other subcommand' lsc-plan schedule --nodes 2 --pieces 1
done_testing
