#!/bin/sh
# Casts over RDMA: from one node, from two, beside nodes that have none, with a key, and when a node
# dies.
. tests/lib/tap.sh
[ -n "${LSC_TEST_RDMA:-}" ] || skip_all 'no RDMA device (LSC_TEST_RDMA)' rdma
requires_feature rdma
unset LSC_KEY_FILE
at=$LSC_TEST_RDMA
key=$SCRATCH/key

image=$SCRATCH/image
dd if=/dev/urandom of="$image" bs=1M count="${LSC_TEST_MIB:-64}" status=none

start_rdma() { # start_rdma NAME [OPTION]...: a node at the device's address
	name=$1
	shift
	mkdir -p "$SCRATCH/$name"
	start_server "$name" lsc-cast serve --dir "$SCRATCH/$name" --listen "$at:0" --insecure "$@"
}

cast() { # cast OPTION...
	lsc-cast send "$image" --raw --insecure --timeout 20s "$@"
}

whole() { # whole NODE...: each has the file, which is then removed
	for node; do
		expect_same "$node has the file" "$SCRATCH/$node/image" "$image"
		rm -f "$SCRATCH/$node"/image*
	done
}

speed() { # speed BYTES NANOSECONDS
	echo "# $(($1 / 1000 * 1000 / ($2 / 1000))) MB/s, all together" 
}

for node in a b c d; do start_rdma $node; done

start=$(date +%s%N)
expect_status 0 'one to one' cast --to "$a" --transport rdma
speed "$(wc -c <"$image")" $(($(date +%s%N) - start))
whole a

start=$(date +%s%N)
expect_status 0 'one to four' cast --to "$a,$b,$c,$d" --transport rdma
speed $((4 * $(wc -c <"$image"))) $(($(date +%s%N) - start))
whole a b c d

# Nodes that take RDMA are sent to over it, others are not.
start_rdma plain --transport tcp
expect_status 0 'beside a node that has none' cast --to "$a,$b,$plain" -v
whole a b plain
grep -q 'pieces go there over RDMA' "$SCRATCH/err"
ok $? 'goes over RDMA where it can'
expect_status 1 'over RDMA alone' cast --to "$a,$plain" --transport rdma
grep -q "has no data links over RDMA" "$SCRATCH/err"
ok $? 'leaves that node out'
whole a
expect_status 0 'over TCP alone' cast --to "$a,$b" --transport tcp -v
! grep -q RDMA "$SCRATCH/err"
ok $? 'says nothing of RDMA'
whole a b

# Two sources.
start_rdma e
start_rdma f
start_rdma other
cp "$image" "$SCRATCH/other/image"
expect_status 0 'two to six' cast --to "$a,$b,$c,$d,$e,$f" --sources "$other" --transport rdma
whole a b c d e f

# With a key, data is let in over RDMA by a proof, and by nothing else.
lsc-cast keygen "$key"
mkdir "$SCRATCH/locked"
start_server locked lsc-cast serve --dir "$SCRATCH/locked" --listen "$at:0" --key-file "$key"
expect_status 0 'with a key, encrypted' \
	lsc-cast send "$image" --raw --to "$locked" --key-file "$key" --timeout 20s -v
! grep -q RDMA "$SCRATCH/err"
ok $? 'it goes over TCP'
whole locked
expect_status 0 'with a key, and cleartext data' lsc-cast send "$image" --raw --to "$locked" \
	--key-file "$key" --cleartext-data --transport rdma --timeout 20s
whole locked

# A node that dies is left out, and the others have it all.
(
	sleep 2
	kill -9 "$d_pid"
) &
killer=$!
expect_status 1 'a node that dies' cast --to "$a,$b,$c,$d" --transport rdma
wait $killer
whole a b c

done_testing
