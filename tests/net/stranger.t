#!/bin/sh
# What was written from the man pages alone (tests/lib/stranger.py) beside what they describe.
. tests/lib/tap.sh
requires_command python3 jq

stranger_py=$TOP/tests/lib/stranger.py
stranger() { python3 "$stranger_py" "$@"; }

stranger_server() { # stranger_server NAME ARGUMENT...: its address in $NAME
	mkfifo "$SCRATCH/ready.$1"
	tap_var=$1
	shift
	# Not the function: what is ended at exit is then the program, not a shell around it.
	python3 "$stranger_py" "$@" >"$SCRATCH/ready.$tap_var" 2>"$SCRATCH/log.$tap_var" &
	eval "${tap_var}_pid=$!"
	ended_at_exit $!
	read -r "$tap_var" <"$SCRATCH/ready.$tap_var"
}

start_stranger() { # start_stranger NAME [VERSION]: a receiver of one cast
	mkdir -p "$SCRATCH/$1"
	stranger_server "$1" receive "$SCRATCH/$1" ${2:-}
}

# --- what the pages show ---

example() { # example PAGE WORDS: the bytes that stand behind a line with these words
	sed -n "/$2/,/^\.Sh/p" "man/$1" | awk '/^\.Ed/ { exit }
		/^[0-9a-f][0-9a-f] / { sub(/   .*/, ""); print }' |
		python3 -c 'import sys; sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read()))'
}

example lsc-stream.5 'The first bytes of a stream' >"$SCRATCH/bytes"
expect_equal "lsc-stream(5) shows 73 bytes" "$(wc -c <"$SCRATCH/bytes")" 73
expect_equal "which are the lines behind them" "$(lsc-msg to-json <"$SCRATCH/bytes")" \
	"$(sed -n '/^The same as JSON/,/^\.Ed/p' man/lsc-stream.5 | grep '^{')"
example lsc-wire.5 'The answer after the receiver' >"$SCRATCH/bytes"
expect_equal "lsc-wire(5) shows an answer and a piece" \
	"$(lsc-msg to-json <"$SCRATCH/bytes" | tr '\n' ' ')" \
	'{"type":"have","bits":{"$bin":"AQI="}} {"type":"piece","piece":3,"body":5} {"$bin":"aGVsbG8="} '

# --- the image ---

lsc-shard pack --dummy stories260k "$SCRATCH/tiny"
lsc-shard pack --dummy smollm2-135m --layers 3 --dtype f16 "$SCRATCH/image.lsc"
expect_status 0 "a stranger reads a small image" stranger image "$SCRATCH/tiny"
expect_status 0 "and one with 2 MiB blocks" stranger image "$SCRATCH/image.lsc"
expect_equal "and finds in it what we do" "$(cut -d' ' -f3-6 "$SCRATCH/out")" \
	"$(lsc-shard ls --json "$SCRATCH/image.lsc" | python3 -c 'import json, sys
r = json.load(sys.stdin)
print(len(r["blocks"]), "blocks,", r["pieces"], "pieces,")')"

# --- a cast ---

start_node one
start_node two
for order in throughput chain round-optimal tree sequential; do
	name=$(echo $order | tr - _)
	start_stranger $name
	eval "via=\$$name pid=\$${name}_pid"
	expect_status 0 "$order through a stranger" lsc-cast send "$SCRATCH/image.lsc" \
		--to "$one,$via,$two" --order $order
	wait "$pid"
	expect_equal "which is told of its end" $? 0
	for file in "one/image.lsc" "$name/image.lsc" "two/image.lsc"; do
		expect_same "$file is the image" "$SCRATCH/$file/image" "$SCRATCH/image.lsc/image"
		expect_same "and has its manifest" "$SCRATCH/$file/manifest" "$SCRATCH/image.lsc/manifest"
		rm -r "$SCRATCH/$file"
	done
done

cp -r "$SCRATCH/image.lsc" "$SCRATCH/one"
start_stranger kway
expect_status 0 "kway from two sources" lsc-cast send "$SCRATCH/image.lsc" --sources "$one" \
	--to "$kway,$two" --order kway
expect_same "the stranger has the image" "$SCRATCH/kway/image.lsc/image" "$SCRATCH/image.lsc/image"
expect_same "and the other one" "$SCRATCH/two/image.lsc/image" "$SCRATCH/image.lsc/image"

