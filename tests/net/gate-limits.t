#!/bin/sh
# lsc-gate: who may ask, how much, and what becomes of those who go away, or of the router.
. tests/lib/tap.sh
. tests/lib/arrivals.sh
. tests/lib/service.sh
requires_feature microhttpd
requires_data models
requires_command jq
requires_command curl
requires_command python3

C=/v1/completions
start_model
start_router --queue 3
start_gate gate --queue 2 --max-body 2K --max-headers 8K --connections 40 --timeout 1s
metric() { curl -s "http://$1/metrics" | sed -n "s/^$2 //p"; }
is() { [ "$(metric "$1" "$2")" = "$3" ]; }
cluster() { curl -s "http://$gate/cluster" | jq -e "$1"; }
wait_for "the router is there" cluster '.model.name == "model"'

# --- sizes ---

ask $C "{\"prompt\":\"$(printf '%03000d' 0)\"}"
expect_equal "a body that is too long" "$status $(answer .error.code)" "413 request_too_large"
ask $C "{\"prompt\":\"$(printf '%03000d' 0)\"}" -H 'Transfer-Encoding: chunked'
expect_equal "in chunks as well" "$status $(answer .error.code)" "413 request_too_large"
get /health -H "X-Long: $(printf '%09000d' 0)"
case $status in 413 | 431) true ;; *) false ;; esac
ok $? "headers that are too long: $status"

# --- waiting ---

wait_in_line() { # wait_in_line NAME [GATE]: a request that has no route; its pid in $pid
	curl -sN -m 100 -H 'Content-Type: application/json' -o "$SCRATCH/$1" -w '%{http_code}' \
		-d '{"prompt":"Once upon","max_tokens":300,"temperature":0,"stream":true}' \
		"http://${2:-$gate}$C" >"$SCRATCH/$1.status" &
	pid=$!
	ended_at_exit $pid
}
wait_in_line one
one=$pid
wait_in_line two
wait_for "two wait" is "$gate" lsc_gate_waiting 2
wait_for "in the router too" cluster '.waiting == 2'
ask $C '{"prompt":"Once upon"}'
expect_equal "a third is refused" "$status $(answer '.error.type + " " + .error.code')" \
	"429 rate_limit_error queue_full"
grep -qi '^retry-after: [1-9]' "$SCRATCH/headers"
ok $? "for now"
start_gate other
wait_for "another gate" is "$other" lsc_router_up 1
wait_in_line three "$other"
wait_for "has room of its own" cluster '.waiting == 3'
first_gate=$gate gate=$other
for stream in true false; do
	ask $C "{\"prompt\":\"Once upon\",\"stream\":$stream}"
	expect_equal "until the router has none (stream: $stream)" "$status $(answer .error.code)" "429 queue_full"
done
gate=$first_gate
kill $one
wait_for "who goes away gives its place up" is "$gate" lsc_gate_waiting 1
wait_for "in the router as well" cluster '.waiting == 2 and .cancelled == 1'
expect_equal "which is counted" \
	"$(metric "$gate" 'lsc_gate_requests_total{endpoint="completions",outcome="cancelled"}')" 1
ask $C '{"prompt":"Once"}' -m 0.5
wait_for "so does who has not the patience for an answer at once" cluster '.waiting == 2 and .cancelled == 2'

# --- being answered ---

arrivals "$image" "$exec0" all >&8
wait_for "those who stayed are answered" grep -q DONE "$SCRATCH/two"
wait_for "and the other" grep -q DONE "$SCRATCH/three"
kill -STOP "$exec0_pid"
wait_in_line four
wait_for "one waits for its node" cluster '.running == 1'
kill $pid
wait_for "and goes away" cluster '.running == 0 and .cancelled == 3'
kill -CONT "$exec0_pid"

# --- how long it waits, and what is no HTTP ---

python3 tests/lib/http_raw.py "$gate" 1 >"$SCRATCH/raw"
while read -r line; do
	case $line in
	ok*) ok 0 "HTTP: ${line#ok }" ;;
	*) ok 1 "HTTP: ${line#not ok }" ;;
	esac
done <"$SCRATCH/raw"

# --- more connections than there may be wait ---

python3 - "$gate" <<'END'
import socket, sys, time
host, port = sys.argv[1].split(":")
held = [socket.create_connection((host, int(port))) for i in range(60)]
time.sleep(0.3)
for s in held:
    s.close()
END
wait_for "many connections come and go" is "$gate" lsc_gate_connections 1

# --- who may ask ---

printf '# ours\nsecret-key-1\nsecret-key-2\n' >"$SCRATCH/keys"
chmod 600 "$SCRATCH/keys"
start_gate gate_k --api-key-file "$SCRATCH/keys" --cors https://a.example --model nice
plain=$gate gate=$gate_k
wait_for "a gate with keys" curl -sf "http://$gate/health"
for path in /v1/models /metrics /cluster; do
	get $path
	expect_equal "no key, no $path" "$status $(answer .error.code)" "401 invalid_api_key"
