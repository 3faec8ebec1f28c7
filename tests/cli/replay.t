#!/bin/sh
# lsc-replay: what it would send, what it sends, and what it tells of a server whose delays and faults
# are known (tests/lib/openai_server.py).
. tests/lib/tap.sh
requires_command jq
traces=tests/data/traces
dry() { lsc-replay --dry-run "$@"; }

# --- command lines ---

expect_status 64 "nothing to send" lsc-replay http://127.0.0.1:1
expect_one_line "want one of --trace, --poisson and --gamma"
expect_status 64 "nowhere to" lsc-replay --trace $traces/mooncake.jsonl
expect_one_line "want URL"
expect_status 64 "arrivals without an end" dry --poisson 3 --prompt-tokens 1 --output-tokens 1
expect_status 64 "arrivals without lengths" dry --poisson 3 --limit 3
expect_status 64 "times without lengths" dry --trace $traces/times.txt
expect_one_line "'$traces/times.txt': these arrivals have no lengths of their own"
expect_status 64 "speed without a trace" dry --poisson 3 --limit 3 --speed 2
expect_status 64 "a gamma of one number" dry --gamma 3 --limit 3
for bad in '--speed 0' '--scale -1' '--limit 0' '--seed x' '--slo ttft=fast' '--timeout 0' '--poisson nan' \
	'--prompt-tokens 0' '--max-concurrency 0' '--tokens-per-word 0' '--duration 0'; do
	# shellcheck disable=SC2086
	expect_status 64 "a bad $bad" dry --trace $traces/mooncake.jsonl $bad
done
expect_status 74 "no such trace" dry --trace "$SCRATCH/none"
expect_one_line "cannot open '$SCRATCH/none'"
echo 'when,how' >"$SCRATCH/bad.csv"
expect_status 65 "a trace that is none" dry --trace "$SCRATCH/bad.csv"
expect_one_line "'$SCRATCH/bad.csv': line 1: neither"
dry --trace $traces/mooncake.jsonl >/dev/full 2>"$SCRATCH/err"
expect_equal "standard output is full" $? 74

# --- what would be sent ---

expect_status 0 "a timetable" dry --trace $traces/mooncake.jsonl --speed 3
expect_equal "of all requests, at their times" "$(jq -c 'select(.type == "due") |
	[.request, .due, .prompt, .output, .blocks]' "$SCRATCH/out")" '[0,0,1100,50,[0,1,2]]
[1,0.009,700,5,[0,3]]
[2,0.009,1500,7,[0,1,4]]
[3,1,12,3,[900000000000]]'
expect_status 0 "as records" dry --trace $traces/mooncake.jsonl --speed 3 --records "$SCRATCH/due.rec"
lsc-msg to-json <"$SCRATCH/due.rec" >"$SCRATCH/due.json"
dry --trace $traces/mooncake.jsonl --speed 3 >"$SCRATCH/again.json"
expect_same "the same" "$SCRATCH/due.json" "$SCRATCH/again.json"
made_up() { dry --gamma 20,2 --duration 10s --prompt-tokens 300,1 --output-tokens 40 "$@"; }
made_up >"$SCRATCH/a"
made_up >"$SCRATCH/b"
made_up --seed 1 >"$SCRATCH/c"
expect_same "a seed repeats itself" "$SCRATCH/a" "$SCRATCH/b"
! cmp -s "$SCRATCH/a" "$SCRATCH/c"
ok $? "another does not"
expect_equal "a limit" "$(made_up --limit 7 | wc -l)" 8
expect_equal "from standard input" "$(dry --trace - --limit 2 <$traces/azure-2023.csv | wc -l)" 3
expect_status 0 "rows out of order" dry --trace $traces/burstgpt-sessions.csv
expect_one_line "1 requests out of their order, sorted"

# --- a server ---

requires_feature curl
requires_command python3
server() { # server NAME OPTION...
	name=$1
	shift
	start_server "$name" python3 tests/lib/openai_server.py "$@"
}
server fast --log "$SCRATCH/log"
server slow --first 100 --gap 10
few() { lsc-replay --poisson 100 --limit 6 --prompt-tokens 30 --output-tokens 5 "$@"; }
get() { jq -r "$1" "$SCRATCH/out"; }

expect_status 0 "a table" few "http://$fast"
for row in 'sent +6 of 6 in [0-9.]+ s, at most [1-6] at once' 'done +6 complete \([0-9.]+/s\), 0 failed' \
	'tokens +in [0-9]+ .*, out 30 \(' ' +p50 +p90 +p99 +mean +max' 'ttft( +[0-9.]+ m?s){5}' \
	'tpot( +[0-9.]+ m?s){5}' 'itl( +[0-9.]+ m?s){5}' 'e2e( +[0-9.]+ m?s){5}' 'late( +[0-9.]+ m?s){5}'; do
	grep -Eq "^$row" "$SCRATCH/out"
	ok $? "the table has: $row"
