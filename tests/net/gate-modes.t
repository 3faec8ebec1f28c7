#!/bin/sh
# Nothing that a client of a gate sees depends on how it is answered: on one node, over a pipeline,
# through a switch of each kind, through a stage's death, and while a node leaves.  Greedy answers and
# drawn ones, as streams and at once, are what lsc-exec says alone, each token once.
. tests/lib/tap.sh
. tests/lib/arrivals.sh
. tests/lib/service.sh
. tests/lib/questions.sh
requires_feature microhttpd
requires_command jq
requires_command curl
requires_command python3

mkdir "$SCRATCH/images"
image=$SCRATCH/images/model
lsc-shard pack --dummy stories260k --blocks 7 --dtype f32 "$image"
tokens=400
[ "${LSC_BIN:-bin}" = bin ] || tokens=150
questions "$image" $tokens >"$SCRATCH/questions"
start_worker() { # start_worker NAME [ADDRESS]
	start_server "$1" lsc-exec serve --dir "$SCRATCH/images" --listen "${2:-127.0.0.1:0}" --threads 1
}
for node in a b c; do start_worker $node; done
start_gate gate
cluster() { curl -s "http://$gate/cluster" | jq -e "$1"; }
metric() { curl -s "http://$gate/metrics" | sed -n "s/^$1 //p"; }
say() { # say RECORD...: to the router
	printf '%s\n' "$@" | lsc-msg from-json >&8
}
complete() { say "{\"type\":\"complete\",\"t\":0.1,\"node\":$1}"; }
know() { # know BLOCKS...: the router is told of a, b and c, and that more may come
	arrivals "$image" "$a $b $c" "$@" | lsc-msg to-json | grep -v '"end"' | lsc-msg from-json >&8
}
halves() { know 0,1,2,5 3,4,5 5; }

# mode NAME SWITCHES [ROUTER-OPTION...]: all questions in all four ways, one client for each; what
# stands in $known is known before, and $meanwhile happens when each has some of its answer.
# SWITCHES tells how many requests move from a pipeline to a node.
mode() {
	mode_name=$1 mode_switches=$2
	shift 2
	start_router --stage-timeout 1s "$@"
	wait_for "$mode_name: the router is there" cluster '.model.name == "model"'
	$known
	wait_for "$mode_name: there is a route" curl -sf "http://$gate/health"
	rm -f "$SCRATCH/begun"
	switches=$(metric lsc_gate_switches_total)
	python3 tests/lib/witness.py "$gate" "$SCRATCH/questions" --clients 16 --each 1 \
		--begun "$SCRATCH/begun" >"$SCRATCH/witness" &
	witness=$!
	while [ ! -e "$SCRATCH/begun" ] && kill -0 $witness 2>/dev/null; do sleep 0.01; done
	running=$(metric lsc_gate_running)
	$meanwhile
	wait $witness
	expect_equal "$mode_name: answers are what one node says" $? 0
	note <"$SCRATCH/witness"
	[ "${running:-0}" -gt 0 ]
	ok $? "$mode_name: $running of 16 were under way meanwhile"
	switches=$(($(metric lsc_gate_switches_total) - switches))
	[ "$switches" -ge "$mode_switches" ] && { [ "$mode_switches" -gt 0 ] || [ "$switches" -eq 0 ]; }
	ok $? "$mode_name: $switches moved"
	kill "$router_pid"
	wait "$router_pid"
}

known='know all' meanwhile=:
mode "one node" 0
known=halves
mode "a pipeline" 0
meanwhile='complete 2'
mode "a switch" 1
mode "a switch, recomputed" 1 --switch recompute
mode "a switch, moved" 1 --switch move
mode "no switch" 0 --switch never

# The second half is at two nodes.
twice() { know 0,1,2,5 3,4,5 3,4,5; }
kill_stage() {
	kill -KILL "$b_pid" "$c_pid"
	wait "$b_pid" "$c_pid" 2>/dev/null
	start_worker b "$b"
	start_worker c "$c"
}
known=twice meanwhile=kill_stage
mode "stages die" 0

leave() {
	kill -TERM "$c_pid"
	wait "$c_pid"
	expect_equal "a node leaves: it ends well" $? 0
}
all_but_a() { know 5 all all; }
known=all_but_a meanwhile=leave
mode "a node leaves" 0
kill "$gate_pid"
wait "$gate_pid"
expect_equal "the gate has outlived all routers, and ends well" $? 0
done_testing
