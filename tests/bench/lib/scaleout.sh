# shellcheck shell=sh
# One scale-out under a burst in the emulated cluster; sourced by tests/bench/scaleout.sh.
#
# Node I keeps its files in $files/nI and has a stage worker at port 7001 and a cast server at 7000.
# The first K have the image; of what a run leaves, $work/K.MODE.jsonl is what the plots need.

: "${work:?}" "${image:?}" "${nodes:?}" "${store:?}" "${front:?}" "${cpu:?}" "${kv:?}"
: "${requests:?}" "${burst:?}" "${seed:?}" "${modes:?}"
pids='' names=''

# N nodes on one machine share a disk, N machines do not: their files are in memory where that has room.
in_memory() {
	[ -z "${LSC_BENCH_DIR:-}" ] || return 0
	[ "$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print int($4) }')" -gt 4000000 ] || return 0
	keep_files /dev/shm
}

start() { # start NODE NAME COMMAND...: in the background; its address will be in $work/up/NAME
	node_now=$1 name_now=$2
	shift 2
	on "$node_now" "$@" --ready-fd 3 3>"$work/up/$name_now" 2>>"$work/run.log" &
	pids="$pids $!"
	names="$names $name_now"
}

started() { # waits until all that were started are ready
	for name_now in $names; do
		tries=0
		until [ -s "$work/up/$name_now" ]; do
			tries=$((tries + 1))
			[ $tries -lt 1000 ] || {
				say "$name_now did not start: $(tail -n 1 "$work/run.log")"
				return 1
			}
			sleep 0.02
		done
	done
}

start_nodes() { # start_nodes K
	i=0
	while [ $i -lt "$nodes" ]; do
		rm -rf "$files/n$i"
		mkdir -p "$files/n$i"
		[ $i -ge "$1" ] || cp -r "$image" "$files/n$i/"
		start $i "exec$i" lsc-exec serve -v --dir "$files/n$i" --threads 1 --kv-bytes "$kv" \
			--listen "$(address $i):7001"
		start $i "cast$i" lsc-cast serve --dir "$files/n$i" --listen "$(address $i):7000" \
			--exec "$(address $i):7001"
		i=$((i + 1))
	done
	started
}

start_front() { # start_front OPTION...: a router that waits for arrivals, and a gate
	rm -f "$work/arrivals" "$work/pipe.sock"
	mkfifo "$work/arrivals"
	exec 8<>"$work/arrivals"
	# shellcheck disable=SC2086
	start "$front" pipe lsc-pipe --listen "unix:$work/pipe.sock" --arrivals "$work/arrivals" \
		--sources serve --timeout 120s "$@" ${LSC_BENCH_PIPE:-} "$image"
	started || return
	start "$front" gate lsc-gate 127.0.0.1:8080 --router "unix:$work/pipe.sock"
	started || return
	until cluster exec "$front" curl -sf http://127.0.0.1:8080/v1/models | grep -q '"id"'; do
		kill -0 $! 2>/dev/null || return
		sleep 0.05
	done
}

# The cast of a mode, its records to the router and to $work/cast.rec.
send() { # send K MODE
	case $2 in
	kway*) set -- 0 "$1" "$1" --order kway ;;
	tree-load) set -- 0 "$1" "$1" --order tree ;;
	store-load) set -- "$store" 0 0 --order sequential --timeout 60s ;;
	esac
	from=$1 first=$2 k_now=$3
	shift 3
	# shellcheck disable=SC2046
	set -- "$@" --to "$(endpoints $(seq "$first" $((nodes - 1))))"
	# shellcheck disable=SC2046
	[ "$k_now" -lt 2 ] || set -- "$@" --sources "$(endpoints $(seq 1 $((k_now - 1))))"
	[ "$k_now" -eq 0 ] || set -- "$@" --exec "$(address 0):7001"
	on "$from" lsc-cast send "$image" "$@" 2>>"$work/run.log" >"$work/sent"
}

# Seconds of processor time that each node's programs took, as a JSON array.
usage() {
	for i in $(seq 0 "$front"); do
		for pid in $(pids_of "$i"); do cat "/proc/$pid/stat" 2>/dev/null; done |
			awk -v hz="$(getconf CLK_TCK)" '{ t += $14 + $15 } END { printf "%.2f\n", t / hz }'
	done | jq -cs . >"$work/usage"
}

pids_of() ( # pids_of NODE
	id=
	eval "$(cat "$work/cluster")"
	ip netns pids "lsc-$id-$1"
)

scale_out() { # scale_out K MODE
	pids='' names=''
	mkdir -p "$work/up"
	: >"$work/run.log"
	rm -f "$work/sent"
	mkfifo "$work/sent"
	begun=$(now)
	start_nodes "$1" || return
	if [ "$2" = kway ]; then start_front; else start_front --no-pipelines; fi || return
	say "k $1, $2: set up in $(since "$begun") s"
	tee "$work/cast.rec" <"$work/sent" >"$work/arrivals" &
	tee=$!
	on "$front" lsc-replay --poisson $((requests * $1)) --duration "$burst" --seed "$seed" --greedy \
		--prompt-tokens 12,0.5 --output-tokens 16,0.5 --tokens-per-word 4.5 --timeout 120s --json \
		--records "$work/replay.rec" http://127.0.0.1:8080 >"$work/report" 2>>"$work/run.log" &
	replay=$!
	send "$1" "$2" &
	sender=$!
	wait $replay
	result=$?
	usage
	[ "$2" != store-load ] || kill $sender 2>/dev/null # it has much before it still
	wait $sender $tee 2>/dev/null
	# shellcheck disable=SC2086
	{
		kill $pids
		wait $pids
	} 2>/dev/null
	exec 8>&-
	tell "$1" "$2" $result
}

# Every request has its whole answer, or it is no measurement.
tell() { # tell K MODE STATUS
	lsc-msg to-json <"$work/cast.rec" >"$work/cast.json" 2>/dev/null
	lsc-msg to-json <"$work/replay.rec" >"$work/replay.json" 2>/dev/null
	cp "$work/run.log" "$work/$1.$2.log"
	cp "$work/replay.json" "$work/$1.$2.replay"
	jq -cn --arg mode "$2" --argjson k "$1" --argjson nodes "$nodes" --arg rate "$LSC_BENCH_RATE" \
		--argjson cpu "$cpu" --slurpfile cast "$work/cast.json" --slurpfile replay "$work/replay.json" \
		--slurpfile usage "$work/usage" -f tests/bench/lib/scaleout.jq >"$work/$1.$2.json"
	[ "$3" -ne 0 ] || [ "$(jq '.failed' "$work/$1.$2.json")" != 0 ] || return 0
	say "k $1, $2: lsc-replay ended with status $3: $(tail -n 3 "$work/run.log")"
	return 1
}

# The lines of one K: what modes have in common is that of the first mode; all texts are the same.
compare() { # compare K
	set -- "$1" "$(for mode in $modes; do echo "$work/$1.$mode.json"; done)"
	# shellcheck disable=SC2086
	jq -cs -f tests/bench/lib/scaleout-lines.jq $2 >"$work/lines.$1" || return
	cat "$work/lines.$1"
	! grep -q '"texts":"differ"' "$work/lines.$1" || {
		say "k $1: the modes gave different answers"
		return 1
	}
}
