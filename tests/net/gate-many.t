#!/bin/sh
# 256 clients at once, of whom half leave: the others have every token once and the text of one node,
# those who left take their requests along, and one more than may wait comes again later.
. tests/lib/tap.sh
. tests/lib/arrivals.sh
. tests/lib/service.sh
. tests/lib/questions.sh
requires_feature microhttpd
requires_command jq
requires_command curl
requires_command python3

mkdir "$SCRATCH/zero"
image=$SCRATCH/zero/model
lsc-shard pack --dummy stories260k --dtype f32 "$image"
questions "$image" 120 >"$SCRATCH/questions"
start_server exec0 lsc-exec serve --dir "$SCRATCH/zero" --listen 127.0.0.1:0 --threads 1
start_router
start_gate gate --queue 256
metric() { curl -s "http://$gate/metrics" | sed -n "s/^$1 //p"; }
is() { [ "$(metric "$1")" = "$2" ]; }
cluster() { curl -s "http://$gate/cluster" | jq -e "$1"; }
wait_for "the router is there" cluster '.model.name == "model"'

many() { # many OPTION...: 256 who ask once
	python3 tests/lib/witness.py "$gate" "$SCRATCH/questions" --clients 256 "$@" >"$SCRATCH/witness"
}
asked() { tail -n 1 "$SCRATCH/witness" | jq -c "$1"; }

# --- half of them leave ---

many --leave 128 &
witness=$!
wait_for "256 wait for a node" is lsc_gate_waiting 256
wait_for "each by a connection of its own" is lsc_gate_connections 257
for stream in true false; do
	ask /v1/completions "{\"prompt\":\"Once\",\"max_tokens\":2,\"stream\":$stream}"
	expect_equal "one more is refused (stream: $stream)" "$status $(answer .error.code)" "429 queue_full"
	grep -qi '^retry-after: [1-9]' "$SCRATCH/headers"
	ok $? "and told to come again"
done
arrivals "$image" "$exec0" all >&8
wait $witness
expect_equal "then they are answered, and right" $? 0
note <"$SCRATCH/witness"
expect_equal "but for those who left" "$(asked '[.asked, .left, .wrong]')" '[256,128,0]'
wait_for "whose requests are gone" cluster '.running == 0 and .waiting == 0'
# Some answers may have been whole before their client had left.
requests() { metric "lsc_gate_requests_total{endpoint=\"completions\",outcome=\"$1\"}"; }
[ "$(requests cancelled)" -gt 64 ] && [ $(($(requests cancelled) + $(requests ok))) -eq 256 ]
ok $? "$(requests cancelled) of them, and $(requests ok) are whole"
wait_for "as are their connections" is lsc_gate_connections 1

# --- all of them at once, streams and not ---

many --each 1
expect_equal "256 at once are answered, and right" $? 0
expect_equal "each of them" "$(asked '[.asked, .wrong]')" '[256,0]'
expect_equal "nobody was refused" \
	"$(requests refused)" 2
kill "$gate_pid"
wait "$gate_pid"
expect_equal "the gate ends well" $? 0
done_testing
