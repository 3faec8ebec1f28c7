#!/bin/sh
# The OpenAI API for a model that is on its way: cast and router are one pipeline, with a gate in
# front of it, and an answer streams before any receiver has all of the model.
#
# Needs: jq curl microhttpd
# Expect: ^the first words come while the model is on its way$
# Expect: ^40 tokens, by "length"$
set -e
PATH=$PATH:$(cd "$(dirname "$0")/../bin" && pwd) # in a tree that is built and not installed
scratch=$(mktemp -d)
servers=
trap 'kill $servers 2>/dev/null; wait; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
cd "$scratch"

lsc-shard pack --dummy smollm2-135m --layers 4 model.lsc
mkdir n0 n1 n2
ln -s ../model.lsc n0/model.lsc
lsc-exec serve --dir n0 --listen 127.0.0.1:0 --ready-fd 3 3>n0.ready &
servers=$!
for i in 1 2; do
	lsc-node --dir n$i --listen 127.0.0.1:0 --exec 127.0.0.1:0 --ready-fd 3 3>n$i.ready &
	servers="$servers $!"
done
lsc-gate 127.0.0.1:0 --router unix:pipe.sock -q --ready-fd 3 3>gate.ready &
servers="$servers $!"
for i in n0 n1 n2 gate; do until [ -s $i.ready ]; do sleep 0.01; done; done

# A node says where it takes casts and where it executes.  At this rate the cast takes 4 seconds.
lsc-cast send model.lsc --to "$(cut -d' ' -f1 n1.ready),$(cut -d' ' -f1 n2.ready)" \
	--exec "$(cat n0.ready)" --max-rate 25M | tee cast.rec |
	lsc-pipe --listen unix:pipe.sock model.lsc &
servers="$servers $!"

: >answer
until curl -sf "http://$(cat gate.ready)/health" >/dev/null; do sleep 0.05; done
curl -sN "http://$(cat gate.ready)/v1/completions" -H 'Content-Type: application/json' \
	-d '{"prompt": "Once upon a time", "max_tokens": 40, "temperature": 0, "stream": true,
		"stream_options": {"include_usage": true}}' >answer &
answer=$!
until grep -q '"text":"[^"]' answer; do sleep 0.01; done
lsc-msg <cast.rec | grep -q '"complete"' || echo 'the first words come while the model is on its way'
wait $answer
sed -n 's/^data: {/{/p' answer | jq -sr '"\(.[-1].usage.completion_tokens) tokens, by \"\(.[-2].choices[0].finish_reason)\""'
until lsc-msg <cast.rec | grep -q '"end"'; do sleep 0.05; done
