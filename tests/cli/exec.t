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
		-n "$(echo "$want" | wc -w)" --ids)
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
expect_equal "text comes whole" \
	"$(lsc-exec run "$SCRATCH/fp32" --prompt '' -n 8)" \
	"$(lsc-exec run "$SCRATCH/fp32" --prompt '' -n 8 --ids | lsc-shard detokenize "$SCRATCH/fp32")"

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
done_testing
