#!/bin/sh
# lsc-exec run: the reference's greedy answers, from images of trained weights.
. tests/lib/tap.sh
requires_data models reference
requires_command jq

reference=$DATA/reference/stories260K-greedy.json
lsc-shard pack --dtype f32 "$DATA/models/stories260K-fp32" "$SCRATCH/fp32"
lsc-shard pack --dtype bf16 "$DATA/models/stories260K-bf16" "$SCRATCH/bf16"
i=0
runs=$(jq '.runs | length' "$reference")
while [ $i -lt "$runs" ]; do
	weights=$(jq -r ".runs[$i].weights" "$reference")
	want=$(jq -r ".runs[$i].greedy_ids | map(tostring) | join(\" \")" "$reference")
	got=$(lsc-exec run "$SCRATCH/$weights" --prompt "$(jq -r ".runs[$i].prompt" "$reference")" \
		-n "$(echo "$want" | wc -w)" --ids --exact)
	expect_equal "run $i, $weights: greedy ids" "$got" "$want"
	i=$((i + 1))
done
[ $i -gt 0 ]
ok $? "$i runs"

ask="--prompt Once -n 40 --temp 0.9 --top-p 0.9 --ids"
one=$(lsc-exec run "$SCRATCH/bf16" $ask --seed 5)
expect_equal "a seed gives the same answer with any threads" \
	"$(lsc-exec run "$SCRATCH/bf16" $ask --seed 5 --threads 1)" "$one"
[ "$(lsc-exec run "$SCRATCH/bf16" $ask --seed 6)" != "$one" ]
ok $? "another seed gives another"
one=$(lsc-exec run "$SCRATCH/bf16" --prompt Once -n 40 --ids)
for how in --top-k=1 --min-p=1 --top-p=0.000001; do
	expect_equal "$how leaves the likeliest" \
		"$(lsc-exec run "$SCRATCH/bf16" --prompt Once -n 40 --ids --temp 2 $how)" "$one"
done
[ "$(lsc-exec run "$SCRATCH/bf16" --prompt Once -n 40 --ids --repetition-penalty 1.5)" != "$one" ]
ok $? "a penalty changes what is likeliest"
lsc-exec run "$SCRATCH/bf16" --prompt Once -n 40 --logprobs 3 >"$SCRATCH/lines"
expect_equal "ids, whatever else is asked for: one whole line" \
	"$(lsc-exec run "$SCRATCH/bf16" --prompt Once -n 4 --ids --logprobs 3 | wc -l)" 1
expect_equal "logprobs: a line for each token" "$(cut -d' ' -f1 "$SCRATCH/lines" | paste -sd ' ')" "$one"
expect_equal "of which the likeliest is the first of three, none with more than all" \
	"$(awk 'NF != 8 || $1 != $3 || $2 != $4 || $4 < $6 || $2 > 0' "$SCRATCH/lines")" ''
text=$(lsc-exec run "$SCRATCH/bf16" --prompt Once -n 40)
word=$(echo "$text" | cut -d' ' -f5)
expect_equal "a stop string ends the answer before it" \
	"$(lsc-exec run "$SCRATCH/bf16" --prompt Once -n 40 --stop Zebra --stop " $word")" "${text%%" $word"*}"
expect_equal "what only begins like one is printed" \
	"$(lsc-exec run "$SCRATCH/bf16" --prompt Once -n 40 --stop "$text and")" "$text"
expect_equal "a stop token ends it too" \
	"$(lsc-exec run "$SCRATCH/bf16" --prompt Once -n 40 --ids --stop-token "$(echo "$one" | cut -d' ' -f6)")" \
	"$(echo "$one" | cut -d' ' -f1-5)"
expect_status 64 "an empty stop string" lsc-exec run "$SCRATCH/bf16" --stop ''
expect_status 64 "a top-p of 0" lsc-exec run "$SCRATCH/bf16" --top-p 0
expect_status 71 "no room for keys and values" \
	lsc-exec run "$SCRATCH/bf16" --prompt Once -n 400 --kv-bytes 100K
expect_one_line "no room for the KV"
expect_equal "text comes whole" \
	"$(lsc-exec run "$SCRATCH/fp32" --prompt '' -n 8)" \
	"$(lsc-exec run "$SCRATCH/fp32" --prompt '' -n 8 --ids | lsc-shard detokenize "$SCRATCH/fp32")"

expect_equal "without -n the context ends the answer: BOS and 511 tokens" \
	"$(lsc-exec run "$SCRATCH/fp32" --prompt '' --ids | wc -w)" 511
yes 'a b' | head -n 300 >"$SCRATCH/long"
expect_status 64 "a prompt longer than the context" lsc-exec run "$SCRATCH/fp32" <"$SCRATCH/long"
expect_one_line "context 512"
expect_equal "-n 0 asks for nothing" "$(lsc-exec run "$SCRATCH/fp32" --prompt Once -n 0)" ''
expect_equal "an image may be named '.'" \
	"$(cd "$SCRATCH/fp32" && lsc-exec run . --prompt Once -n 3 --ids)" \
	"$(lsc-exec run "$SCRATCH/fp32/" --prompt Once -n 3 --ids)"

# --- logits ---

