#!/bin/sh
# lsc-pipe's streams: what is a request, what is none, and how it ends.  No worker is needed.
. tests/lib/tap.sh
. tests/lib/arrivals.sh
requires_command jq

image=$SCRATCH/model
lsc-shard pack --dummy stories260k "$image"
arrivals "$image" '' >"$SCRATCH/arrivals"
pipe() { lsc-pipe "$image" --arrivals "$SCRATCH/arrivals" --timeout 0.3s "$@"; }

expect_status 64 "no arrivals" lsc-pipe "$image"
expect_status 64 "no image" lsc-pipe --arrivals "$SCRATCH/arrivals"
expect_status 64 "no such way" pipe --sources sometimes
expect_status 64 "a stage timeout that is none" pipe --stage-timeout soon
expect_status 0 "nothing to do" pipe </dev/null

# --- arrivals ---

refused() { # refused STATUS NAME WORD: of the arrivals in $SCRATCH/other
	echo '{"id":1,"prompt":"Once"}' >"$SCRATCH/one"
	expect_status "$1" "$2" lsc-pipe "$image" --arrivals "$SCRATCH/other" --timeout 5s <"$SCRATCH/one"
	grep -q "$3" "$SCRATCH/err"
	ok $? "in words: $3"
}
lsc-shard pack --dummy stories260k --blocks 2 "$SCRATCH/second"
arrivals "$SCRATCH/second" '' >"$SCRATCH/other"
refused 65 "arrivals of another image" 'another image'
echo 'no records' >"$SCRATCH/other"
refused 65 "no arrivals at all" 'not a record'
lsc-msg to-json <"$SCRATCH/arrivals" | sed 1d | lsc-msg from-json >"$SCRATCH/other"
refused 76 "arrivals without a hello" hello
lsc-msg to-json <"$SCRATCH/arrivals" | sed 's/\[1,0\]/[2,0]/' | lsc-msg from-json >"$SCRATCH/other"
refused 76 "arrivals of a later version" version
arrivals "$image" 127.0.0.1:1 all | lsc-msg to-json | sed '2d' | lsc-msg from-json >"$SCRATCH/other"
refused 65 "nodes of no cast" cast
arrivals "$image" '127.0.0.1:1 127.0.0.1:1' all all | lsc-msg to-json |
	sed 's/"node":1/"node":0/' | lsc-msg from-json >"$SCRATCH/other"
refused 65 "a node twice" twice
arrivals "$image" 127.0.0.1:1 0,1,2 | lsc-msg to-json | sed '$d' | lsc-msg from-json >"$SCRATCH/other"
echo '{"id":1,"prompt":"Once"}' >"$SCRATCH/one"
expect_status 1 "a cast that tells nothing any more is not waited for" \
	lsc-pipe "$image" --arrivals "$SCRATCH/other" --timeout 0.3s <"$SCRATCH/one"
expect_status 1 "nor one that is cut off" \
	sh -c "cat '$SCRATCH/other' | lsc-pipe '$image' --arrivals /dev/fd/3 --timeout 0.3s 3<&0 <'$SCRATCH/one'"
grep -q 'end before the cast does' "$SCRATCH/err"
ok $? "which is said"
expect_status 74 "no such file" lsc-pipe "$image" --arrivals "$SCRATCH/nowhere" </dev/null

# --- lines ---

n=0
answered() { # answered ID WORD LINE: one fail record, with the id (or null)
	printf '%s\n' "$3" >"$SCRATCH/in"
	n=$((n + 1))
	pipe <"$SCRATCH/in" >"$SCRATCH/out" 2>"$SCRATCH/err"
	expect_equal "$(printf '%.50s' "$3"): status" $? 1
	expect_equal "one record, of that id" \
		"$(jq -sc 'map([.type, .id])' "$SCRATCH/out")" "[[\"fail\",$1]]"
	jq -r .why "$SCRATCH/out" | grep -q "$2"
	ok $? "which says: $2"
}
answered null 'no JSON' 'hello'
answered null 'no JSON object' '[1]'
answered null 'no JSON' "$(printf '{"id":1,"prompt":"\377"}')"
answered null 'id' '{"prompt":"Once"}'
answered null 'id' '{"id":null,"prompt":"Once"}'
answered null 'id' '{"id":[1],"prompt":"Once"}'
answered 1 'prompt or messages' '{"id":1}'
answered 1 'prompt or messages' '{"id":1,"prompt":"a","messages":[]}'
answered '"x"' 'string' '{"id":"x","prompt":5}'
answered 1.5 'some' '{"id":1.5,"messages":[]}'
answered 1 'message 1' '{"id":1,"messages":[{"role":"user","content":"a"},{"role":"user"}]}'
answered 1 'chat' '{"id":1,"messages":[{"role":"user","content":"a"}]}'
answered 1 'n is' '{"id":1,"prompt":"a","n":0}'
answered 1 'n is' '{"id":1,"prompt":"a","n":1.5}'
answered 1 'temp' '{"id":1,"prompt":"a","temp":-1}'
answered 1 'top_p' '{"id":1,"prompt":"a","top_p":0}'
answered 1 'seed' '{"id":1,"prompt":"a","seed":"x"}'
answered 1 'max_tokens and n' '{"id":1,"prompt":"a","n":1,"max_tokens":1}'
answered 1 'temperature is' '{"id":1,"prompt":"a","temperature":1001}'
answered 1 'top_k is' '{"id":1,"prompt":"a","top_k":-2}'
answered 1 'top_k is' '{"id":1,"prompt":"a","top_k":1.5}'
answered 1 'min_p is' '{"id":1,"prompt":"a","min_p":1.1}'
answered 1 'repetition_penalty is' '{"id":1,"prompt":"a","repetition_penalty":0}'
answered 1 'logprobs is' '{"id":1,"prompt":"a","logprobs":21}'
answered 1 'stop is not' '{"id":1,"prompt":"a","stop":5}'
answered 1 'stop string of 0 bytes' '{"id":1,"prompt":"a","stop":["x",""]}'
answered 1 'more than 16 stop' "{\"id\":1,\"prompt\":\"a\",\"stop\":[$(yes '"x"' | head -n 17 | paste -sd ,)]}"
answered 1 'what is no id' '{"id":1,"prompt":"a","stop_token_ids":[1,-1]}'
answered 1 'no nodes' '{"id":1,"prompt":"a","top_k":-1,"stop":null,"stop_token_ids":[],"logprobs":0}'
answered 1 'tokens: want 1 to 512' "{\"id\":1,\"prompt\":\"$(yes 'a b' | head -n 300 | tr '\n' ' ')\"}"
answered 1 'no nodes' '{"id":1,"prompt":"Once"}'
answered 1 'no nodes' '{"type":"request","id":1,"prompt":"Once"}'
answered 1 'what is no id' '{"id":1,"prompt":[1,-1]}'
answered 1 'the id 512' '{"id":1,"prompt":[1,512]}'
answered 1 'a string or ids' '{"id":1,"prompt":[]}'
answered 1 'no nodes' '{"id":1,"prompt":[1,511]}'

