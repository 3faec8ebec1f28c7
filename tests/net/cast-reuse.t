#!/bin/sh
# A fine-tune is cast to nodes that have the model it was made from: what is alike is not sent.
. tests/lib/tap.sh
requires_command python3
requires_command jq

# In a network of its own, where there may be one, whose bytes are counted.
ns=lsc-reuse-$$
in=
if ip netns add "$ns" 2>/dev/null && ip -n "$ns" link set lo up 2>/dev/null; then
	in="ip netns exec $ns"
fi
end_network() { ip netns del "$ns" 2>/dev/null; }
call_at_exit end_network
cast() { $in lsc-cast send "$@"; }
bytes() { $in cat /sys/class/net/lo/statistics/rx_bytes; }

model() { # model NAME [TUNED]...
	name=$1
	shift
	python3 tests/lib/toy_model.py "$SCRATCH/$name.hf" llama3 14 "$@"
	lsc-shard pack --dtype f32 --blocks 16 --piece 4096 "$SCRATCH/$name.hf" "$SCRATCH/$name.lsc" 2>/dev/null
}

# moved NODE NAME: the pieces that were sent there, by what it had when it was ready
moved() {
	total=$(lsc-shard ls --json "$SCRATCH/$1/$2" | jq .pieces)
	had=$(sed -n "s/.*has \([0-9]*\) of [0-9]* pieces of '$2'.*/\1/p" "$SCRATCH/log.$1" | awk '{ n += $1 } END { print n + 0 }')
	echo $((total - had))
}

node() { # node NAME: as start_node, and says what it finds
	mkdir -p "$SCRATCH/$1"
	# shellcheck disable=SC2086
	start_server "$1" $in lsc-cast serve --dir "$SCRATCH/$1" --listen 127.0.0.1:0 -v
}

model base
model tuned 3 7 11
expect_equal 'a model of blocks' "$(lsc-shard ls --json "$SCRATCH/base.lsc" | jq '.blocks | length')" 16
differ=$(lsc-shard ls --json "$SCRATCH/tuned.lsc" |
	jq '[.blocks[] | select(.first_unit == (3, 7, 11) + 1) | .pieces] | add')

node one
node two
expect_status 0 'the model' cast "$SCRATCH/base.lsc" --to "$one,$two"
expect_equal 'all of it is sent' "$(moved one base.lsc)" "$(lsc-shard ls --json "$SCRATCH/base.lsc" | jq .pieces)"
before=$([ -z "$in" ] || bytes)
expect_status 0 'a fine-tune' cast "$SCRATCH/tuned.lsc" --to "$one,$two"
if [ -n "$in" ]; then
	# Each receives the three blocks; all else is manifests, pieces' heads and reports.  Of so
	# little, some is on its way twice before anyone can say that it came.
	wire=$(($(bytes) - before))
	least=$((2 * differ * 4096))
	most=$((2 * least + 2 * $(wc -c <"$SCRATCH/tuned.lsc/manifest") + 65536))
	[ "$wire" -ge $((least * 9 / 10)) ] && [ "$wire" -le "$most" ]
	ok $? "$wire bytes on the wire, of $((2 * $(wc -c <"$SCRATCH/tuned.lsc/image"))) that two images are"
else
	skip "no network namespaces here: bytes are not counted"
fi
for node in one two; do
	expect_same "$node has it" "$SCRATCH/$node/tuned.lsc/image" "$SCRATCH/tuned.lsc/image"
	expect_equal "three blocks of 16 were sent" "$(moved $node tuned.lsc)" "$differ"
done

# What was alike and is damaged now has to come.
node three
expect_status 0 'the model at another node' cast "$SCRATCH/base.lsc" --to "$three"
printf '\377\377\377\377' | dd of="$SCRATCH/three/base.lsc/image" bs=1 seek=100 conv=notrunc 2>/dev/null
mkdir "$SCRATCH/three/garbage" && echo garbage | tee "$SCRATCH/three/garbage/manifest" >"$SCRATCH/three/garbage/image"
expect_status 0 'where a piece is damaged' cast "$SCRATCH/tuned.lsc" --to "$three"
expect_same 'the right one is there' "$SCRATCH/three/tuned.lsc/image" "$SCRATCH/tuned.lsc/image"
expect_equal 'and was sent' "$(moved three tuned.lsc)" $((differ + 1))
grep -q 'its pieces are not used' "$SCRATCH/log.three"
ok $? 'garbage is passed over'

# Files: one of several changes, and one small one grows.
tree=$SCRATCH/tree
mkdir -p "$tree/small"
for i in 1 2 3 4; do head -c 1000000 /dev/urandom >"$tree/large$i"; done
i=0
while [ $((i += 1)) -le 40 ]; do head -c $((i * 501)) /dev/urandom >"$tree/small/$i"; done
expect_status 0 'files' cast --raw "$tree" --to "$one" --name v1
head -c 1000000 /dev/urandom >"$tree/large2"
echo more >>"$tree/small/20"
expect_status 0 'and an update' cast --raw "$tree" --to "$one" --name v2
diff -r "$tree" "$SCRATCH/one/v2" >/dev/null
ok $? 'arrive'
sent=$(moved one v2)
[ "$sent" -ge 62 ] && [ "$sent" -le 70 ]
ok $? "$sent of $(lsc-shard ls --json "$SCRATCH/one/v2" | jq .pieces) pieces are sent, 62 for the large file"
done_testing