done
expect_equal "and nothing else is said" "$(cat "$SCRATCH/err")" ''
expect_equal "requests are what they should be" "$(jq -sc 'map([.model, .max_tokens, .stream,
	.stream_options.include_usage, .ignore_eos, (.prompt | type)]) | unique' "$SCRATCH/log")" \
	'[["ok",5,true,true,null,"string"]]'

expect_status 0 "JSON" few "http://$slow/v1/" --json --limit 40 --slo ttft=1s,tpot=1s
expect_equal "counts" "$(get '[.due, .sent, .complete, .failed, .tokens, .tokens_asked, .itl_s.n, .good] | @csv')" \
	40,40,40,0,200,200,160,40
# Load on this machine makes things later, never earlier; the server's waits end at set times.
expect_equal "the first token after its delay" \
	"$(get '.ttft_s | .p50 > 0.099 and .p50 < 0.2 and .p90 >= .p50 and .p99 >= .p90 and .max >= .p99')" true
expect_equal "others at theirs" "$(get '.itl_s | .mean > 0.009 and .mean < 0.02')" true
expect_equal "a token's time" "$(get '.tpot_s | .p50 > 0.009 and .p50 < 0.02')" true
expect_equal "the end" "$(get '.e2e_s.p50 > 0.138 and .e2e_s.p50 < 0.3')" true
expect_equal "goodput is all of it" "$(get '.goodput_requests_s == .requests_s')" true
expect_status 0 "an objective that is missed" few "http://$slow" --json --slo ttft=50ms
expect_equal "by all" "$(get '[.good, .goodput_requests_s] | @csv')" 0,0

# --- load is open ---

server late --first 400 --log "$SCRATCH/late.log"
expect_status 0 "a server slower than its load" lsc-replay "http://$late" --poisson 100 --limit 30 \
	--prompt-tokens 9 --output-tokens 1 --json --records "$SCRATCH/late.rec"
expect_equal "gets no less of it" "$(get '.at_once >= 20 and .waited == 0')" true
lsc-msg to-json <"$SCRATCH/late.rec" >"$SCRATCH/late.json"
expect_equal "at the times of the timetable" "$(jq -sc --slurpfile log "$SCRATCH/late.log" '
	(map(select(.type == "replay"))[0].clock) as $begun | map(select(.type == "request")) | sort_by(.request)
	| [[map(.due), ($log | sort_by(.at) | map(.at - $begun))] | transpose[] | .[1] - .[0]]
	| length == 30 and (max < 0.25) and (min > -0.05)' "$SCRATCH/late.json")" true
expect_status 0 "a bound on requests at once" lsc-replay "http://$late" --poisson 100 --limit 6 \
	--prompt-tokens 9 --output-tokens 1 --max-concurrency 2 --json --slo ttft=600ms
expect_equal "which then wait" "$(get '[.at_once, .waited] | @csv')" 2,4
expect_equal "is told apart" "$(get '.wait_s.n == 4 and .wait_s.max > 0.7 and .ttft_s.max < 0.7')" true
expect_equal "and held against the objective" "$(get '.good')" 2

# --- answers of every kind ---

for model in crlf cr utf8 together no-usage comments late; do
	expect_status 0 "$model: an answer" few "http://$fast" --model $model --json
	expect_equal "$model: all of it" "$(get '[.complete, .tokens, .itl_s.n] | @csv')" 6,30,24
done
# A connection that stays open after an answer holds no place, and is no part of the answer.
expect_status 0 "late: one at a time" few "http://$fast" --model late --json --max-concurrency 1
expect_equal "late: without waiting for its end" "$(get '.complete == 6 and .at_once == 1 and .seconds < 0.6')" true
expect_status 0 "chat" few "http://$fast" --chat --model utf8 --json
expect_equal "all of it" "$(get '[.complete, .tokens] | @csv')" 6,30
expect_status 0 "without text" few "http://$fast" --model silent --json
expect_equal "is told" "$(get '[.complete, .silent, .ttft_s.n] | @csv')" 6,6,0

