#!/bin/sh
# How long a cast takes, from the command's start to its end, against one plain TCP flow over the
# same links: tests/bench/cast.sh, in network namespaces.
#
#	LSC_BENCH_NODES	 how many receivers, each in a run of its own (1 2 3 4 8)
#	LSC_BENCH_RATE	 of each node's link (200mbit)
#	LSC_BENCH_LAYERS of the image, a SmolLM2-135M; 30 make 277 MB (30)
#	LSC_BENCH_PIECE	 size of its pieces (the default)
#	LSC_BENCH_ORDERS what to compare (the default order and chain)
#
# "ratio" is the time over that of the plain flow of as many bytes, the median of three of which is
# measured first, with socat.  A receiver's time includes checking, syncing and naming the image.
set -u
nodes=${LSC_BENCH_NODES:-1 2 3 4 8} rate=${LSC_BENCH_RATE:-200mbit}
orders=${LSC_BENCH_ORDERS:-default chain}
work=${LSC_SCRATCH:-$(mktemp -d "${TMPDIR:-/tmp}/lsc-bench.XXXXXX")}
image=$work/model
pids=

for need in socat ip jq; do
	command -v $need >/dev/null || {
		echo "cast: no $need here, not measured" >&2
		exit 0
	}
done

cluster() { examples/cluster.sh "$work" "$@"; }
finish() {
	# shellcheck disable=SC2086
	[ -z "$pids" ] || kill $pids 2>/dev/null
	[ ! -f "$work/cluster" ] || cluster down
}
trap finish EXIT
trap 'exit 130' INT TERM

now() { date +%s.%N; }
seconds() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.3f", b - a }'; }

plain_flow() { # from node 0 to node 1
	cluster exec 1 socat -u TCP-LISTEN:9,reuseaddr OPEN:/dev/null &
	sink=$!
	until cluster exec 1 ss -Hltn sport = :9 | grep -q .; do sleep 0.01; done
	began=$(now)
	cluster exec 0 socat -u "OPEN:$image/image" TCP:10.77.0.2:9
	wait $sink
	seconds "$began"
}

start_nodes() { # start_nodes N: sets $to
	to=
	i=1
	while [ $i -le "$1" ]; do
		mkdir -p "$work/n$i"
		mkfifo "$work/ready"
		examples/cluster.sh "$work" exec $i lsc-cast serve --dir "$work/n$i" \
			--listen "$(cluster address $i):7000" --ready-fd 3 3>"$work/ready" &
		pids="$pids $!"
		read -r address <"$work/ready"
		rm "$work/ready"
		to=$to${to:+,}$address
		i=$((i + 1))
	done
}

measure() { # measure N ORDER
	order=
	[ "$2" = default ] || order=--order=$2
	began=$(now)
	cluster exec 0 lsc-cast send "$image" --to "$to" ${order:+"$order"} >"$work/cast.rec" || exit
	took=$(seconds "$began")
	last=$(lsc-msg to-json <"$work/cast.rec" | jq -s 'map(select(.type == "block").t) | max')
	printf '{"name":"cast","order":"%s","receivers":%d,"bytes":%d,"rate":"%s","seconds":%s,"arrived_seconds":%s,"plain_seconds":%s,"ratio":%s}\n' \
		"$2" "$1" "$bytes" "$rate" "$took" "$last" "$plain" \
		"$(awk -v a="$took" -v b="$plain" 'BEGIN { printf "%.3f", a / b }')"
	rm -rf "$work"/n*/model
}

lsc-shard pack --dummy smollm2-135m --layers "${LSC_BENCH_LAYERS:-30}" \
	${LSC_BENCH_PIECE:+--piece "$LSC_BENCH_PIECE"} "$image" || exit
bytes=$(wc -c <"$image/image")
most=$(printf '%s\n' $nodes | sort -n | tail -n 1)
cluster up $((most + 1)) "$rate" || exit
[ "$(cluster kind)" = netns ] || {
	echo 'cast: no network namespaces here, not measured' >&2
	exit 0
}
plain=$(for i in 1 2 3; do plain_flow; echo; done | sort -n | sed -n 2p)
for n in $nodes; do
	start_nodes "$n"
	for order in $orders; do measure "$n" "$order"; done
	# shellcheck disable=SC2086
	kill $pids
	# shellcheck disable=SC2086
	wait $pids
	pids=
done
