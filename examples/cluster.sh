#!/bin/sh
# A cluster on one machine: nodes 0 to N-1, each with an address and a link of its own.
#
#	cluster.sh DIR up N RATE [CPU]	start one; RATE as tc spells it (100mbit), CPU in percent of
#					one processor for each node
#	cluster.sh DIR rate I RATE [DOWN] change node I's link; DOWN where it receives at another rate
#	cluster.sh DIR cpu I PERCENT	change node I's share of one processor
#	cluster.sh DIR cut I		take node I's link down, as if its cable were pulled
#	cluster.sh DIR mend I		and up again
#	cluster.sh DIR exec I CMD...	become CMD on node I
#	cluster.sh DIR address I	print node I's address
#	cluster.sh DIR kind		print netns or loopback
#	cluster.sh DIR down		end what runs on the nodes and remove them
#
# DIR is a folder that remembers the cluster (DIR/cluster), so several may be up at once.  Its nodes
# share a key, DIR/cluster.key, which commands on them find in LSC_KEY_FILE.
#
# As root, a node is a network namespace.  Its link is a veth pair into a bridge, which has a
# namespace of its own too, so that the machine's own network is never touched; both ends of the
# pair are held to RATE.  Where namespaces are not allowed, a node is an address in 127.0.0.0/8,
# and nothing holds it to RATE but what its programs are told (lsc-cast send --max-rate).
set -u
PATH=$PATH:/usr/sbin:/sbin

die() {
	echo "cluster.sh: $*" >&2
	exit 71
}

usage() {
	sed -n '4,13s/^#	//p' "$0" >&2
	exit 64
}

namespace() { echo "lsc-$id-$1"; }

# Makes the switch's namespace.  Some places (a chroot) allow that and not to enter it.
may_make_namespaces() {
	[ "${LSC_CLUSTER:-}" != loopback ] || return 1
	# Without TLS the programs talk to no address but this machine's.
	! lsc-cast --features 2>/dev/null | grep -qx 'tls no' || return
	command -v tc >/dev/null 2>&1 && ip netns add "$(namespace switch)" 2>/dev/null || return
	ip netns exec "$(namespace switch)" true 2>/dev/null && return
	ip netns del "$(namespace switch)"
	return 1
}

# One end of a veth pair, held to a rate.  A quarter second at full speed fits the burst's queue.
hold() { # hold NAMESPACE DEVICE RATE
	ip netns exec "$1" tc qdisc replace dev "$2" root tbf rate "$3" burst 128k latency 40ms
}

# The switch: ports p0, p1, ... in one bridge.
up_switch() {
	switch=$(namespace switch)
	ip -n "$switch" link add br0 type bridge forward_delay 0 stp_state 0 &&
		ip -n "$switch" link set br0 up
}

up_node() { # up_node I
	node=$(namespace "$1")
	ip netns add "$node" &&
		ip -n "$node" link set lo up &&
		ip -n "$node" link add eth0 type veth peer name "p$1" netns "$switch" &&
		ip -n "$node" address add "10.77.0.$(($1 + 1))/24" dev eth0 &&
		ip -n "$switch" link set "p$1" master br0 &&
		hold "$node" eth0 "$rate" && hold "$switch" "p$1" "$rate" &&
		ip -n "$switch" link set "p$1" up && ip -n "$node" link set eth0 up
}

# --- a processor share for each node: cgroup 2, or 1 ---

cpu_group() { # cpu_group I: its folder, whichever version there is
	if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
		echo "/sys/fs/cgroup/lsc-$id-$1"
	else
		echo "/sys/fs/cgroup/cpu/lsc-$id-$1"
	fi
}

up_cpu() { # up_cpu I
	group=$(cpu_group "$1")
	[ ! -f /sys/fs/cgroup/cgroup.controllers ] ||
		echo +cpu >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || return
	mkdir "$group" 2>/dev/null || return
	hold_cpu "$group"
}

hold_cpu() { # hold_cpu GROUP
	group=$1
	# As short a period as there may be: what a node does not use for a moment, it has to do without.
	quota=1000
	[ "$cpu" -lt 10 ] || quota=$((cpu * 100))
	period=$((quota * 100 / cpu))
	if [ -f "$group/cpu.cfs_quota_us" ]; then
		echo $period >"$group/cpu.cfs_period_us" && echo $quota >"$group/cpu.cfs_quota_us"
	else
		echo "$quota $period" >"$group/cpu.max"
	fi
}

# --- commands ---

