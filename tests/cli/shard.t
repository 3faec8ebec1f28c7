#!/bin/sh
# lsc-shard pack, ls and verify.
. tests/lib/tap.sh

shape="--dummy stories260k"
expect_status 0 "a dummy" lsc-shard pack $shape "$SCRATCH/a"
expect_status 0 "again" lsc-shard pack $shape "$SCRATCH/b"
expect_same "the same manifest" "$SCRATCH/a/manifest" "$SCRATCH/b/manifest"
expect_same "the same image" "$SCRATCH/a/image" "$SCRATCH/b/image"
expect_status 0 "it verifies" lsc-shard verify "$SCRATCH/a"
expect_status 0 "it is listed" lsc-shard ls "$SCRATCH/a"
expect_equal "with its layers" "$(grep -c '5 layers' "$SCRATCH/out")" 1
if command -v jq >/dev/null; then
	expect_equal "as JSON too" "$(lsc-shard ls --json "$SCRATCH/a" | jq -r .model.layers)" 5
else
	skip "no jq"
fi

printf 'h\303\251, 1\n' >"$SCRATCH/text"
expect_equal "its vocabulary begins with the bytes" \
	"$(lsc-shard tokenize "$SCRATCH/a" <"$SCRATCH/text")" "104 195 169 44 32 49 10"
lsc-shard tokenize "$SCRATCH/a" <"$SCRATCH/text" | lsc-shard detokenize "$SCRATCH/a" >"$SCRATCH/back"
expect_same "which come back" "$SCRATCH/text" "$SCRATCH/back"
expect_equal "and goes on with words" "$(echo 256 511 | lsc-shard detokenize "$SCRATCH/a")" " baba pabi"

expect_status 0 "another seed" lsc-shard pack $shape --seed 1 "$SCRATCH/c"
cmp -s "$SCRATCH/a/image" "$SCRATCH/c/image"
expect_equal "other weights" $? 1
for dtype in bf16 f16 f32; do
	expect_status 0 "$dtype, two blocks" \
		lsc-shard pack $shape --dtype $dtype --blocks 2 "$SCRATCH/$dtype"
	expect_equal "$dtype has two" \
		"$(lsc-shard ls "$SCRATCH/$dtype" | grep -c '^ *[0-9]* *[0-9]*-')" 2
done

expect_status 74 "what exists is left alone" lsc-shard pack $shape "$SCRATCH/a"
expect_one_line "exists already"
expect_status 64 "no such shape" lsc-shard pack --dummy llama-9 "$SCRATCH/d"
expect_one_line "llama-3-8b"
expect_status 64 "no such type" lsc-shard pack $shape --dtype q4 "$SCRATCH/d"
lsc-shard verify "$SCRATCH/none" 2>"$SCRATCH/err"
expect_equal "an absent image is an error" "$(($? != 0))" 1
expect_one_line "none"

# One flipped byte, found and named.
printf '\377' | dd of="$SCRATCH/b/image" bs=1 seek=70000 conv=notrunc 2>/dev/null
expect_status 65 "a flipped byte" lsc-shard verify "$SCRATCH/b"
expect_one_line "piece 4"
truncate -s -1 "$SCRATCH/c/image"
expect_status 65 "a short image" lsc-shard verify "$SCRATCH/c"
head -c 200 "$SCRATCH/a/manifest" >"$SCRATCH/f16/manifest"
expect_status 65 "a short manifest" lsc-shard ls "$SCRATCH/f16"

# Killed while it writes, it leaves nothing under the name; the next one takes over.
lsc-shard pack --dummy smollm2-135m "$SCRATCH/killed" &
pid=$!
while [ ! -e "$SCRATCH/killed.tmp/image" ] && kill -0 $pid 2>/dev/null; do :; done
kill -KILL $pid
wait $pid 2>/dev/null
[ ! -e "$SCRATCH/killed" ]
ok $? "a killed pack leaves no image"
expect_status 0 "the next takes over" lsc-shard pack $shape "$SCRATCH/killed"
[ ! -e "$SCRATCH/killed.tmp" ]
ok $? "and cleans up"

# 270 MB of weights through far less memory than that.
case $LSC_BUILD in
*address* | *thread*) skip "a sanitizer takes more memory than the limit" ;;
*)
	expect_status 0 "memory is bounded" \
		sh -c "ulimit -v 100000; lsc-shard pack --dummy smollm2-135m '$SCRATCH/big'"
	rm -rf "$SCRATCH/big"
	;;
esac

if [ -e "$DATA/malformed/EXPECTED.tsv" ]; then
	wrong=0
	while IFS='	' read -r file verdict why; do
		case $verdict in
		accept) want=0 ;;
		reject) want=65 ;;
		*) continue ;;
		esac
		lsc-shard ls "$DATA/malformed/$file" >"$SCRATCH/out" 2>"$SCRATCH/err"
		got=$?
		lines=$(wc -l <"$SCRATCH/err")
		if [ $got -ne $want ] || [ "$lines" -ne $((want != 0)) ]; then
			wrong=$((wrong + 1))
			echo "$file: status $got, $lines lines" | note
		fi
	done <"$DATA/malformed/EXPECTED.tsv"
	expect_equal "malformed files get one line and 65" $wrong 0
else
	skip "no test data malformed/EXPECTED.tsv"
fi
if [ -e "$DATA/models/stories260K-bf16" ]; then
	lsc-shard pack "$DATA/models/stories260K-bf16" "$SCRATCH/one"
	lsc-shard pack "$DATA/models/stories260K-bf16-3shards" "$SCRATCH/three"
	expect_same "shards make the same image" "$SCRATCH/one/image" "$SCRATCH/three/image"
else
	skip "no test data models/stories260K-bf16"
fi
done_testing
