#!/bin/sh
# What a cast takes, from image to image, against one plain TCP flow over the same links, and against
# what else copies a file to many nodes; in network namespaces, as root.
#
#	LSC_BENCH_CASES="uniform faults" tests/bench/run cast >lines
#	tests/bench/table <lines
#
#	LSC_BENCH_CASES		what to measure: uniform memory sources unequal partial faults peers
#	LSC_BENCH_RATE		of each node's link (200mbit)
#	LSC_BENCH_LAYERS	of the image, 16 MiB each (16)
#	LSC_BENCH_PIECE		size of its pieces (the default)
#	LSC_BENCH_OPTIONS	of lsc-cast send, besides (none)
#	LSC_BENCH_TLS		no: links are not encrypted, as those of peers are not (yes)
#	LSC_BENCH_RUNS		how often to measure each cast (1); the table shows medians
#	LSC_BENCH_DIR		where nodes keep their files (TMPDIR): N nodes share its one disk
#	LSC_BENCH_NODES		uniform: how many receivers, each in a run of its own (1 2 3 4 8 16)
#	LSC_BENCH_SOURCES	sources: how many of them and of receivers (2/4 2/8 4/4 4/8)
#	LSC_BENCH_RECEIVERS	how many the other cases have (4)
#	LSC_BENCH_UNEQUAL	unequal: which (slow mixed source)
#	LSC_BENCH_SLOW		slow: which receivers, one at a time (all)
#	LSC_BENCH_MIXED		mixed: how many receivers of mixed rates (3 6)
#	LSC_BENCH_PEERS		peers: which (chain mpi mpi-default aria2 rsync)
#	LSC_BENCH_PEER_NODES	peers: how many receivers (1 4 8)
#
# A line is a ratio of two times: "seconds" over "over_seconds", and the "target" that it should not
# exceed.  T1, "plain_seconds", is the plain flow of as many bytes, the median of three.  A command's
# time is from its start to its exit, a receiver's from the same start until it has the image,
# verified, on disk and under its name.
set -u
bench=cast
plain_links=
[ "${LSC_BENCH_TLS:-yes}" = yes ] || plain_links=yes
work=${LSC_SCRATCH:-$(mktemp -d "${TMPDIR:-/tmp}/lsc-bench.XXXXXX")}
cases=${LSC_BENCH_CASES:-uniform memory sources unequal partial faults peers}
nodes=${LSC_BENCH_NODES:-1 2 3 4 8 16}
pairs=${LSC_BENCH_SOURCES:-2/4 2/8 4/4 4/8}
n=${LSC_BENCH_RECEIVERS:-4}
unequal=${LSC_BENCH_UNEQUAL:-slow mixed source}
mixed=${LSC_BENCH_MIXED:-3 6}
peers=${LSC_BENCH_PEERS:-chain mpi mpi-default aria2 rsync}
peer_nodes=${LSC_BENCH_PEER_NODES:-1 4 8}
layers=${LSC_BENCH_LAYERS:-16}
runs=${LSC_BENCH_RUNS:-1}
image=$work/model
tuned=$work/tuned
changed=$(((layers * 3 + 15) / 16)) # 3 of 16
. tests/bench/lib/emulated.sh
. tests/bench/lib/measure.sh
. tests/bench/lib/unlike.sh
. tests/bench/lib/peers.sh

pack() { # pack IMAGE MODEL-ARGUMENT...
	packed=$1
	shift
	tests/bench/lib/model.py "$packed.hf" "$@" &&
		lsc-shard pack -q ${LSC_BENCH_PIECE:+--piece "$LSC_BENCH_PIECE"} "$packed.hf" "$packed" || exit
	rm -r "$packed.hf"
}

repeat() { # repeat CMD...: $runs times
	run=0
	while [ $run -lt "$runs" ]; do
		"$@"
		run=$((run + 1))
	done
}

# A mistyped name would silently measure nothing.
check_names() { # check_names PREFIX NAME...
	prefix=$1
	shift
	for word; do
		command -v "$prefix$(echo "$word" | tr - _)" >/dev/null || {
			say "there is nothing called '$word' to measure"
			exit 64
		}
	done
}