failing() { # failing MODEL KIND WORDS OPTION...
	model=$1 kind=$2 words=$3
	shift 3
	expect_status 1 "$model: fails" few "http://$fast" --model "$model" --json "$@"
	expect_equal "$model: $kind" "$(get '[.failed, (.errors | tostring)] | @csv')" "6,\"{\"\"$kind\"\":6}\""
	expect_one_line "$words"
}
failing status-429 http 'status 429: not now'
failing status-500 http 'status 500: not now'
failing break broken 'request'
failing no-done no-done 'the answer ended before [DONE]'
failing cut no-done 'the answer ended before [DONE]'
failing json malformed 'answered with no event stream'
failing bad malformed 'not a JSON object'
failing error error 'the server failed: out of memory'
failing hang timeout 'timed out' --timeout 500ms
expect_status 1 "some fail" few "http://$fast" --model retry-429 --json
expect_equal "and are counted by status" "$(get '[.complete, .failed, .statuses["429"]] | @csv')" 3,3,3
few "http://$fast" --model status-503 2>/dev/null | grep -q '^errors  http 503 6$'
ok $? "in the table too"

# --- nobody there ---

expect_status 69 "no server to tell a model" few http://127.0.0.1:1
expect_one_line "no --model, and the server tells none: 'http://127.0.0.1:1/v1/models'"
expect_status 76 "a server without a list" few "http://$fast/nowhere"
expect_one_line "answers with status 404"
for bad in file:///etc/passwd ftp://127.0.0.1 http:// http://127.0.0.1:99999 'http://[::1' ''; do
	expect_status 64 "no URL of HTTP: '$bad'" few "$bad" --model m
	expect_one_line "'$bad' is no URL of HTTP"
done
expect_status 1 "no server" few http://127.0.0.1:1 --model m --json
expect_equal "no connection" "$(get .errors.connect)" 6

# --- keys and certificates ---

server locked --key sesame
echo 'sesame' >"$SCRATCH/key"
echo 'simsim' >"$SCRATCH/wrong"
printf '\n' >"$SCRATCH/empty"
expect_status 0 "a key" few "http://$locked" --api-key-file "$SCRATCH/key"
expect_status 0 "from standard input" few "http://$locked" --api-key-file - <"$SCRATCH/key"
expect_status 1 "a wrong one" few "http://$locked" --api-key-file "$SCRATCH/wrong"
expect_one_line "status 401: wrong key"
expect_status 65 "none in its file" few "http://$locked" --api-key-file "$SCRATCH/empty"
if command -v openssl >/dev/null 2>&1; then
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
		-addext subjectAltName=IP:127.0.0.1 -keyout "$SCRATCH/tls.key" -out "$SCRATCH/tls.crt" \
		2>/dev/null
	server tls --tls "$SCRATCH/tls.crt" "$SCRATCH/tls.key"
	expect_status 0 "https" few "https://$tls" --ca-file "$SCRATCH/tls.crt" --json
	expect_equal "all of it" "$(get '[.complete, .tokens] | @csv')" 6,30
	expect_status 1 "a certificate that nobody vouches for" few "https://$tls" --model ok --json
	expect_equal "is no connection" "$(get .errors.connect)" 6
else
	skip "no openssl here"
fi

# --- prompts ---

: >"$SCRATCH/log"
expect_status 0 "a trace with blocks" lsc-replay "http://$fast" --trace $traces/mooncake.jsonl --speed 100 \
	--tokens-per-word 1.5 --ignore-eos --max-output-tokens 2 --json
expect_equal "of the lengths asked for" "$(get '.prompt_tokens - .prompt_tokens_asked | . > -5 and . < 5')" true
expect_equal "what is shared is shared" "$(jq -sc 'map(select(.max_tokens == 2 and .ignore_eos).prompt
	| split(" ") | .[1:]) | sort_by(length) as [$tiny, $b, $a, $c]
	| [($a[:341] == $b[:341]), ($a[:682] == $c[:682]), ($a[:345] == $b[:345]), ($a[:686] == $c[:686]), ($tiny | length)]
	' "$SCRATCH/log")" '[true,true,false,false,8]'
: >"$SCRATCH/log"
expect_status 0 "the likeliest tokens" few "http://$fast" --greedy
expect_equal "are asked for" "$(jq -sc 'map(.temperature) | unique' "$SCRATCH/log")" '[0]'
server chatty --per-word 2 --overhead 30
expect_status 0 "a tokenizer of its own" lsc-replay "http://$chatty" --chat --gamma 200,0.5 --limit 80 \
	--prompt-tokens 400,0.6 --output-tokens 1 --records "$SCRATCH/chatty.rec"
expect_equal "is learnt from the first answers" "$(lsc-msg to-json <"$SCRATCH/chatty.rec" | jq -s '
	map(select(.type == "request" and .request >= 60 and .prompt > 60) | .prompt_tokens / .prompt)
	| min > 0.97 and max < 1.03')" true
