#!/bin/sh
# What a schedule costs, proven: rounds to give 64 pieces to 8 nodes.
#
# Needs: jq
# Expect: ^round-optimal +66$
# Expect: ^chain +70$
# Expect: ^tree +130$
# Expect: ^sequential +448$
PATH=$PATH:$(cd "$(dirname "$0")/../bin" && pwd) # in a tree that is built and not installed

for order in round-optimal chain tree sequential; do
	rounds=$(lsc-plan --nodes 8 --pieces 64 --order $order --check --json |
		jq -r 'select(.rounds) | .rounds' | tail -n 1)
	printf '%-14s %s\n' $order "$rounds"
done
