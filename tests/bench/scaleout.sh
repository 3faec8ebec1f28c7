#!/bin/sh
# A burst that meets k nodes with the model while eight minus k others are given it: how long requests
# wait for their first token, and how many tokens a second there are, in four ways to scale out; in
# network namespaces with a link and a share of a processor for each node, as root.
#
#	tests/bench/run scaleout >lines
#	tests/bench/table <lines
#	tests/bench/lib/scaleout-plot.py DIR <lines	draws DIR/scaleout-K.svg
#
#	LSC_BENCH_MODES		which: kway kway-load tree-load store-load (all)
#	LSC_BENCH_K		how many nodes have the model (1 2)
#	LSC_BENCH_NODES		how many there are in all (8)
#	LSC_BENCH_RATE		of each node's link (30mbit)
#	LSC_BENCH_CPU		of each node, in percent of one processor (10)
#	LSC_BENCH_LAYERS	of the model (16)
#	LSC_BENCH_REQUESTS	requests a second for each node that has the model (5)
#	LSC_BENCH_BURST		for how long they come (18s)
#	LSC_BENCH_KV		room of a node for keys and values: how many run there at once (20M)
#	LSC_BENCH_SEED		of the burst (1)
#	LSC_BENCH_PIPE		options of lsc-pipe, besides (none)
#
# kway: execute while loading, after `lsc-cast send --order kway`.  kway-load: the same cast, and a node
# runs requests when it has the whole model and not before.  tree-load: the same after a binary tree's
# cast.  store-load: all others load it from one more node at once, over that node's one link.  The nodes
# that have the model run requests from the first moment, whatever the mode.
#
# All modes get the same requests at the same times; the answers are greedy, and those of one mode
# have to be those of the others, or the benchmark fails.  A line is a mode; its arrays "ttft" and "out"
# are what the plots are made of.
set -u
bench=scaleout
mbit=
LSC_BENCH_RATE=${LSC_BENCH_RATE:-30mbit}
work=${LSC_SCRATCH:-$(mktemp -d "${TMPDIR:-/tmp}/lsc-bench.XXXXXX")}
modes=${LSC_BENCH_MODES:-kway kway-load tree-load store-load}
counts=${LSC_BENCH_K:-1 2}
nodes=${LSC_BENCH_NODES:-8}
cpu=${LSC_BENCH_CPU:-10}
layers=${LSC_BENCH_LAYERS:-16}
requests=${LSC_BENCH_REQUESTS:-5}
burst=${LSC_BENCH_BURST:-18s}
kv=${LSC_BENCH_KV:-20M}
seed=${LSC_BENCH_SEED:-1}
image=$work/scaleout
store=$nodes          # a node of its own, with a link like the others
front=$((nodes + 1)) # router, gate and those who ask
. tests/bench/lib/emulated.sh
. tests/bench/lib/scaleout.sh

for mode in $modes; do
	case $mode in
	kway | kway-load | tree-load | store-load) ;;
	*)
		say "there is no mode '$mode'"
		exit 64
		;;
	esac
done
for need in lsc-gate lsc-replay; do
	$need --features | grep -Eqx '(curl|microhttpd) yes' || {
		say "$need is built without HTTP, not measured"
		exit 0
	}
done
begin $((nodes + 2))
in_memory
if ! cluster cpu "$front" 100 2>/dev/null || ! cluster cpu "$store" 100; then
	say 'no shares of a processor to be had here, not measured'
	exit 0
fi
cluster rate "$front" 10gbit
lsc-shard pack -q --dummy smollm2-135m --layers "$layers" --vocab 4096 --untied --dtype q8 "$image" || exit
status=0
for k in $counts; do
	for mode in $modes; do
		scale_out "$k" "$mode" || status=1
	done
	compare "$k" || status=1
done
exit $status