yes 'Und sie dreht sich doch, und zwar immer weiter' | head -n 20 >"$SCRATCH/text"
: >"$SCRATCH/log"
expect_status 0 "a text" few "http://$fast" --text "$SCRATCH/text"
expect_equal "makes the prompts" "$(jq -r .prompt "$SCRATCH/log" | tr ' ' '\n' | sort -u | grep -c .)" 9
expect_status 65 "a text too short" few "http://$fast" --text "$SCRATCH/key"
expect_one_line "the text has 1 words"

# --- files ---

expect_status 0 "records and a plot" few "http://$fast" --records "$SCRATCH/rec" --svg "$SCRATCH/plot.svg" --json
lsc-msg to-json <"$SCRATCH/rec" >"$SCRATCH/rec.json"
expect_equal "a record for each" "$(jq -sc 'map(.type) | group_by(.) | map([.[0], length])' "$SCRATCH/rec.json")" \
	'[["hello",1],["replay",1],["report",1],["request",6],["series",1]]'
expect_equal "in order of time" "$(jq -sc 'map(select(.type == "request")) | all(.left >= .due and
	.first >= .left and .last >= .first and .end >= .last and .outcome == "ok" and .status == 200)' \
	"$SCRATCH/rec.json")" true
expect_equal "tokens over time are all of them" "$(jq -sc '(map(select(.type == "series"))[0]) as $s
	| [($s.out | add), $s.bin, ($s.out | length) == ($s.in | length)]' "$SCRATCH/rec.json")" '[30,0.1,true]'
expect_equal "answers alike have the same hash" \
	"$(jq -sc 'map(select(.type == "request").text["$bin"]) | [length, (unique | length)]' "$SCRATCH/rec.json")" '[6,1]'
expect_equal "the report is the one that is printed" "$(tail -n 1 "$SCRATCH/rec.json")" "$(cat "$SCRATCH/out")"
python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' "$SCRATCH/plot.svg"
ok $? "the plot is XML"
expect_status 0 "records on standard output" few "http://$fast" --records -
expect_equal "alone" "$(lsc-msg to-json <"$SCRATCH/out" | jq -r 'select(.type == "report").complete')" 6
expect_status 74 "records that cannot be written" few "http://$fast" --records "$SCRATCH/none/rec"
expect_status 74 "a full disk" few "http://$fast" --records /dev/full
few "http://$fast" >/dev/full 2>"$SCRATCH/err"
expect_equal "standard output is full" $? 74

# --- ends ---

lsc-replay "http://$slow" --model hang --poisson 20 --limit 10000 --prompt-tokens 9 --output-tokens 5 --json \
	>"$SCRATCH/out" 2>"$SCRATCH/err" &
pid=$!
ended_at_exit $pid
sleep 0.7
kill -TERM $pid
sleep 0.2
kill -TERM $pid
wait $pid
expect_equal "interrupted" $? 1
expect_equal "with a report of what there was" "$(get '.sent > 0 and .sent < 1000 and .due == 10000 and
	.errors.cut == .sent and .failed == 0')" true
expect_one_line "signal 15: nothing more is sent; waiting for"
lsc-replay "http://$fast" --model late --poisson 50 --limit 10000 --prompt-tokens 9 --output-tokens 5 --json \
	>"$SCRATCH/out" 2>"$SCRATCH/err" &
pid=$!
ended_at_exit $pid
sleep 0.7
kill -TERM $pid
sleep 0.1
kill -TERM $pid 2>/dev/null
wait $pid
expect_equal "interrupted while connections end" $? 1
expect_equal "after complete answers" "$(get '.complete > 0 and .complete >= .sent - 1')" true
(trap '' HUP && exec lsc-replay "http://$fast" --poisson 20 --limit 20 --prompt-tokens 9 --output-tokens 5) \
	>"$SCRATCH/out" 2>"$SCRATCH/err" &
pid=$!
ended_at_exit $pid
sleep 0.3
kill -HUP $pid
wait $pid
expect_equal "a signal that is ignored from the start" $? 0
lsc-replay "http://$slow" --poisson 50 --limit 10000 --prompt-tokens 9 --output-tokens 5 --json \
	>"$SCRATCH/out" 2>"$SCRATCH/err" &
pid=$!
ended_at_exit $pid
sleep 0.7
kill -TERM $pid
wait $pid
expect_equal "ended while answers come" $? 1
expect_equal "which are waited for" "$(get '.sent > 0 and .complete == .sent')" true
done_testing
