#!/bin/sh
# Ask while the model is on its way: the nodes that receive it answer together, and the answer is
# the same as that of one node that has it all.
#
# Needs: jq
# Expect: ^units 0-0 on the source, .* on node [12]
# Expect: ^the answers are the same$
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
for i in 0 1 2; do until [ -s n$i.ready ]; do sleep 0.01; done; done

# A node says where it takes casts and where it executes.  At this rate the cast takes 4 seconds.
lsc-cast send model.lsc --to "$(cut -d' ' -f1 n1.ready),$(cut -d' ' -f1 n2.ready)" \
	--exec "$(cat n0.ready)" --max-rate 25M >cast.rec &
cast=$!
until [ -s cast.rec ]; do sleep 0.01; done
echo '{"id": 1, "prompt": "Once upon a time", "n": 20}' |
	lsc-pipe model.lsc --arrivals cast.rec >answers

jq -r 'select(.type == "route") | .stages | map("units \(.first)-\(.last) on " +
	if .node == 0 then "the source" else "node \(.node)" end) | join(", ")' answers
wait $cast
lsc-exec run n2/model.lsc --prompt 'Once upon a time' -n 20 >alone
jq -j 'select(.type == "done") | .text + "\n"' answers | cmp - alone &&
	echo 'the answers are the same'