mkdir "$SCRATCH/sent"
cp -r "$SCRATCH/tiny" "$SCRATCH/sent"
start_node sent
for order in round-optimal throughput; do
	rm -rf "$SCRATCH/one/tiny" "$SCRATCH/two/tiny"
	name=met$(echo $order | tr -d -)
	start_stranger $name
	eval "met=\$$name met_pid=\$${name}_pid"
	expect_status 0 "a stranger casts to nodes, and to another stranger: $order" stranger send \
		"$SCRATCH/tiny" $order "$one" "$sent" "$two" "$met"
	for node in one two $name; do
		expect_same "$node has its image" "$SCRATCH/$node/tiny/image" "$SCRATCH/tiny/image"
		[ "$node" = $name ] ||
			expect_status 0 "and finds it sound" lsc-shard verify "$SCRATCH/$node/tiny"
	done
	wait "$met_pid"
	expect_equal "and the other stranger is told of the end" $? 0
done

start_stranger aborted
kill -STOP "$one_pid"
lsc-cast send "$SCRATCH/image.lsc" --to "$aborted,$one" --timeout 20s --name other >"$SCRATCH/out" &
pid=$!
ended_at_exit $pid
i=0
until lsc-msg <"$SCRATCH/out" 2>/dev/null | grep -q '"complete"' || [ $i -gt 100 ]; do
	sleep 0.1
	i=$((i + 1))
done
ok $((i > 100)) "a stranger completes while another node hangs"
kill -TERM $pid
kill -CONT "$one_pid"
wait "$aborted_pid"
expect_equal "is told when the cast is ended" $? 1
grep -q "the cast was interrupted" "$SCRATCH/log.aborted"
ok $? "and why"

# --- what nodes have ---

id=$(lsc-shard ls --json "$SCRATCH/tiny" | jq -r .id)
pieces=$(lsc-shard ls --json "$SCRATCH/tiny" | jq -r .pieces)
expect_status 0 "a stranger asks what a node has" stranger want "$sent" tiny
expect_equal "which says it" "$(cat "$SCRATCH/out")" "held $id $pieces of $pieces disk"
expect_status 0 "and asks for what it has not" stranger want "$sent" other
expect_equal "which says that" "$(cat "$SCRATCH/out")" "absent it is not there"

# --- refusals ---

refused() { # refused NAME WHY ARGUMENT...
	tap_why=$2
	expect_status 0 "$1" stranger say "$3" "$4" "$5" ${6:-}
	expect_equal "with the reason" "$(cat "$SCRATCH/out")" "abort 71 $tap_why"
}

refused "a node refuses version 3" \
	"'cast' stream has version 3.7; this program reads 2.x" "$one" cast 3
refused "and another protocol" "expected a stream of kind 'cast', got 'exec'" "$one" exec 1
refused "and who does not say what it wants" "opens with a record 'have'" "$one" cast 2 have
refused "and who leaves out what is needed" "record 'peer': key 'cast' is missing" \
	"$one" cast 2 peer
start_stranger later 3.7
expect_status 76 "a node of version 3 is refused" lsc-cast send "$SCRATCH/image.lsc" --to "$later"
expect_one_line "'cast' stream has version 3.7; this program reads 2.x"

# --- requests ---

mkdir "$SCRATCH/three" "$SCRATCH/four"
for i in three four; do
	start_server exec_$i lsc-exec serve --exact --dir "$SCRATCH/$i" --listen 127.0.0.1:0
done
start_server four lsc-cast serve --dir "$SCRATCH/four" --listen 127.0.0.1:0 --exec "$exec_four"
refused "a worker refuses what is no run" "record 'run': key 'image' is missing" \
	"$exec_three" exec 1 run

asks() { # asks NAME MODEL STAGES ID...: the workers of the cast in cast.rec
	expect_status 0 "$1" stranger ask "$SCRATCH/cast.rec" "$SCRATCH/three/$2" "$3" 40 $prompt
	expect_same "and gets the same tokens" "$SCRATCH/out" "$SCRATCH/want"
}