printf 'Once upon a time' >"$SCRATCH/text"
positions=$(lsc-shard tokenize --bos "$SCRATCH/fp32" <"$SCRATCH/text" | wc -w)
expect_equal "logits change no token" \
	"$(lsc-exec run "$SCRATCH/fp32" -n 9 --ids --logits "$SCRATCH/logits" <"$SCRATCH/text")" \
	"$(lsc-exec run "$SCRATCH/fp32" -n 9 --ids <"$SCRATCH/text")"
expect_equal "there are those of all positions" "$(wc -c <"$SCRATCH/logits")" \
	$(((positions + 8) * 512 * 4))
yes | head -n 100 >"$SCRATCH/long"
lsc-exec run "$SCRATCH/fp32" -n 2 --ids --logits "$SCRATCH/more" <"$SCRATCH/long" >"$SCRATCH/got"
lsc-exec run "$SCRATCH/fp32" -n 2 --ids <"$SCRATCH/long" >"$SCRATCH/want"
expect_same "nor do those of a long prompt" "$SCRATCH/got" "$SCRATCH/want"
expect_status 74 "a place that is none" \
	lsc-exec run "$SCRATCH/fp32" --prompt Once -n 1 --logits "$SCRATCH/none/x"
expect_one_line "cannot create"
lsc-exec run "$SCRATCH/fp32" --prompt Once -n 1 --logits /dev/full >"$SCRATCH/out" 2>"$SCRATCH/err"
expect_equal "a full one" $? 74
expect_one_line "cannot write '/dev/full'"
lsc-exec run "$SCRATCH/fp32" --prompt Once -n 3 --logits "$SCRATCH/cut" >&- 2>"$SCRATCH/err"
[ ! -e "$SCRATCH/cut" ]
ok $? "where the answer fails there is no file"

# --- where the answer cannot go ---

closed() { "$@" >&-; }
full() { "$@" >/dev/full; }
gone() { # a pipe that nobody reads
	mkfifo "$SCRATCH/gone"
	exec 4<>"$SCRATCH/gone" 5>"$SCRATCH/gone" 4<&-
	"$@" >&5 5>&-
	gone_status=$?
	exec 5>&-
	return $gone_status
}
for how in closed full gone; do
	$how lsc-exec run "$SCRATCH/fp32" --prompt Once 2>"$SCRATCH/err"
	expect_equal "standard output $how" $? 74
	expect_one_line "cannot write the answer"
done

# --- what is not whole, or not sound ---

expect_status 74 "a file" lsc-exec run README.md --prompt hi
expect_one_line "no image 'README.md' in '$TOP'"

mkdir "$SCRATCH/part"
cp -r "$SCRATCH/fp32" "$SCRATCH/part/model.part"
expect_status 74 "an image without its arrivals" lsc-exec run "$SCRATCH/part/model" --prompt hi
table() { # table PIECES-OCTAL: none of which are there
	printf "lscarrv\\0\\1\\0\\0\\0\\$1\\0\\0\\0"
	head -c 128 /dev/zero
}
table 105 >"$SCRATCH/part/model.part/arrivals"
expect_status 75 "one that never gets on" lsc-exec run "$SCRATCH/part/model" --prompt hi --timeout 0.2s
expect_one_line "the tokenizer did not arrive in time"
table 1 >"$SCRATCH/part/model.part/arrivals"
expect_status 65 "a table of other pieces" lsc-exec run "$SCRATCH/part/model" --prompt hi
expect_one_line "69"
head -c 80 /dev/zero >"$SCRATCH/part/model.part/arrivals"
expect_status 65 "a table that is none" lsc-exec run "$SCRATCH/part/model" --prompt hi
cp -r "$SCRATCH/fp32" "$SCRATCH/bad"
for at in 0 5 100 1000; do
	printf '\377\377\377' | dd of="$SCRATCH/bad/manifest" bs=1 seek=$at conv=notrunc 2>/dev/null
	expect_status 65 "a manifest damaged at byte $at" lsc-exec run "$SCRATCH/bad" --prompt hi
	expect_one_line "manifest"
	cp "$SCRATCH/fp32/manifest" "$SCRATCH/bad/manifest"
done
truncate -s 100 "$SCRATCH/bad/manifest"
expect_status 65 "a manifest cut short" lsc-exec run "$SCRATCH/bad" --prompt hi
expect_one_line "manifest"

expect_status 69 "no chat format" lsc-exec run "$SCRATCH/bf16" --chat --prompt hi
expect_one_line "chat"
expect_status 64 "no image" lsc-exec run
expect_status 64 "a bad temperature" lsc-exec run "$SCRATCH/bf16" --temp x
truncate -s 100 "$SCRATCH/bf16/image"
expect_status 65 "a short image" lsc-exec run "$SCRATCH/bf16" --prompt hi
expect_one_line "bytes"

start_server worker lsc-exec serve --dir "$SCRATCH" --listen 127.0.0.1:0
kill -TERM "$worker_pid"
wait "$worker_pid"
expect_equal "a stage worker ends well on SIGTERM" $? 0
expect_status 64 "a worker without a folder" lsc-exec serve
expect_status 64 "a time to leave in that is none" lsc-exec serve --dir "$SCRATCH" --drain-timeout soon
expect_status 74 "a worker whose folder is not there" lsc-exec serve --dir "$SCRATCH/nowhere"
expect_one_line "cannot serve '$SCRATCH/nowhere'"
done_testing
