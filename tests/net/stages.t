#!/bin/sh
# Real stage workers as pipelines of 1 to 5 stages: the reference's greedy answers, token for token.
#
# Who holds which blocks decides the routes, so the arrivals that lsc-pipe reads are written here.
. tests/lib/tap.sh
. tests/lib/arrivals.sh
requires_data models reference
requires_command jq

reference=$DATA/reference/stories260K-greedy.json
mkdir "$SCRATCH/images"
lsc-shard pack --dtype f32 --blocks 7 "$DATA/models/stories260K-fp32" "$SCRATCH/images/fp32"
lsc-shard pack --dtype bf16 --blocks 7 "$DATA/models/stories260K-bf16" "$SCRATCH/images/bf16"
lsc-shard pack --dtype bf16 --blocks 7 "$DATA/models/stories260K-bf16-3shards" "$SCRATCH/shards"
expect_same "three shards give the image of one file" "$SCRATCH/shards/image" \
	"$SCRATCH/images/bf16/image"

workers=
for i in 1 2 3 4 5; do
	start_server worker lsc-exec serve --dir "$SCRATCH/images" --listen 127.0.0.1:0 --threads 1 --exact
	workers="$workers $worker"
done

# compare WEIGHTS ROUTE BLOCKS...: every run of the reference with these weights takes that route
compare() {
	weights=$1 route=$2
	shift 2
	arrivals "$SCRATCH/images/$weights" "$workers" "$@" >"$SCRATCH/arrivals"
	jq -c --arg w "$weights" '.runs | to_entries[] | select(.value.weights == $w) |
		{id: .key, prompt: .value.prompt, n: (.value.greedy_ids | length)}' "$reference" |
		timeout 120 lsc-pipe "$SCRATCH/images/$weights" --arrivals "$SCRATCH/arrivals" >"$SCRATCH/out"
	expect_equal "$weights over $route" "$(jq -rs 'map(select(.type == "route").stages |
		map("\(.node):\(.first)-\(.last)") | join(" ")) | unique | join("; ")' "$SCRATCH/out")" "$route"
	jq -cs 'map(select(.type == "token")) | group_by(.id) | map({id: .[0].id, ids: map(.token)})' \
		"$SCRATCH/out" >"$SCRATCH/got"
	jq -c --arg w "$weights" '.runs | to_entries | map(select(.value.weights == $w) |
		{id: .key, ids: .value.greedy_ids})' "$reference" >"$SCRATCH/want"
	expect_same "gives the reference's tokens" "$SCRATCH/got" "$SCRATCH/want"
}

for weights in fp32 bf16; do
	# Unit 0, the embedding, is tied to the head and needs the last block, and the first layer
	# is in block 0.  Each node is needed for some unit, or the first that can be reached would
	# do without the others.
	compare $weights '0:0-6' 0,1,2,3,4,5
	compare $weights '0:0-3 1:4-6' 0,1,2,5 3,4,5
	compare $weights '0:0-2 1:3-6' 0,1,5 2,3,4,5
	compare $weights '0:0-1 1:2-5 0:6-6' 0,5 1,2,3,4
	compare $weights '0:0-1 1:2-3 2:4-6' 0,5 1,2 3,4,5
	compare $weights '0:0-0 1:1-1 2:2-5 0:6-6' 5 0 1,2,3,4
	compare $weights '0:0-1 1:2-2 2:3-3 3:4-4 4:5-6' 0,5 1 2 3 4,5
done

# Draws depend on the seed and the position, and on nothing else.
lsc-exec run --exact "$SCRATCH/images/bf16" --prompt Once -n 60 --temp 0.9 --top-p 0.95 --seed 7 --ids >"$SCRATCH/want"
echo '{"id":1,"prompt":"Once","n":60,"temp":0.9,"top_p":0.95,"seed":7}' |
	lsc-pipe "$SCRATCH/images/bf16" --arrivals "$SCRATCH/arrivals" |
	jq -rs 'map(select(.type == "token").token | tostring) | join(" ")' >"$SCRATCH/got"
expect_same "drawn tokens are those of one node" "$SCRATCH/got" "$SCRATCH/want"
expect_equal "60 of them" "$(wc -w <"$SCRATCH/got")" 60

# answer REQUEST: its records, over five stages
answer() {
	echo "$1" | lsc-pipe "$SCRATCH/images/bf16" --arrivals "$SCRATCH/arrivals" >"$SCRATCH/out"
}
told() { jq -rs "map(select(.type == \"$1\"))$2" "$SCRATCH/out"; }

how='--top-k 30 --top-p 0.9 --min-p 0.02 --repetition-penalty 1.3 --seed 9'
lsc-exec run --exact "$SCRATCH/images/bf16" --prompt Once -n 60 --temp 1.2 $how --ids >"$SCRATCH/want"
lsc-exec run --exact "$SCRATCH/images/bf16" --prompt Once -n 60 --temp 1.2 $how --logprobs 2 >"$SCRATCH/lines"
answer '{"id":1,"prompt":"Once","max_tokens":60,"temperature":1.2,"top_k":30,"top_p":0.9,"min_p":0.02,"repetition_penalty":1.3,"seed":9,"logprobs":2}'
told token '| map(.token | tostring) | join(" ")' >"$SCRATCH/got"
expect_same "drawn with all there is they are too" "$SCRATCH/got" "$SCRATCH/want"
expect_equal "and told of alike" \
	"$(told token '[] | [.token, .top_logprobs[].token] | map(tostring) | join(" ")')" \
	"$(cut -d' ' -f1,3,5 "$SCRATCH/lines")"

answer '{"id":1,"prompt":"Once","max_tokens":40}'
text=$(told done '[0].text') ids=$(told token '| map(.token) | tostring')
word=$(echo "$text" | cut -d' ' -f5)
answer "{\"id\":1,\"prompt\":\"Once\",\"max_tokens\":40,\"stop\":[\"Zebra\",\" $word\"]}"
expect_equal "a stop string ends the answer" "$(told done '[0] | .reason + .stop')" "stop $word"
expect_equal "before it" "$(told done '[0].text')" "${text%%" $word"*}"
expect_equal "and none of it was given out before" "$(told token '| map(.text) | join("")')" \
	"${text%%" $word"*}"
third=$(echo "$ids" | jq '.[2]')
answer "{\"id\":1,\"prompt\":\"Once\",\"max_tokens\":40,\"stop_token_ids\":[$third]}"
expect_equal "a stop token ends it too" "$(told done '[0] | [.reason, .stop, .tokens] | tostring')" \
	"[\"stop\",$third,2]"

start_server counter lsc-exec serve -v --dir "$SCRATCH/images" --listen 127.0.0.1:0 --threads 1
arrivals "$SCRATCH/images/bf16" "$counter" 0,1,2,3,4,5 >"$SCRATCH/arrivals"
answer '{"id":1,"prompt":"Once","max_tokens":5}'
kill "$counter_pid"
wait "$counter_pid"
expect_equal "a worker that ends tells its steps" \
	"$(sed -n 's/.*steps [0-9]*, positions of answers \([0-9]*\), .* way \([0-9]*\)$/\1 \2/p' "$SCRATCH/log.counter")" \
	"4 0"
done_testing