up() {
	n=$1 rate=$2 cpu=${3:-0}
	[ ! -e "$dir/cluster" ] || die "'$dir/cluster' is there already: a cluster is up"
	[ "$n" -ge 1 ] 2>/dev/null && [ "$n" -le 250 ] || die "'$n' is not a number of nodes (1 to 250)"
	[ "$cpu" -ge 0 ] 2>/dev/null || die "'$cpu' is not a percentage"
	mkdir -p "$dir" || exit 74
	id=$(od -An -N3 -tx1 /dev/urandom | tr -d ' \n')
	kind=loopback
	may_make_namespaces && kind=netns
	# 127.A.B.1, .2, ...: two clusters get addresses of their own.
	net=127.$((0x${id%????} % 250 + 2)).$((0x${id#????} % 254 + 1))
	[ $kind = netns ] && net=10.77.0
	rm -f "$dir/cluster.key"
	! lsc-cast --features 2>/dev/null | grep -qx 'tls yes' ||
		lsc-cast keygen "$dir/cluster.key" || exit 74
	printf 'kind=%s id=%s n=%s rate=%s cpu=%s net=%s\n' $kind "$id" "$n" "$rate" "$cpu" $net \
		>"$dir/cluster" || exit 74
	i=0
	[ $kind = loopback ] || up_switch || failed
	while [ $kind = netns ] && [ $i -lt "$n" ]; do
		up_node $i || failed
		i=$((i + 1))
	done
	i=0
	while [ "$cpu" -gt 0 ] && [ $i -lt "$n" ]; do
		up_cpu $i || {
			[ $i -gt 0 ] || echo "cluster.sh: no cpu controller here, no share set" >&2
			break
		}
		i=$((i + 1))
	done
}

failed() {
	down
	die "cannot set up the network"
}

load() {
	[ -f "$dir/cluster" ] || die "no cluster is up in '$dir'"
	eval "$(cat "$dir/cluster")"
}

check_node() {
	[ "$1" -ge 0 ] 2>/dev/null && [ "$1" -lt "$n" ] || die "no node '$1'; there are 0 to $((n - 1))"
}

check_link() { # check_link I: there is one to change
	check_node "$1"
	[ "$kind" = netns ] || die "no link to change: nodes are addresses on loopback here"
}

# The node's end of the pair holds what it sends, the switch's end what it receives.
set_rate() { # set_rate I RATE [DOWN]
	check_link "$1"
	if ! hold "$(namespace "$1")" eth0 "$2" 2>/dev/null ||
		! hold "$(namespace switch)" "p$1" "${3:-$2}" 2>/dev/null; then
		die "cannot hold node $1's link to '$2${3:+, }${3:-}'"
	fi
}

set_cpu() { # set_cpu I PERCENT
	check_node "$1"
	[ "$2" -ge 1 ] 2>/dev/null || die "'$2' is not a percentage"
	[ -d "$(cpu_group "$1")" ] || die "no share to change: the cluster was not started with one"
	cpu=$2
	hold_cpu "$(cpu_group "$1")" || die "cannot set node $1's share"
}

set_link() { # set_link I up|down
	check_link "$1"
	ip -n "$(namespace switch)" link set "p$1" "$2" || die "cannot set node $1's link $2"
}

run_on() { # run_on I CMD...
	node=$1
	shift
	group=$(cpu_group "$node")
	[ "$cpu" -eq 0 ] || [ ! -d "$group" ] || echo $$ >"$group/cgroup.procs" || exit 71
	if [ -f "$dir/cluster.key" ]; then
		LSC_KEY_FILE=$(realpath "$dir")/cluster.key
		export LSC_KEY_FILE
	fi
	[ "$kind" = loopback ] && exec "$@"
	exec ip netns exec "$(namespace "$node")" "$@"
}

# Whoever is still in a namespace or group of ours was started there by us.
processes() { # processes I
	[ "$kind" = loopback ] || ip netns pids "$(namespace "$1")" 2>/dev/null
	cat "$(cpu_group "$1")/cgroup.procs" 2>/dev/null
}

end_processes() { # end_processes I
	for signal in TERM CONT CONT CONT CONT KILL KILL; do
		pids=$(processes "$1" | sort -u)
		[ -n "$pids" ] || return
		# shellcheck disable=SC2086
		kill -$signal $pids 2>/dev/null
		sleep 0.1
	done
}

down() {
	i=0
	while [ $i -lt "$n" ]; do
		end_processes $i
		[ "$kind" = loopback ] || ip netns del "$(namespace $i)" 2>/dev/null
		[ ! -d "$(cpu_group $i)" ] || rmdir "$(cpu_group $i)"
		i=$((i + 1))
	done
	[ "$kind" = loopback ] || ip netns del "$(namespace switch)" 2>/dev/null
	rm -f "$dir/cluster" "$dir/cluster.key"
}

[ $# -ge 2 ] || usage
dir=$1 command=$2
shift 2
case $command in
up)
	[ $# -eq 2 ] || [ $# -eq 3 ] || usage
	up "$@"
	;;
rate)
	[ $# -eq 2 ] || [ $# -eq 3 ] || usage
	load
	set_rate "$@"
	;;
cpu)
	[ $# -eq 2 ] || usage
	load
	set_cpu "$@"
	;;
cut)
	[ $# -eq 1 ] || usage
	load
	set_link "$1" down
	;;
mend)
	[ $# -eq 1 ] || usage
	load
	set_link "$1" up
	;;
exec)
	[ $# -ge 2 ] || usage
	load
	check_node "$1"
	run_on "$@"
	;;
address)
	[ $# -eq 1 ] || usage
	load
	check_node "$1"
	echo "$net.$(($1 + 1))"
	;;
kind)
	load
	echo "$kind"
	;;
down)
	load
	down
	;;
*) usage ;;
esac
