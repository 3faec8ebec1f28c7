#!/bin/sh
# lsc-pipe over a cast that is held to a rate: answers begin while the receivers load.
. tests/lib/tap.sh
requires_data models
requires_command jq

image=$SCRATCH/zero/model
mkdir "$SCRATCH/zero"
lsc-shard pack --dtype f32 "$DATA/models/stories260K-fp32" "$image"
lsc-exec run "$image" --prompt 'Once upon' -n 60 >"$SCRATCH/alone"

start_server exec0 lsc-exec serve --dir "$SCRATCH/zero" --listen 127.0.0.1:0
for i in 1 2 3; do
	mkdir "$SCRATCH/$i"
	start_server exec$i lsc-exec serve --dir "$SCRATCH/$i" --listen 127.0.0.1:0
	eval "exec=\$exec$i"
	start_server cast$i lsc-cast serve --dir "$SCRATCH/$i" --listen 127.0.0.1:0 --exec "$exec"
done

lsc-cast send "$image" --to "$cast1,$cast2,$cast3" --exec "$exec0" --max-rate 200K \
	>"$SCRATCH/cast.rec" 2>"$SCRATCH/cast.err" &
cast=$!
while [ ! -s "$SCRATCH/cast.rec" ]; do sleep 0.05; done
{
	echo '{"id":1,"prompt":"Once upon","n":60}'
	wait $cast
	while ! lsc-msg to-json <"$SCRATCH/cast.rec" | grep -q '"end"'; do sleep 0.1; done
	sleep 0.3
	echo '{"id":2,"prompt":"Once upon","n":60}'
	echo '{"id":3}'
} | timeout 60 lsc-pipe "$image" --arrivals "$SCRATCH/cast.rec" >"$SCRATCH/out" 2>"$SCRATCH/err"
expect_equal "a request that is none makes the status 1" $? 1

answers() { jq -r "select(.id == $1 and .type == \"$2\") | $3" "$SCRATCH/out"; }
first=$(lsc-msg to-json <"$SCRATCH/cast.rec" | jq -s 'map(select(.type == "complete").t) | min')
expect_equal "the first token comes before any node is complete" \
	"$(jq -s "map(select(.id == 1 and .type == \"token\").t) | min < $first" "$SCRATCH/out")" true
expect_equal "by a pipeline with a receiver" \
	"$(jq -s 'map(select(.id == 1 and .type == "route")) | first.stages |
		length > 1 and any(.node > 0)' "$SCRATCH/out")" true
for id in 1 2; do
	answers $id done .text >"$SCRATCH/text$id"
	expect_same "request $id has the text of one node" "$SCRATCH/text$id" "$SCRATCH/alone"
done
expect_equal "after the cast a request runs on one receiver" \
	"$(jq -s 'map(select(.id == 2 and .type == "route")) |
		length == 1 and (first.stages | length == 1 and first.node > 0)' "$SCRATCH/out")" true
expect_equal "what is no request fails in words" "$(answers 3 fail .why)" \
	"a request has a prompt or messages"

# A request that is there before anything is known of the receivers waits for one of them.
mkfifo "$SCRATCH/slow"
echo '{"id":1,"prompt":"Once upon","n":60}' |
	timeout 60 lsc-pipe "$image" --arrivals "$SCRATCH/slow" >"$SCRATCH/out" &
pipe=$!
exec 9>"$SCRATCH/slow"
lsc-msg to-json <"$SCRATCH/cast.rec" >"$SCRATCH/cast.json"
{
	grep -e '"hello"' -e '"type":"cast"' "$SCRATCH/cast.json" | sed 's/"nodes":4/"nodes":2/'
	grep -e '"node":0' "$SCRATCH/cast.json"
	sleep 0.5
	cp "$SCRATCH/out" "$SCRATCH/early"
	grep -e '"type":"node".*"node":1' -e '"type":"block".*"node":1,"block":1' "$SCRATCH/cast.json"
} | lsc-msg from-json >&9
wait $pipe
exec 9>&-
expect_equal "nothing is routed before a receiver is known" "$(wc -c <"$SCRATCH/early")" 0
answers 1 done .text >"$SCRATCH/text"
expect_same "then it is answered" "$SCRATCH/text" "$SCRATCH/alone"
expect_equal "by the receiver, with the source" \
	"$(answers 1 route '.stages | map(.node) | unique | join(" ")')" "0 1"
done_testing
