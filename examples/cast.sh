#!/bin/sh
# A cast by hand: three receivers and a source on one machine, and when each block came.
#
# Needs: jq
# Expect: ^0\.[0-9]+ node 1 block 0$
# Expect: ^n3 has it all$
set -e
PATH=$PATH:$(cd "$(dirname "$0")/../bin" && pwd) # in a tree that is built and not installed
scratch=$(mktemp -d)
servers=
trap 'kill $servers 2>/dev/null; wait; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
cd "$scratch"

lsc-shard pack --dummy smollm2-135m --layers 4 model.lsc
mkdir n1 n2 n3
for i in 1 2 3; do
	lsc-cast serve --dir n$i --listen unix:n$i.sock --ready-fd 3 3>n$i.ready &
	servers="$servers $!"
done
for i in 1 2 3; do until [ -s n$i.ready ]; do sleep 0.01; done; done

lsc-cast send model.lsc --to unix:n1.sock,unix:n2.sock,unix:n3.sock >cast.rec
lsc-msg to-json <cast.rec |
	jq -r 'select(.type == "block") | "\(.t) node \(.node) block \(.block)"'
lsc-shard verify n3/model.lsc && echo 'n3 has it all'
