#!/bin/sh
# lsc-pipe --listen: requests over several connections, each answered on its own.
. tests/lib/tap.sh
. tests/lib/arrivals.sh
. tests/lib/service.sh
requires_data models
requires_command jq
requires_command socat
requires_command python3

mkdir "$SCRATCH/zero"
image=$SCRATCH/zero/model
lsc-shard pack --dtype f32 "$DATA/models/stories260K-fp32" "$image"
lsc-exec run "$image" --prompt 'Once upon' -n 40 >"$SCRATCH/alone"
start_server exec0 lsc-exec serve --dir "$SCRATCH/zero" --listen 127.0.0.1:0

expect_status 64 "requests and arrivals from one standard input" lsc-pipe --arrivals - "$image"
expect_status 64 "text and connections" lsc-pipe --listen unix:x --text "$image"
expect_status 64 "others' addresses want a key" lsc-pipe --listen 0.0.0.0:0 "$image" </dev/null
expect_one_line 'is not on this machine'

# The router, which reads its arrivals from a pipe that the test holds.
mkfifo "$SCRATCH/arrivals"
exec 8<>"$SCRATCH/arrivals"
socket=$SCRATCH/pipe.sock
start_server router sh -c 'exec lsc-pipe "$@" <&8' sh --listen "unix:$socket" --queue 2 \
	--timeout 60s "$image"
expect_equal "it listens before any arrival" "$router" "unix:$socket"

# connect NAME: what is written to descriptor of fifo NAME.in goes to the router as records
connect() {
	mkfifo "$SCRATCH/$1.in"
	lsc-msg from-json <"$SCRATCH/$1.in" | socat -t 5 - "UNIX-CONNECT:$socket" |
		lsc-msg to-json >"$SCRATCH/$1" 2>/dev/null &
	ended_at_exit $!
}
said() { # said NAME FILTER: whether some record of NAME fits
	jq -e -s "any(.[]; $2)" "$SCRATCH/$1"
}
hello='{"type":"hello","kind":"requests","version":[1,0]}'

connect a
exec 5>"$SCRATCH/a.in"
echo "$hello" >&5
wait_for "both ends say what they speak" said a '.type == "hello" and .kind == "requests" and .version == [1, 2]'
wait_for "a client is told of the model" \
	said a '.type == "model" and .name == "model" and .context == 512 and .chat == "none"'
echo '{"type":"watch","every":0.1}' >&5
wait_for "and how things are" said a '.type == "status" and (.ready | not) and .nodes == []'
echo '{"type":"request","id":1,"prompt":"Once upon","max_tokens":40}' >&5
wait_for "a request is accepted" said a '.type == "accepted" and .id == 1 and .prompt_tokens == 3'
wait_for "and waits" said a '.type == "status" and .waiting == 1 and .running == 0'

connect b
exec 6>"$SCRATCH/b.in"
echo "$hello" >&6
echo '{"type":"request","id":1,"prompt":"Once upon","max_tokens":40}' >&6
wait_for "another client's too, of the same id" said b '.type == "accepted" and .id == 1'
echo '{"type":"request","id":"c","prompt":"Once upon","max_tokens":40}' >&6
wait_for "one more than may wait is refused" said b '.type == "fail" and .id == "c" and .code == "busy"'
echo '{"type":"cancel","id":1}' >&6
echo '{"type":"request","id":"d","prompt":"Once upon","max_tokens":40}' >&6
wait_for "one that is cancelled makes room" said b '.type == "accepted" and .id == "d"'
echo '{"type":"request","id":"e"}' >&6
wait_for "what is none is refused" said b '.type == "fail" and .id == "e"'

arrivals "$image" "$exec0" all >&8
wait_for "with a node there is an answer" said a '.type == "done" and .id == 1'
wait_for "for each" said b '.type == "done" and .id == "d"'
expect_equal "none for what was cancelled" \
	"$(jq -s 'map(select(.id == 1 and .type != "accepted")) | length' "$SCRATCH/b")" 0
text() { jq -j "select(.id == $2) | select(.type == \"token\").text, select(.type == \"done\").rest" "$SCRATCH/$1"; }
{ text a 1 | sed 's/^ //'; echo; } >"$SCRATCH/text"
expect_same "it is the text of one node" "$SCRATCH/text" "$SCRATCH/alone"
expect_equal "which goes on where the prompt ends" "$(text a 1 | head -c 7)" ' a time'
wait_for "the router is ready now, and tells its totals" said a '.type == "status" and .ready and
	.requests == 3 and .cancelled == 1 and .failed == 0 and .running == 0 and .tokens == 80 and
	.nodes[0].complete and .nodes[0].up and (.stages | length) == 1'

echo '{"type":"request","id":2,"prompt":[1,403,407,261],"max_tokens":1}' >&5
wait_for "ids are a prompt as well" said a '.type == "done" and .id == 2 and .prompt_tokens == 4'
echo '{"type":"request","id":3,"prompt":[99999]}' >&5
wait_for "if the model has them" said a '.type == "fail" and .id == 3 and .code == "invalid"'
echo '{"type":"request","id":4,"messages":[{"role":"user","content":"Hi"}]}' >&5
wait_for "no chat without a format" said a '.type == "fail" and .id == 4 and .code == "unsupported"'
echo "{\"type\":\"request\",\"id\":5,\"prompt\":\"$(printf 'word %.0s' $(seq 600))\"}" >&5
wait_for "a prompt that is too long" said a '.type == "fail" and .id == 5 and .code == "too_long"'
echo '{"type":"request","id":6,"prompt":"Once","max_tokens":2,"logprobs":2}' >&5
wait_for "probabilities" said a '.type == "token" and .id == 6 and (.top_logprobs | length) == 2'

# A client that leaves takes its requests along.
echo '{"type":"request","id":"f","prompt":"Once upon","max_tokens":450,"temperature":1.0,"stop_token_ids":[],"seed":3}' >&6
wait_for "a long answer begins" said b '.type == "token" and .id == "f"'
exec 6>&-
wait_for "its client leaves, and it is given up" said a '.type == "status" and .cancelled == 2 and .running == 0'

connect c
exec 7>"$SCRATCH/c.in"
echo '{"type":"hello","kind":"requests","version":[2,0]}' >&7
wait_for "a later version is refused" said c '.type == "abort"'
exec 7>&-

# One who asks for much and reads nothing.
python3 - "$socket" <<'END' &
import socket, sys, time
sys.path.insert(0, "tests/lib")
from stranger import Link
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
link = Link(s, "requests")
for i in range(100):
    link.say("request", id=i, prompt="Once", max_tokens=500, logprobs=20, temperature=1.0, seed=i)
time.sleep(60)
END
deaf=$!
ended_at_exit $deaf
wait_for "who does not read is left" grep -q 'does not read its answers, left' "$SCRATCH/log.router"
wait_for "with all requests" said a '.type == "status" and .cancelled > 10 and .running == 0'
kill $deaf

# Somebody who knows the manual alone.
lsc-exec run "$image" --prompt 'Once upon' -n 60 >"$SCRATCH/alone"
expect_status 0 "a stranger asks" python3 tests/lib/stranger.py request "$socket" 60 'Once upon'
{ sed 's/^ //' "$SCRATCH/out"; echo; } >"$SCRATCH/text"
expect_same "and gets the same answer" "$SCRATCH/text" "$SCRATCH/alone"

exec 5>&-
kill "$router_pid"
wait "$router_pid"
expect_equal "a signal ends it well" $? 0
ok "$([ ! -e "$socket" ]; echo $?)" "and its socket"
done_testing
