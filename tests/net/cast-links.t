#!/bin/sh
# Casts over links that differ, are cut and come back, between nodes that are network namespaces.
. tests/lib/tap.sh
requires_namespaces
requires_command ip

work=$SCRATCH/c
mkdir "$work"
cluster() { examples/cluster.sh "$work" "$@"; }
down() { [ ! -f "$work/cluster" ] || cluster down; }
call_at_exit down
cluster up 5 400mbit
[ "$(cluster kind)" = netns ] || skip_all 'no network namespaces here'
to=
for i in 1 2 3 4; do
	mkdir "$SCRATCH/n$i"
	mkfifo "$SCRATCH/ready"
	examples/cluster.sh "$work" exec $i lsc-cast serve --dir "$SCRATCH/n$i" \
		--listen "$(cluster address $i):7000" --ready-fd 3 3>"$SCRATCH/ready" 2>"$SCRATCH/log.$i" &
	ended_at_exit $!
	read -r address <"$SCRATCH/ready"
	rm "$SCRATCH/ready"
	to=$to${to:+,}$address
done
lsc-shard pack --dummy smollm2-135m --layers 4 "$SCRATCH/image.lsc"

begin() { # in the background; $pid
	examples/cluster.sh "$work" exec 0 lsc-cast send "$SCRATCH/image.lsc" --to "$to" --no-progress \
		>"$SCRATCH/out" 2>"$SCRATCH/err" &
	pid=$!
	ended_at_exit $pid
}

# complete WHAT NODE...: these have the image
complete() {
	what=$1 good=0
	shift
	for node; do
		cmp -s "$SCRATCH/image.lsc/image" "$SCRATCH/n$node/image.lsc/image" || good=1
	done
	ok $good "$what: nodes $* have the image"
}

# after NODE: when it was complete, in seconds
after() {
	lsc-msg <"$SCRATCH/out" | grep '"type":"complete"' | grep "\"node\":$1[,}]" |
		sed 's/.*"t":\([0-9.]*\).*/\1/'
}

# before WHAT SECONDS NODE...: these were complete by then
before() {
	what=$1 most=$2
	shift 2
	for node; do
		took=$(after "$node")
		awk -v t="${took:-99}" -v most="$most" 'BEGIN { exit !(t < most) }'
		ok $? "$what: node $node is complete after ${took:-?} s, at most $most"
	done
}

clear_nodes() { rm -rf "$SCRATCH"/n?/*; }

begin
wait $pid
expect_equal 'links that are alike: status' $? 0
complete 'links that are alike' 1 2 3 4
quiet=$(after 4)
clear_nodes

# A link that is gone for less than the time-out delays, and loses nobody.
begin
sleep 0.6
cluster cut 2
sleep 0.7
cluster mend 2
wait $pid
expect_equal 'a link that is cut for 0.7 s: status' $? 0
complete 'a link that is cut for 0.7 s' 1 2 3 4
clear_nodes

# For longer: the node is left out, and the others do not wait.
begin
sleep 0.6
cluster cut 2
wait $pid
expect_equal 'a link that stays cut: status' $? 1
grep -q "^lsc-cast send: warning: $(cluster address 2):7000: " "$SCRATCH/err"
ok $? 'its node is named'
complete 'a link that stays cut' 1 3 4
before 'a link that stays cut' "$(awk -v t="$quiet" 'BEGIN { print 1.25 * t + 2 }')" 1 3 4
[ -d "$SCRATCH/n2/image.lsc.part" ] && [ ! -e "$SCRATCH/n2/image.lsc" ]
ok $? 'what arrived before is kept'
cluster mend 2
begin
wait $pid
expect_equal 'when it is mended, the next cast: status' $? 0
complete 'when it is mended' 1 2 3 4
clear_nodes

# A slow link delays its own node.
cluster rate 1 100mbit
begin
wait $pid
expect_equal 'a link at a quarter of the others: status' $? 0
before 'a link at a quarter of the others' "$(awk -v t="$quiet" 'BEGIN { print 1.5 * t + 0.2 }')" 2 3 4
before 'and itself' "$(awk -v t="$quiet" 'BEGIN { print 4.5 * t }')" 1
done_testing
