#!/bin/sh
# A model with experts among nodes: stages are whole layers, whoever holds which experts, and answers
# begin while it is cast.
. tests/lib/tap.sh
. tests/lib/arrivals.sh
requires_command jq
requires_command python3

# Three layers of an attention and six experts, with a tokenizer that knows printable characters.
python3 tests/lib/toy_model.py "$SCRATCH/toy" qwen3_moe
python3 - >"$SCRATCH/toy/tokenizer.json" <<'END'
import json
print(json.dumps({"model": {"type": "BPE", "merges": [],
                            "vocab": {chr(0x20 + i) if i else "\u0120": i for i in range(95)}},
                  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
                  "decoder": {"type": "ByteLevel"}}))
END
image=$SCRATCH/0/toy
mkdir "$SCRATCH/0"
expect_status 0 "an expert a block" lsc-shard pack --dtype f32 --blocks 23 "$SCRATCH/toy" "$image"
expect_equal "23 units in 23 blocks" "$(lsc-shard ls --json "$image" |
	jq -c '[.units, (.blocks | length), .model.experts, .model.experts_used]')" "[23,23,6,3]"
lsc-exec run "$image" --prompt 'Once upon' -n 60 --ids >"$SCRATCH/want"
lsc-exec run "$image" --prompt 'Once upon' -n 60 >"$SCRATCH/alone"
expect_equal "60 tokens" "$(wc -w <"$SCRATCH/want")" 60

# --- who holds what decides ---

workers=
for i in 1 2 3 4; do
	start_server worker lsc-exec serve --dir "$SCRATCH/0" --listen 127.0.0.1:0 --threads 1
	workers="$workers $worker"
done

range() { seq -s, "$1" "$2"; }

ask() { # ask BLOCKS...: of each node; leaves the answers in out
	arrivals "$image" "$workers" "$@" >"$SCRATCH/arrivals"
	echo '{"id":1,"prompt":"Once upon","n":60}' | timeout 60 lsc-pipe "$image" --timeout 1s \
		--arrivals "$SCRATCH/arrivals" >"$SCRATCH/out" 2>"$SCRATCH/err"
}

compare() { # compare ROUTE BLOCKS...
	route=$1
	shift
	ask "$@"
	expect_equal "over $route" "$(jq -rs 'map(select(.type == "route").stages |
		map("\(.node):\(.first)-\(.last)") | join(" ")) | unique | join("; ")' "$SCRATCH/out")" "$route"
	jq -rs 'map(select(.type == "token").token) | join(" ")' "$SCRATCH/out" >"$SCRATCH/got"
	expect_same "the same tokens" "$SCRATCH/got" "$SCRATCH/want"
}

compare '0:0-22' all
compare '0:0-7 1:8-22' "$(range 0 11)" "$(range 8 22)"
compare '0:0-7 2:8-14 1:15-22' "$(range 0 10)" "$(range 11 22)" "$(range 8 14)"
compare '0:0-0 1:1-7 2:8-14 3:15-21 0:22-22' 0,22 "$(range 1 9)" "$(range 7 16)" "$(range 15 21)"
ask "$(range 0 10)" "$(range 11 22)"
expect_equal "experts of one layer on two nodes are no route" $? 1
expect_equal "and no token" "$(jq -rs 'map(.type) | join(" ")' "$SCRATCH/out")" fail

# --- while it is cast ---

start_server exec0 lsc-exec serve --dir "$SCRATCH/0" --listen 127.0.0.1:0
for i in 1 2; do
	mkdir "$SCRATCH/$i"
	start_server exec$i lsc-exec serve --dir "$SCRATCH/$i" --listen 127.0.0.1:0
	eval "exec=\$exec$i"
	start_server cast$i lsc-cast serve --dir "$SCRATCH/$i" --listen 127.0.0.1:0 --exec "$exec"
done
lsc-cast send "$image" --to "$cast1,$cast2" --exec "$exec0" --max-rate 150K \
	>"$SCRATCH/cast.rec" 2>"$SCRATCH/cast.err" &
cast=$!
while [ ! -s "$SCRATCH/cast.rec" ]; do sleep 0.05; done
{
	echo '{"id":1,"prompt":"Once upon","n":60}'
	while ! lsc-msg to-json <"$SCRATCH/cast.rec" | grep -q '"end"'; do sleep 0.1; done
	sleep 0.3
	echo '{"id":2,"prompt":"Once upon","n":60}'
} | timeout 60 lsc-pipe "$image" --arrivals "$SCRATCH/cast.rec" >"$SCRATCH/out" 2>"$SCRATCH/err"
expect_equal "both requests are answered" $? 0
wait $cast
expect_equal "and the cast ends well" $? 0
for id in 1 2; do
	jq -r "select(.id == $id and .type == \"done\").text" "$SCRATCH/out" >"$SCRATCH/text$id"
	expect_same "request $id has the text of one node" "$SCRATCH/text$id" "$SCRATCH/alone"
done
first=$(lsc-msg to-json <"$SCRATCH/cast.rec" | jq -s 'map(select(.type == "complete").t) | min')
expect_equal "the first token comes before any node is complete" \
	"$(jq -s "map(select(.id == 1 and .type == \"token\").t) | min < $first" "$SCRATCH/out")" true
expect_equal "no stage parts a layer" "$(jq -s 'map(select(.type == "route").stages[] |
	select((.first > 0 and (.first - 1) % 7 > 0) or (.last < 22 and .last % 7 > 0))) | length' \
	"$SCRATCH/out")" 0
done_testing
