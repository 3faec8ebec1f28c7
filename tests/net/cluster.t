#!/bin/sh
# examples/cluster.sh: nodes that see each other, links held to their rate, nothing left behind.
. tests/lib/tap.sh

cluster=examples/cluster.sh
end_clusters() {
	for dir in "$SCRATCH"/a "$SCRATCH"/b; do
		[ ! -f "$dir/cluster" ] || $cluster "$dir" down
	done
}
call_at_exit end_clusters

expect_status 64 'no command' $cluster "$SCRATCH/a"
expect_status 71 'a node of no cluster' $cluster "$SCRATCH/a" address 0
expect_one_line 'no cluster is up'
expect_status 71 'no number of nodes' $cluster "$SCRATCH/a" up none 1gbit

LSC_CLUSTER=loopback
export LSC_CLUSTER
expect_status 0 'two on loopback' $cluster "$SCRATCH/a" up 3 200mbit
expect_status 0 'at once' $cluster "$SCRATCH/b" up 3 200mbit
a=$($cluster "$SCRATCH/a" address 2) b=$($cluster "$SCRATCH/b" address 2)
[ "$a" != "$b" ]
ok $? "have addresses of their own: $a, $b"
expect_equal 'and say what they are' "$($cluster "$SCRATCH/a" kind)" loopback
expect_status 71 'a cluster that is up is not started over' $cluster "$SCRATCH/a" up 3 200mbit
expect_status 71 'a node too many' $cluster "$SCRATCH/a" exec 3 true
expect_status 7 'a command ends with its own status' $cluster "$SCRATCH/a" exec 1 sh -c 'exit 7'
expect_status 71 'which has no share of a processor to change' $cluster "$SCRATCH/a" cpu 1 20
expect_one_line 'no share to change'
expect_status 71 'which has no link to change' $cluster "$SCRATCH/a" rate 1 100mbit
expect_one_line 'no link to change'
expect_status 71 'or to cut' $cluster "$SCRATCH/a" cut 1
expect_status 0 'down' $cluster "$SCRATCH/a" down
expect_status 0 'down' $cluster "$SCRATCH/b" down
unset LSC_CLUSTER

(requires_namespaces) | grep -q SKIP && {
	skip 'network namespaces are not allowed here'
	done_testing
}
expect_status 0 'nodes in namespaces' $cluster "$SCRATCH/a" up 3 200mbit 50
expect_status 0 'and others beside them' $cluster "$SCRATCH/b" up 2 200mbit
expect_equal 'are such' "$($cluster "$SCRATCH/a" kind)" netns
expect_equal 'a node has its address' "$($cluster "$SCRATCH/a" address 1)" \
	"$($cluster "$SCRATCH/a" exec 1 ip -o -4 address show dev eth0 | awk '{ sub("/.*", "", $4); print $4 }')"
id=$(sed 's/.*id=\([0-9a-f]*\).*/\1/' "$SCRATCH/a/cluster")
rates() { # of node 1's link: what it sends at, and receives at
	{
		$cluster "$SCRATCH/a" exec 1 tc qdisc show dev eth0
		ip netns exec "lsc-$id-switch" tc qdisc show dev p1
	} | sed -n 's/.*tbf.* rate \([^ ]*\) .*/\1/p' | paste -sd ' '
}
expect_equal 'both ends of its link have a rate' "$(rates)" '200Mbit 200Mbit'
expect_status 0 'which can be changed' $cluster "$SCRATCH/a" rate 1 50mbit
expect_equal 'at both ends' "$(rates)" '50Mbit 50Mbit'
expect_status 0 'or each to its own' $cluster "$SCRATCH/a" rate 1 100mbit 400mbit
expect_equal 'up and down' "$(rates)" '100Mbit 400Mbit'
expect_status 71 'to a rate' $cluster "$SCRATCH/a" rate 1 slow
expect_one_line "cannot hold node 1's link to 'slow'"
expect_status 71 'of a node that is there' $cluster "$SCRATCH/a" rate 3 100mbit
expect_status 64 'and with no less than that' $cluster "$SCRATCH/a" rate 1

expect_status 0 'a link can be cut' $cluster "$SCRATCH/a" cut 1
expect_equal 'and has no carrier then' "$($cluster "$SCRATCH/a" exec 1 cat /sys/class/net/eth0/carrier)" 0
expect_status 0 'and mended' $cluster "$SCRATCH/a" mend 1
expect_equal 'and has one again' "$($cluster "$SCRATCH/a" exec 1 cat /sys/class/net/eth0/carrier)" 1
expect_equal 'at the rate it had' "$(rates)" '100Mbit 400Mbit'
if [ -d "/sys/fs/cgroup/cpu/lsc-$id-1" ]; then
	share() { # of node 1, in percent
		echo $((100 * $(cat "/sys/fs/cgroup/cpu/lsc-$id-1/cpu.cfs_quota_us") / \
			$(cat "/sys/fs/cgroup/cpu/lsc-$id-1/cpu.cfs_period_us")))
	}
	expect_equal 'and it has its share of a processor' "$(share)" 50
	expect_status 0 'which can be changed, too' $cluster "$SCRATCH/a" cpu 1 4
	expect_equal 'to a small one' "$(share)" 4
	expect_status 71 'or to none at all' $cluster "$SCRATCH/a" cpu 1 none
fi
$cluster "$SCRATCH/a" exec 2 sleep 300 &
sleeper=$!
while ! $cluster "$SCRATCH/a" exec 2 ip netns pids "lsc-$id-2" | grep -qx $sleeper; do sleep 0.05; done
expect_status 0 'down' $cluster "$SCRATCH/a" down
kill -0 $sleeper 2>/dev/null
ok $((! $?)) 'ends what ran on a node'
expect_equal 'and leaves nothing' "$(ip netns list | grep -c "lsc-$id-")" 0
ls -d /sys/fs/cgroup/*"$id"* /sys/fs/cgroup/cpu/*"$id"* >/dev/null 2>&1
ok $((! $?)) 'no control group either'
expect_status 0 'the other cluster is still there' $cluster "$SCRATCH/b" exec 1 true
done_testing