coded() { # coded CODE LINE
	printf '%s\n' "$2" | pipe >"$SCRATCH/out" 2>"$SCRATCH/err"
	expect_equal "$(printf '%.50s' "$2"): code" "$(jq -r .code "$SCRATCH/out")" "$1"
}
coded invalid '{"id":1,"prompt":"a","seed":"x"}'
coded unsupported '{"id":1,"messages":[{"role":"user","content":"a"}]}'
coded too_long "{\"id\":1,\"prompt\":\"$(yes 'a b' | head -n 300 | tr '\n' ' ')\"}"
coded failed '{"id":1,"prompt":"Once"}'

{
	echo '{"type":"other"}'
	echo
	head -c 17000000 /dev/zero | tr '\0' x
	echo
	echo '{"id":2}'
	printf '{"id":3}'
} >"$SCRATCH/in"
expect_status 1 "a line that is too long" pipe <"$SCRATCH/in"
expect_equal "fails, and those after it are read" \
	"$(jq -sc 'map(.id)' "$SCRATCH/out")" '[null,2,3]'
expect_status 1 "text alone" pipe --text <"$SCRATCH/in"
expect_equal "has failures on standard error" "$(grep -c 'request [23]: ' "$SCRATCH/err")" 2
expect_equal "and nothing else" "$(wc -c <"$SCRATCH/out")" 0

# --- records ---

printf '{"type":"request","id":7}\n{"type":"other"}\n{"type":"request","id":"y"}\n' >"$SCRATCH/lines"
lsc-msg from-json --hello requests <"$SCRATCH/lines" >"$SCRATCH/in"
expect_status 1 "requests as records" pipe <"$SCRATCH/in"
expect_equal "are answered as lines" "$(jq -sc 'map(.id)' "$SCRATCH/out")" '[7,"y"]'
head -c 60 "$SCRATCH/in" >"$SCRATCH/cut"
expect_status 65 "records that are cut off" pipe <"$SCRATCH/cut"
lsc-msg from-json --hello arrivals <"$SCRATCH/lines" >"$SCRATCH/in"
expect_status 76 "records of another kind" pipe <"$SCRATCH/in"
lsc-msg from-json <"$SCRATCH/lines" >"$SCRATCH/in"
expect_status 76 "records without a hello" pipe <"$SCRATCH/in"
grep -q 'standard input: .*hello' "$SCRATCH/err"
ok $? "in words"

# --- ends ---

echo '{"id":1}' >"$SCRATCH/in"
pipe <"$SCRATCH/in" >/dev/full 2>"$SCRATCH/err"
expect_equal "answers that cannot be written" $? 74
expect_one_line "cannot write an answer"
pipe <"$SCRATCH/in" >&- 2>"$SCRATCH/err"
expect_equal "standard output closed" $? 74
pipe <&- >"$SCRATCH/out" 2>"$SCRATCH/err"
expect_equal "standard input closed" $? 74
expect_one_line "standard input"

mkfifo "$SCRATCH/fifo"
lsc-pipe "$image" --arrivals "$SCRATCH/arrivals" <"$SCRATCH/fifo" >"$SCRATCH/out" 2>"$SCRATCH/err" &
pid=$!
ended_at_exit $pid
exec 4>"$SCRATCH/fifo"
echo '{"id":1}' >&4
echo '{"id":2,"prompt":"Once"}' >&4
while [ "$(wc -l <"$SCRATCH/out")" -lt 1 ]; do sleep 0.05; done
sleep 0.2
kill -TERM $pid
wait $pid
expect_equal "SIGTERM with a request that waits" $? 1
expect_equal "which is told" "$(jq -sc 'map([.id, .type])' "$SCRATCH/out")" '[[1,"fail"],[2,"fail"]]'
exec 4>&-
done_testing