several() { [ "$1" -eq 1 ] && echo '1 receiver' || echo "$1 receivers"; }

# --- uniform: everyone's link is alike ---

# A cast of the image to N receivers from so many sources, in its time without a fault.  What it took,
# and when the last receiver was complete, is remembered for the cases that compare with it.
uniform_run() { # uniform_run SOURCES N
	sources=$1
	to=$(from_to "$1" $(($1 + $2 - 1)))
	# shellcheck disable=SC2046,SC2086
	{
		serve $(from_to 1 $(($1 + $2 - 1)))
		[ "$1" -eq 1 ] || stock "$image" $(from_to 1 $(($1 - 1)))
		cast "$image" $to
		done_at=$(completed $to)
	}
	[ -z "$done_at" ] || echo "$took $done_at" >>"$work/took.$1.$2"
}

uniform() { # uniform N
	target=1.02
	[ "$1" -le 8 ] || target=1.03
	uniform_run 1 "$1"
	also="arrived_seconds $(arrived arrived)"
	# shellcheck disable=SC2086
	result uniform "$(several "$1")" "$took" "$plain" $target $to
	also=
	forget "$name"
}

# reference COLUMN SOURCES N: sets $alike to the median time without a fault, of the command (1) or
# until completion (2).
reference() {
	[ -s "$work/took.$2.$3" ] || {
		uniform_run "$2" "$3"
		forget "$name"
	}
	[ -s "$work/took.$2.$3" ] || {
		say "a cast without a fault failed: $(tail -n 1 "$work/cast.err")"
		exit 1
	}
	alike=$(awk -v c="$1" '{ print $c }' "$work/took.$2.$3" | median)
}

case_uniform() {
	for count in $nodes; do repeat uniform "$count"; done
}

# The same in memory: N nodes on one machine share a disk, N machines do not.
case_memory() {
	[ "$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print int($4) }')" -gt $((bytes * n / 512)) ] || {
		missed memory "$(several "$n")" skipped 'no room in /dev/shm'
		return
	}
	end_servers
	disk=$files
	keep_files /dev/shm
	repeat in_memory
	end_servers
	rm -rf "$files"
	files=$disk
}

in_memory() {
	sources=1
	to=$(from_to 1 "$n")
	# shellcheck disable=SC2086
	{
		serve $to
		cast "$image" $to
		result memory "$(several "$n")" "$took" "$plain" 1.02 $to
	}
	forget "$name"
}

# --- sources: several of them share the work ---

case_sources() {
	for pair in $pairs; do repeat from_several "${pair%/*}" "${pair#*/}"; done
}

from_several() { # from_several SOURCES N
	uniform_run "$1" "$2"
	what="$1 sources, $(several "$2")"
	# shellcheck disable=SC2086
	{
		result sources "$what: all blocks between them, over T1/$1" "$(arrived covered)" \
			"$(over "$plain" "$1")" 1.1 $to
		result sources "$what: all complete" "$done_at" "$plain" 1.05 $to
	}
	forget "$name"
}

# As many nodes as the largest run has.
most() {
	# shellcheck disable=SC2086
	printf '%s\n' $nodes $mixed $peer_nodes $((n + 1))
	for pair in $pairs; do echo $((${pair%/*} + ${pair#*/} - 1)); done
}

# shellcheck disable=SC2086
{
	check_names case_ $cases
	check_names peer_ $peers
	check_names unequal_ $unequal
}
begin $(($(most | sort -n | tail -n 1) + 1))
pack "$image" "$layers"
bytes=$(wc -c <"$image/image")
runs=3 repeat plain_flow "$image/image" >"$work/plain"
plain=$(median <"$work/plain")
[ -n "$plain" ] || exit
for case in $cases; do
	"case_$case"
done
receivers=1 sources=1
line plain 'a plain flow in the end, over T1' "$(plain_flow "$image/image")" "$plain" null
