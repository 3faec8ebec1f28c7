# shellcheck shell=sh
# The cluster a benchmark runs in, and its yardstick; sourced by tests/bench/*.sh, which set $work.
#
# Nodes are network namespaces of examples/cluster.sh with links of $mbit Mbit/s.  Node 0 sends and
# has $image; node I keeps its files in $files/nI.  A node's server stays up from run to run, so that
# a run is what a command takes; what servers are up ends with the benchmark.

: "${work:?}"
mbit=${LSC_BENCH_RATE:-200mbit}
mbit=${mbit%mbit}
files=
folders= # that end with the benchmark
[ -n "${LSC_SCRATCH:-}" ] || folders=$work
servers=" " # " NODE:PID ..."

say() { echo "$bench: $*" >&2; }

# begin NODES: the cluster, each with $cpu percent of a processor where that is set, and a folder for what its nodes keep; ends a benchmark that cannot be.
begin() {
	for need in socat ip tc jq python3; do
		command -v $need >/dev/null || {
			say "no $need here, not measured"
			exit 0
		}
	done
	[ "$mbit" -gt 0 ] 2>/dev/null || {
		say "LSC_BENCH_RATE is '${LSC_BENCH_RATE}', and has to be like 200mbit"
		exit 64
	}
	keep_files "${LSC_BENCH_DIR:-$work}"
	cluster up "$1" "${mbit}mbit" ${cpu:+"$cpu"} || exit
	[ "$(cluster kind)" = netns ] || {
		say 'no network namespaces here, not measured'
		exit 0
	}
}

finish() {
	[ ! -f "$work/cluster" ] || cluster down
	wait
	# shellcheck disable=SC2086
	rm -rf $folders
}

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

keep_files() { # keep_files FOLDER: nodes keep theirs there from now on
	files=$(mktemp -d "$1/lsc-nodes.XXXXXX") || exit 74
	folders="$folders $files"
}

cluster() { examples/cluster.sh "$work" "$@"; }
address() { echo "10.77.0.$(($1 + 1))"; }

# on NODE CMD...: becomes CMD there, for `on ... &`, whose $! is then CMD's.
on() { exec examples/cluster.sh "$work" exec "$@"; }

# links RATE NODE...: at so many Mbit/s
links() {
	rate_now=$1
	shift
	for node_now; do cluster rate "$node_now" "${rate_now}mbit" || exit; done
}

now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.3f", b - a }'; }
over() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a / b }'; }
product() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a * b }'; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

listening() { # listening NODE PORT: waits until somebody does
	tries=0
	until cluster exec "$1" ss -Hltn sport = ":$2" | grep -q .; do
		tries=$((tries + 1))
		[ $tries -lt 500 ] || {
			say "nobody listens on port $2 of node $1"
			return 1
		}
		sleep 0.02
	done
}

plain_flow() { # plain_flow FILE: seconds that one TCP flow takes from node 0 to node 1
	on 1 socat -u TCP-LISTEN:9,reuseaddr OPEN:/dev/null &
	sink=$!
	listening 1 9 || exit
	flow_began=$(now)
	cluster exec 0 socat -u "OPEN:$1" "TCP:$(address 1):9"
	wait $sink
	echo "$(since "$flow_began")"
}

# --- the nodes' servers ---

server() { # server NODE: its process, or nothing
	case $servers in
	*" $1:"*)
		pid=${servers#*" $1:"}
		echo "${pid%% *}"
		;;
	esac
}

serve() { # serve NODE...: where none is up yet
	for node_now; do
		[ -z "$(server "$node_now")" ] || continue
		mkdir -p "$files/n$node_now"
		mkfifo "$work/ready"
		on "$node_now" lsc-cast serve ${plain_links:+--insecure} --dir "$files/n$node_now" \
			--listen "$(address "$node_now"):7000" --ready-fd 3 3>"$work/ready" \
			2>>"$work/servers.log" &
		servers="$servers$node_now:$! "
		read -r ready <"$work/ready" || {
			say "node $node_now did not start: $(tail -n 1 "$work/servers.log")"
			exit 1
		}
		rm "$work/ready"
	done
	: "$ready"
}

end_server() { # end_server NODE [SIGNAL]
	pid=$(server "$1")
	[ -n "$pid" ] || return 0
	kill "-${2:-TERM}" "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
	servers="${servers%%" $1:"*} ${servers#*" $1:$pid "}"
}

end_servers() {
	for entry in $servers; do end_server "${entry%%:*}"; done
}

forget() { rm -rf "$files"/n*/"$1" "$files"/n*/"$1".part; } # forget NAME: at all nodes

endpoints() { # endpoints NODE...: for --to
	for node_now; do printf '%s:7000\n' "$(address "$node_now")"; done | paste -sd ,
}
