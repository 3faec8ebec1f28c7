#!/bin/sh
# Images whose blocks lie in the files of others: listed, verified, executed, cast, and copied from.
. tests/lib/tap.sh
requires_command python3
requires_command jq
share=$LSC_BUILD/unit/disk
[ -x "$share" ] || skip_all "no test programs built"

model() { # model NAME [TUNED]...
	name=$1
	shift
	python3 tests/lib/toy_model.py "$SCRATCH/$name.hf" llama3 14 "$@"
	lsc-shard pack --dtype f32 --blocks 16 --piece 4096 "$SCRATCH/$name.hf" "$dir/$name" 2>/dev/null
}
answer() { lsc-exec run "$1" --prompt 'Once upon' -n 12 --ids; }
bytes() { du -sB1 "$1" | cut -f1; }

dir=$SCRATCH/images
mkdir "$dir" "$SCRATCH/plain"
model base
model tuned 3 7 11
cp -r "$dir/tuned" "$SCRATCH/plain/tuned"
cp -r "$dir/base" "$SCRATCH/plain/base"
listed=$(lsc-shard ls --json "$dir/tuned")
lsc-shard pack --dummy stories260k "$dir/story"
said=$(answer "$dir/story")
cp -r "$dir/story" "$dir/again"
before=$(bytes "$dir")
expect_status 0 'two images share blocks' "$share" "$dir"
freed=$(cat "$SCRATCH/out")
expect_equal 'which frees what it says' "$((before - $(bytes "$dir")))" "$freed"
[ "$freed" -ge $(($(wc -c <"$dir/base/image") / 2)) ]
ok $? "$freed bytes, more than half of an image"
[ -e "$dir/tuned/shares" ]
ok $? 'one of them has a table'
expect_equal 'it is longer than the image' "$(wc -c <"$dir/tuned/image")" \
	$(($(wc -c <"$SCRATCH/plain/tuned/image") + 4096))

for name in base tuned story again; do expect_status 0 "$name verifies" lsc-shard verify "$dir/$name"; done
expect_equal 'it is listed as before' "$(lsc-shard ls --json "$dir/tuned")" "$listed"
grep -q '^[0-9]* [0-9]* 0 ' "$dir/story/shares"
ok $? 'another has all in the file of its copy'
expect_equal 'and answers as before' "$(answer "$dir/story")" "$said"
expect_equal 'as the copy does' "$(answer "$dir/again")" "$said"

# As what a cast sends, and as what a node has.
start_node one
expect_status 0 'it is cast' lsc-cast send "$dir/tuned" --to "$one"
expect_same 'and arrives' "$SCRATCH/one/tuned/image" "$SCRATCH/plain/tuned/image"
start_server node lsc-cast serve --dir "$dir" --listen 127.0.0.1:0 -v
expect_status 0 'a node that has it holds it against a manifest' \
	lsc-cast send --verify-only "$SCRATCH/plain/tuned" --to "$node"
model third 3 5
mv "$dir/third" "$SCRATCH/plain/third"
rm -r "$dir/base"
expect_status 0 'a third comes to where it lies alone' lsc-cast send "$SCRATCH/plain/third" --to "$node"
expect_same 'and arrives' "$dir/third/image" "$SCRATCH/plain/third/image"
grep -q "'tuned' has [1-9][0-9]* of [0-9]* pieces of 'third'" "$SCRATCH/log.node"
ok $? 'with what that has'
expect_status 0 'it has what it shared with one that is gone' lsc-shard verify "$dir/tuned"

# A disk that is full.
if unshare -m true 2>/dev/null; then
	cat >"$SCRATCH/full.sh" <<-'END'
		mkdir "$1/small" && mount -t tmpfs -o size=20m none "$1/small" || exit 99
		cp -r "$1/plain/base" "$1/plain/tuned" "$1/small"
		dd if=/dev/zero of="$1/small/other" bs=4k 2>"$1/dd"
		"$2" "$1/small" >"$1/freed" 2>"$1/err.full"
		echo $? >"$1/status"
		for name in base tuned; do lsc-shard verify "$1/small/$name" >/dev/null 2>&1 && echo good; done >>"$1/status"
		ls "$1/small/tuned" "$1/small/base" | grep -c '^shares' >>"$1/status"
		rm "$1/small/other"
		"$2" "$1/small" >"$1/freed" && lsc-shard verify "$1/small/tuned" >>"$1/status"
		umount "$1/small"
	END
	unshare -m sh "$SCRATCH/full.sh" "$SCRATCH" "$share"
	expect_equal 'a full disk takes no table, and then one' "$(head -n 4 "$SCRATCH/status" | tr '\n' ' ')" \
		'1 good good 0 '
	grep -q 'No space left' "$SCRATCH/err.full"
	ok $? 'which is said'
	[ "$(cat "$SCRATCH/freed")" -gt 0 ]
	ok $? 'and it is shared when there is room'
else
	skip 'mount namespaces are not allowed here'
fi

# What is no good.
printf '\001' | dd of="$dir/tuned/shares" bs=1 seek=40 conv=notrunc 2>/dev/null
expect_status 65 'a damaged table' lsc-shard verify "$dir/tuned"
expect_one_line "tuned/shares': row 1 is no row"
rm "$dir/tuned/shares"
expect_status 65 'without its table it is no image' lsc-shard verify "$dir/tuned"
rm "$dir/story/shares"
expect_status 65 'and not executed' lsc-exec run "$dir/story" --prompt a -n 1
done_testing
