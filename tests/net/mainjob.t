#!/bin/sh
# The main job in an emulated cluster: three receivers with links of their own answer while the
# image arrives, from one source and from two, and each runs it alone afterwards.
. tests/lib/tap.sh
requires_namespaces
requires_command jq

rate=200mbit
cluster() { examples/cluster.sh "$SCRATCH" "$@"; }
end_cluster() { [ ! -f "$SCRATCH/cluster" ] || cluster down; }
call_at_exit end_cluster

# start_on I VARIABLE COMMAND...: a server on node I
start_on() {
	tap_node=$1 tap_name=$2
	shift 2
	start_server "$tap_name" examples/cluster.sh "$SCRATCH" exec "$tap_node" "$@"
}

# Node 0 is where casts start, 4 the second source, 1 to 3 receive.
image=$SCRATCH/node0/model
mkdir "$SCRATCH/node0" "$SCRATCH/node4"
lsc-shard pack --dummy smollm2-135m --layers 12 "$image"
ln -s "$image" "$SCRATCH/node4/model"
cluster up 5 $rate
start_on 0 exec0 lsc-exec serve --dir "$SCRATCH/node0" --listen 10.77.0.1:7001
for i in 1 2 3 4; do
	mkdir -p "$SCRATCH/node$i"
	ip=$(cluster address $i)
	start_on $i node$i lsc-node --dir "$SCRATCH/node$i" --listen "$ip:7000" --exec "$ip:7001"
done
to="${node1% *},${node2% *},${node3% *}"
lsc-exec run "$image" --prompt 'Once upon a time' -n 40 >"$SCRATCH/alone"

ask() { echo "{\"id\":$1,\"prompt\":\"Once upon a time\",\"n\":40}"; }
answers() { jq -r "select(.id == $1 and .type == \"$2\") | $3" "$SCRATCH/answers"; }

# Casts with the given options and asks at the start (1) and, once the cast is over, as often as
# there are receivers (2, 3, 4).
cast_and_ask() {
	: >"$SCRATCH/cast.rec"
	cluster exec 0 lsc-cast send "$image" --to "$to" --exec "$exec0" "$@" \
		>"$SCRATCH/cast.rec" 2>"$SCRATCH/cast.err" &
	cast=$!
	{
		ask 1
		while ! lsc-msg to-json <"$SCRATCH/cast.rec" | grep -q '"end"'; do
			kill -0 $cast 2>/dev/null || break
			sleep 0.1
		done
		sleep 0.2
		ask 2
		ask 3
		ask 4
	} | cluster exec 0 timeout 60 lsc-pipe "$image" --arrivals "$SCRATCH/cast.rec" \
		>"$SCRATCH/answers" 2>"$SCRATCH/err"
	expect_equal "$1: all requests are answered" $? 0
	wait $cast
	expect_equal "$1: the cast ends well" $? 0
	lsc-msg to-json <"$SCRATCH/cast.rec" >"$SCRATCH/cast.json"
}

expect_main_job() { # expect_main_job NAME
	for i in 1 2 3; do
		expect_same "$1: node $i has the image" "$SCRATCH/node$i/model/image" "$image/image"
		expect_status 0 "$1: which verifies" lsc-shard verify "$SCRATCH/node$i/model"
	done
	complete=$(jq -s 'map(select(.type == "complete").t) | min' "$SCRATCH/cast.json")
	expect_equal "$1: the first answer begins before any node is complete" \
		"$(answers 1 token .t | head -n 1 | jq ". < $complete")" true
	expect_equal "$1: over a pipeline with a receiver that holds a part" \
		"$(jq -s "map(select(.id == 1 and .type == \"route\")) | first |
			.t < $complete and (.stages | length > 1 and any(.node as \$n |
			[\"$2\"] | all(. != (\$n | tostring))))" "$SCRATCH/answers")" true
	for id in 1 2 3 4; do
		answers $id done .text >"$SCRATCH/text"
		expect_same "$1: request $id has the text of one node" "$SCRATCH/text" "$SCRATCH/alone"
	done
	expect_equal "$1: afterwards each receiver runs one alone" \
		"$(jq -s 'map(select(.id > 1 and .type == "route") | .stages |
			if length == 1 then first.name else "a pipeline" end) | sort | join(" ")' \
			"$SCRATCH/answers")" "\"$(echo "$to" | tr , '\n' | sort | tr '\n' ' ' | sed 's/ $//')\""
}

cast_and_ask --order round-optimal
expect_main_job "one source" 0
for i in 1 2 3; do rm -rf "$SCRATCH/node$i/model"; done

cast_and_ask --sources "${node4% *}" --order kway
expect_main_job "two sources" '0","1'
# Two groups, the second of which gets the second half first: together they hold everything when
# each has about half.  Processor time is no measure of that where a sanitizer takes its own.
share=0.75
[ "${LSC_BIN:-bin}" = bin ] || share=1
expect_equal "two sources: together the receivers hold all blocks long before one does" \
	"$(jq -s '(map(select(.type == "complete").t) | min) as $one |
		map(select(.type == "block")) | group_by(.block) | map(map(.t) | min) | max |
		. < '$share' * $one' "$SCRATCH/cast.json")" true
done_testing
