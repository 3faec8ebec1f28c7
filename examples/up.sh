#!/bin/sh
# A service in one command, on nodes that ssh reaches, or without any on this machine:
#
#	up.sh [NODES]		NODES as `lsc up --nodes` takes them: 'node[01-08]'
#
# Brings up nodes, a cast, a router and a gate, asks, and ends all again.  The tools have to be on
# the PATH of the nodes, as commands by ssh have it.
#
# Needs: jq curl microhttpd setsid flock
# Expect: ^ready, [0-9]+ of 2 nodes complete
# Expect: ^20 tokens$
# Expect: ^gate, .*nodes, .*router$
set -e
PATH=$PATH:$(cd "$(dirname "$0")/../bin" && pwd) # in a tree that is built and not installed
scratch=$(mktemp -d)
LSC_STATE_DIR=$scratch/state
export LSC_STATE_DIR
trap 'lsc-down -q; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

lsc-shard pack --dummy smollm2-135m --layers 4 "$scratch/model.lsc"
if [ $# -gt 0 ]; then
	set -- --nodes "$1" --launch ssh
else
	set -- --nodes '127.0.0.[1-2]' --launch env --dir "$scratch/{}"
fi
# Without TLS there are no keys.
lsc --features | grep -qx 'tls yes' || set -- "$@" --insecure
url=$(lsc-up "$scratch/model.lsc" --listen 127.0.0.1:0 "$@")

lsc-top --once | sed -n '1s/.*: ready/ready/p'
curl -s "$url/v1/completions" -H 'Content-Type: application/json' \
	-d '{"prompt": "Once upon a time", "max_tokens": 20}' |
	jq -r '"\(.usage.completion_tokens) tokens"'
lsc-down --dry-run