done
get /
expect_equal "the page needs none" "$status" 200
ask $C '{"prompt":"Once","max_tokens":1}' -H 'Authorization: Bearer secret-key-3'
expect_equal "a wrong key" "$status" 401
ask $C '{"prompt":"Once","max_tokens":1}' -H 'Authorization: Bearer secret-key-2'
expect_equal "a key" "$status $(answer .model)" "200 nice"
ask $C '{"prompt":"Once","max_tokens":1,"model":"model"}' -H 'Authorization: Bearer secret-key-1'
expect_equal "another name for the model" "$status" 404
get /health -H 'Host: public.example'
expect_equal "with keys, any name will do" "$status" 200
get /health -H 'Origin: https://a.example'
expect_equal "its origin may see it" \
	"$(tr -d '\r' <"$SCRATCH/headers" | sed -n 's/^Access-Control-Allow-Origin: //p')" https://a.example
get /health -H 'Origin: https://b.example'
expect_equal "another one not" "$(grep -ci access-control-allow-origin "$SCRATCH/headers")" 0
get $C -X OPTIONS -H 'Origin: https://a.example' -H 'Access-Control-Request-Method: POST' \
	-H 'Access-Control-Request-Headers: authorization, content-type'
expect_equal "which is told before" \
	"$status $(tr -d '\r' <"$SCRATCH/headers" | sed -n 's/^Access-Control-Allow-Headers: //p')" \
	"204 authorization, content-type"
gate=$plain

# --- numbers ---

get /metrics
for name in lsc_gate_time_to_first_token_seconds_count lsc_gate_inter_token_seconds_sum \
	'lsc_gate_request_seconds_bucket{le="+Inf"}' 'lsc_router_node_blocks{node="0"}' lsc_router_blocks \
	lsc_router_ready lsc_router_kv_positions lsc_gate_tokens_total lsc_gate_routes_total \
	'lsc_router_nodes{state="complete"}' lsc_router_switches_total; do
	grep -qF "$name " "$SCRATCH/answer"
	ok $? "metric $name"
done
expect_equal "every line of it is as Prometheus reads it" \
	"$(grep -cvE '^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [-+0-9.e]+)$' "$SCRATCH/answer")" 0

# --- the router goes, and comes ---

kill -STOP "$exec0_pid"
wait_in_line five
wait_for "one is under way" cluster '.running == 1'
kill "$router_pid"
wait $pid
grep -q '"code":"router_lost"' "$SCRATCH/five"
ok $? "when the router goes, it ends with an error"
expect_equal "as an event of its stream" "$(cat "$SCRATCH/five.status")" 200
get /health
expect_equal "which is not healthy" "$status $(answer .status)" "503 no router"
kill -CONT "$exec0_pid"
start_router
arrivals "$image" "$exec0" all >&8
wait_for "it comes again" curl -sf "http://$gate/health"
ask $C '{"prompt":"Once upon","max_tokens":2,"temperature":0}'
expect_equal "and answers" "$status $(answer '.choices[0].text')" "200  a time"
expect_equal "which is counted" "$(metric "$gate" lsc_gate_reconnects_total)" 1

# A client that does not read has a bounded buffer, and then no request any more.
python3 - "$gate" <<'END' &
import json, socket, sys, time
host, port = sys.argv[1].split(":")
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
s.connect((host, int(port)))
body = json.dumps({"prompt": ["Once"] * 8, "n": 16, "max_tokens": 400, "temperature": 1,
                   "stop_token_ids": [], "stream": True}).encode()
s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
          b"Content-Length: %d\r\n\r\n" % len(body) + body)
time.sleep(60)
END
slow=$!
ended_at_exit $slow
gone() { cluster '.running == 0 and .waiting == 0 and .cancelled > 20'; }
wait_for "a client that does not read is left" gone
kill $slow 2>/dev/null
get /health
expect_equal "others are not bothered" "$status" 200

# --- the end ---

kill -STOP "$exec0_pid"
wait_in_line six
wait_for "one is under way at the end" cluster '.running == 1'
kill "$gate_pid"
refuses() { get /health && [ "$status" = 503 ]; }
wait_for "a signal: nothing new" refuses
ask $C '{"prompt":"Once upon"}'
expect_equal "in words" "$status $(answer .error.code)" "503 shutting_down"
kill -CONT "$exec0_pid"
wait $pid
grep -q DONE "$SCRATCH/six"
ok $? "what is under way is answered"
wait "$gate_pid"
expect_equal "then it ends, and well" $? 0
kill -STOP "$exec0_pid"
gate=$gate_k
curl -sN -m 100 -H 'Content-Type: application/json' -H 'Authorization: Bearer secret-key-1' \
	-d '{"prompt":"Once","stream":true}' "http://$gate$C" >"$SCRATCH/seven" &
ended_at_exit $!
running() { curl -s -H 'Authorization: Bearer secret-key-1' "http://$gate/metrics" | grep -qx 'lsc_gate_waiting 1'; }
wait_for "another one" running
kill "$gate_k_pid"
sleep 0.2
kill "$gate_k_pid"
wait "$gate_k_pid"
expect_equal "a second signal ends it at once" $? 0
kill -CONT "$exec0_pid"
done_testing
