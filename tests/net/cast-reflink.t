#!/bin/sh
# On a file system that can, images share the blocks on disk that are alike.
. tests/lib/tap.sh
requires_command mkfs.xfs
requires_command filefrag
requires_command python3

disk=$SCRATCH/disk
mkdir "$disk"
unmount() {
	[ -z "${node_pid:-}" ] || { kill "$node_pid" 2>/dev/null && wait "$node_pid"; }
	umount "$disk" 2>/dev/null
}
call_at_exit unmount
truncate -s 400M "$SCRATCH/xfs" && mkfs.xfs -q -m reflink=1 "$SCRATCH/xfs" >/dev/null 2>&1 &&
	mount -o loop "$SCRATCH/xfs" "$disk" 2>/dev/null || skip_all "no file system can be mounted here"

python3 tests/lib/toy_model.py "$SCRATCH/base.hf" llama3 14
python3 tests/lib/toy_model.py "$SCRATCH/tuned.hf" llama3 14 3 7 11
for name in base tuned; do
	lsc-shard pack --dtype f32 --blocks 16 --piece 4096 "$SCRATCH/$name.hf" "$SCRATCH/$name.lsc" 2>/dev/null
done
mkdir "$disk/node"
start_server node lsc-cast serve --dir "$disk/node" --listen 127.0.0.1:0 -v
shared() { # shared FILE: its blocks of 4096 that others have too
	filefrag -v "$1" | awk '/shared/ { gsub(/[.:]/, " "); n += $6 } END { print n + 0 }'
}

expect_status 0 'a model' lsc-cast send "$SCRATCH/base.lsc" --to "$node"
expect_equal 'shares nothing' "$(shared "$disk/node/base.lsc/image")" 0
printf '\377\377\377\377' | dd of="$disk/node/base.lsc/image" bs=1 seek=9000 conv=notrunc 2>/dev/null
expect_status 0 'its fine-tune' lsc-cast send "$SCRATCH/tuned.lsc" --to "$node"
expect_same 'is there' "$disk/node/tuned.lsc/image" "$SCRATCH/tuned.lsc/image"
had=$(sed -n "s/.*has \([0-9]*\) of [0-9]* pieces of 'tuned.lsc'.*/\1/p" "$SCRATCH/log.node")
sync
blocks=$(shared "$disk/node/tuned.lsc/image")
# All that are whole blocks: the last piece is not.
[ "$blocks" -ge $((had - 1)) ] && [ "$blocks" -le "$had" ]
ok $? "of $had pieces that were here, $blocks lie on disk once"
kill "$node_pid"
wait "$node_pid"
expect_status 0 'unmounted' umount "$disk"
mount -o loop "$SCRATCH/xfs" "$disk"
expect_same 'and still there' "$disk/node/tuned.lsc/image" "$SCRATCH/tuned.lsc/image"
done_testing