for model in qwen2 qwen3 mistral llama3 linear yarn mixtral qwen3_moe; do
	python3 "$TOP/tests/lib/toy_model.py" "$SCRATCH/$model" $model
	lsc-shard pack --dtype f32 "$SCRATCH/$model" "$SCRATCH/three/$model"
	lsc-cast send "$SCRATCH/three/$model" --to "$four" --exec "$exec_three" >"$SCRATCH/cast.rec"
	prompt='5 17 96 0 44'
	expect_status 0 "a stranger executes a model like $model" \
		stranger run "$SCRATCH/three/$model" 40 $prompt
	mv "$SCRATCH/out" "$SCRATCH/want"
	asks "and asks two workers" $model 2
	prompt="$prompt move=17"
	asks "and then one of them, which gets what the other has" $model 2
done

prompt='5 17 96 0 44'
lsc-shard pack --dtype q8 "$SCRATCH/qwen2" "$SCRATCH/three/q8"
expect_status 0 "a stranger executes a quantised one" stranger run "$SCRATCH/three/q8" 40 $prompt
mv "$SCRATCH/out" "$SCRATCH/want"
lsc-cast send "$SCRATCH/three/q8" --to "$four" --exec "$exec_three" >"$SCRATCH/cast.rec"
asks "and asks two workers" q8 2

if [ ! -e "$DATA/models/stories260K-fp32" ]; then
	skip "no test data models"
	done_testing
fi
lsc-shard pack --dtype f32 "$DATA/models/stories260K-fp32" "$SCRATCH/three/model"
expect_status 0 "a stranger reads a real image" stranger image "$SCRATCH/three/model"
lsc-cast send "$SCRATCH/three/model" --to "$four" --exec "$exec_three" >"$SCRATCH/cast.rec"
printf 'Once upon  a time\n\n\303\234ber \342\226\201 \360\237\230\200, 1234!\t' >"$SCRATCH/text"
stranger tokenize "$SCRATCH/three/model" <"$SCRATCH/text" >"$SCRATCH/ids"
expect_equal "and uses its tokenizer" "$(cat "$SCRATCH/ids")" \
	"$(lsc-shard tokenize --bos "$SCRATCH/three/model" <"$SCRATCH/text")"
prompt=$(echo 'Once upon a time' | stranger tokenize "$SCRATCH/three/model")
lsc-exec run "$SCRATCH/three/model" --ids -n 40 --prompt 'Once upon a time
' >"$SCRATCH/want"
expect_status 0 "a stranger executes it" stranger run "$SCRATCH/three/model" 40 $prompt
expect_same "and gets the tokens of lsc-exec run" "$SCRATCH/out" "$SCRATCH/want"
asks "a stranger asks one worker" model 1
asks "and two" model 2
plain=$prompt
cp "$SCRATCH/want" "$SCRATCH/greedy"
prompt="$plain temp=0.8 top_k=60 top_p=0.95 min_p=0.02 penalty=1.2 seed=11 logprobs=3"
lsc-exec run "$SCRATCH/three/model" --ids -n 40 --temp 0.8 --top-k 60 --top-p 0.95 --min-p 0.02 \
	--repetition-penalty 1.2 --seed 11 --prompt 'Once upon a time
' >"$SCRATCH/want"
expect_status 0 "a stranger draws" stranger run "$SCRATCH/three/model" 40 $prompt
expect_same "what lsc-exec run draws" "$SCRATCH/out" "$SCRATCH/want"
asks "a stranger asks two workers to draw" model 2
stranger_server worker work "$SCRATCH/three/model"
lsc-cast send "$SCRATCH/three/model" --to "$four" --exec "$worker" >"$SCRATCH/cast.rec"
asks "a worker draws where a stranger ends" model 2
prompt="$prompt move=9"
asks "and what it has goes to the stranger" model 2
prompt=${prompt% *}
start_server five lsc-cast serve --dir "$SCRATCH/four" --listen 127.0.0.1:0 --exec "$worker"
lsc-cast send "$SCRATCH/three/model" --to "$five" --exec "$exec_three" >"$SCRATCH/cast.rec"
asks "and a stranger where a worker does" model 2
prompt="$prompt move=9"
asks "and what it has goes to the worker" model 2
prompt=$plain
mv "$SCRATCH/greedy" "$SCRATCH/want"
lsc-cast send "$SCRATCH/three/model" --to "$four" --exec "$worker" >"$SCRATCH/cast.rec"
asks "a worker goes on where a stranger ends" model 2
lsc-cast send "$SCRATCH/three/model" --to "$five" --exec "$exec_three" >"$SCRATCH/cast.rec"
asks "and a stranger where a worker does" model 2
done_testing
