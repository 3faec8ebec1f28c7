# shellcheck shell=sh
# What else brings a file to many nodes, on the same links in the same run; sourced by
# tests/bench/cast.sh.
#
# peer_NAME N brings $image to nodes 1 to N, as $files/nI/peer/image, and sets $took; it sets $why
# instead where it cannot.  The nodes then check all pieces against the image's manifest as lsc does,
# all at once.  Nobody syncs to the disk but lsc-cast.

: "${work:?}" "${image:?}" "${peers:?}" "${peer_nodes:?}"
helpers= # processes that end with the peer

case_peers() {
	end_servers
	export LSC_BENCH_CLUSTER="$work" LSC_BENCH_DONE="$work/done" # for what is in peers/
	for count in $peer_nodes; do
		repeat ours "$count"
		for peer in $peers; do repeat peer "$peer" "$count"; done
	done
}

ours() { # ours N
	uniform_run 1 "$1"
	# shellcheck disable=SC2086
	result peers "lsc-cast, $(several "$1"): received, verified and synced" "$took" "$plain" null $to
	end_servers
	forget "$name"
}

peer() { # peer NAME N
	receivers=$2 sources=1
	why=
	verified=
	for node in $(from_to 1 "$2"); do
		rm -rf "$files/n$node/peer"
		mkdir -p "$files/n$node/peer"
		cp "$image/manifest" "$files/n$node/peer"
	done
	took=
	"peer_$(echo "$1" | tr - _)" "$2" 2>"$work/peer.log"
	[ -n "$why" ] || [ -n "$verified" ] || verify "$2"
	# shellcheck disable=SC2086
	[ -z "$helpers" ] || { kill $helpers && wait $helpers; } 2>/dev/null
	helpers=
	what="$(called "$1"), $(several "$2")"
	if [ -n "$why" ]; then
		missed peers "$what" skipped "$why"
	elif [ -z "$took" ] || [ -z "$verified" ]; then
		missed peers "$what" failed "$(tail -n 1 "$work/peer.log" | grep . || echo incomplete)"
	else
		line peers "$what: received" "$took" "$plain" null
		line peers "$what: received and verified" "$verified" "$plain" null
	fi
	rm -rf "$files"/n*/peer
}

called() {
	case $1 in
	chain) echo 'socat and tee, a chain' ;;
	mpi) echo 'MPI_Bcast, pipeline of 64K, in memory' ;;
	mpi-default) echo 'MPI_Bcast as it is, in memory' ;;
	aria2) echo 'aria2, BitTorrent' ;;
	rsync) echo 'rsync, one after another' ;;
	*) echo "$1" ;;
	esac
}

verify() { # verify N: sets $verified
	checks=
	for node in $(from_to 1 "$1"); do
		on "$node" lsc-shard verify -q "$files/n$node/peer" >/dev/null &
		checks="$checks $!"
	done
	# shellcheck disable=SC2086
	all $checks && verified=$(since "$began")
}

all() { # all PID...: end well
	worst=0
	for pid; do wait "$pid" || worst=1; done
	return $worst
}

need() { # need COMMAND...
	for command; do
		command -v "$command" >/dev/null || {
			why="no $command here"
			return 1
		}
	done
}

# --- one node to the next, each keeping a copy: what a shell offers ---

peer_chain() {
	copies=
	for node in $(seq "$1" -1 1); do
		next="| socat -b 65536 -u - TCP:$(address $((node + 1))):9"
		[ "$node" -lt "$1" ] || next='>/dev/null'
		# shellcheck disable=SC2016
		on "$node" sh -c 'socat -b 65536 -u TCP-LISTEN:9,reuseaddr - | tee "$0" '"$next" \
			"$files/n$node/peer/image" &
		copies="$copies $!"
		listening "$node" 9 || return
	done
	began=$(now)
	cluster exec 0 socat -b 65536 -u "OPEN:$image/image" "TCP:$(address 1):9" &
	# shellcheck disable=SC2086
	all $! $copies && took=$(since "$began")
}

# --- MPI_Bcast, from memory to memory, not counting its start ---
#
# Ranks that wait give way: each would have a processor of its own, and here they share two.

peer_mpi() { # the best of its ways for large messages over TCP
	mpi "$1" --mca coll_tuned_use_dynamic_rules 1 --mca coll_tuned_bcast_algorithm 3 \
		--mca coll_tuned_bcast_algorithm_segmentsize 65536
}

peer_mpi_default() { mpi "$1"; }

mpi() { # mpi N OPTION...
	need mpirun mpicc unshare || return
	hosts=$(for node in $(from_to 0 "$1"); do address "$node"; done | paste -sd ,)
	shift
	[ -x "$work/bcast" ] || mpicc -O2 -o "$work/bcast" tests/bench/peers/bcast.c || return
	mkdir -p "$work/mpi"
	cluster exec 0 env TMPDIR="$work/mpi" mpirun --allow-run-as-root -q \
		--host "$hosts" --map-by node --bind-to none --mca mpi_yield_when_idle 1 \
		--mca plm_rsh_agent "$PWD/tests/bench/peers/agent" --mca plm_rsh_no_tree_spawn 1 \
		--mca oob_tcp_if_include eth0 --mca btl tcp,self --mca btl_tcp_if_include eth0 \
		"$@" "$work/bcast" "$image/image" >"$work/mpi.out" || return
	read -r took verified <"$work/mpi.out"
}

# --- aria2, by BitTorrent ---

peer_aria2() {
	need aria2c || return
	tests/bench/peers/torrent.py make "$image/image" "http://$(address 0):6969/announce" \
		>"$work/image.torrent" || return
	on 0 tests/bench/peers/torrent.py track "$(address 0)" 6969 &
	helpers="$helpers $!"
	listening 0 6969 || return
	aria2 0 "$image" --check-integrity=true
	listening 0 6881 || return
	mkfifo "$work/done"
	began=$(now)
	for node in $(from_to 1 "$1"); do
		aria2 "$node" "$files/n$node/peer" \
			--on-bt-download-complete="$PWD/tests/bench/peers/done"
	done
	# Whoever is complete writes a line and goes on to send until all are.
	took=$(timeout 600 head -n "$1" 0<>"$work/done" >/dev/null && since "$began")
	rm "$work/done"
}

aria2() { # aria2 NODE DIR OPTION...
	node_now=$1
	in=$2
	shift 2
	on "$node_now" aria2c --no-conf -q --dir "$in" --seed-ratio=0 \
		--listen-port=6881 --enable-dht=false --enable-dht6=false --bt-enable-lpd=false \
		--bt-tracker-interval=1 --bt-max-peers=0 --bt-request-peer-speed-limit=1000M \
		--file-allocation=none "$@" "$work/image.torrent" >/dev/null &
	helpers="$helpers $!"
}

# --- rsync, one receiver after another ---

peer_rsync() {
	need rsync || return
	for node in $(from_to 1 "$1"); do
		printf 'use chroot = no\n[peer]\npath = %s\nread only = no\nuid = %d\ngid = %d\n' \
			"$files/n$node/peer" "$(id -u)" "$(id -g)" >"$work/rsyncd.$node"
		on "$node" rsync --daemon --no-detach --port 873 --config "$work/rsyncd.$node" &
		helpers="$helpers $!"
		listening "$node" 873 || return
	done
	began=$(now)
	for node in $(from_to 1 "$1"); do
		cluster exec 0 rsync --whole-file "$image/image" "rsync://$(address "$node")/peer/" || return
	done
	took=$(since "$began")
}
