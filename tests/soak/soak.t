#!/bin/sh
# An hour of requests in three minutes, over nodes that come, load, die, leave and come again: every
# answer is whole, it is what one node says, and no process grows after its first minute.
#
# LSC_SOAK_SECONDS is how long it takes (180); the hour is as much faster.  LSC_SOAK_TRACE is a trace for
# lsc-replay, by default Azure's of conversations where $DATA has it, else one that is made up.
# LSC_SOAK_SCALE thins it out, so that this machine can answer it: 1 is all of it, by default where
# there is a minute and are no sanitizers.  LSC_SOAK_TABLE keeps what was seen of the processes.
. tests/lib/tap.sh
. tests/lib/arrivals.sh
. tests/lib/service.sh
. tests/lib/questions.sh
requires_feature microhttpd
requires_feature curl
requires_command jq
requires_command curl
requires_command python3

seconds=${LSC_SOAK_SECONDS:-180}
memory=--memory
scale=$([ "$seconds" -lt 60 ] && echo 0.25 || echo 1)
if [ "${LSC_BIN:-bin}" != bin ]; then # what sanitizers keep for themselves is not ours to judge
	memory=--no-memory
	scale=0.05
fi
# As many requests a second however short it is.
scale=$(jq -n "${LSC_SOAK_SCALE:-$scale} * $seconds / 180")
watched=${LSC_SOAK_TABLE:-$SCRATCH/watched}
: >"$watched"

# --- the trace ---

trace=${LSC_SOAK_TRACE:-$DATA/traces/AzureLLMInferenceTrace_conv.csv}
if [ -z "${LSC_SOAK_TRACE:-}" ] && [ ! -f "$trace" ]; then
	trace=$SCRATCH/trace.jsonl
	lsc-replay --dry-run --gamma 5.4,2 --duration 1h --prompt-tokens 60,1 --output-tokens 30,1 |
		jq -c 'select(.type == "due") | {timestamp: (.due * 1000), input_length: .prompt,
			output_length: .output}' >"$trace"
fi

# --- the service: two sources, a router and a gate ---

start_member() { # start_member NAME [CAST EXEC]: a node; its addresses in $NAME_cast and $NAME_exec
	mkdir -p "$SCRATCH/$1"
	start_server "$1" lsc-node --dir "$SCRATCH/$1" --listen "${2:-127.0.0.1:0}" \
		--exec "${3:-127.0.0.1:0}" --threads 1 --drain-timeout 10s
	eval "${1}_cast=\${$1% *} ${1}_exec=\${$1#* }"
}

mkdir "$SCRATCH/zero" "$SCRATCH/one"
image=$SCRATCH/zero/model
lsc-shard pack --dummy stories260k --blocks 7 --dtype f32 "$image"
bytes=$(lsc-shard ls --json "$image" | jq .bytes)
cp -r "$image" "$SCRATCH/one/model"
questions "$image" 40 >"$SCRATCH/questions"
start_server exec0 lsc-exec serve --dir "$SCRATCH/zero" --listen 127.0.0.1:0 --threads 1
start_member one
python3 tests/lib/processes.py watch $$ "$watched" &
watch=$!
ended_at_exit $watch
start_router --stage-timeout 2s
start_gate gate
cluster() { curl -s "http://$gate/cluster" | jq -e "$1"; }
metric() { curl -s "http://$gate/metrics" | sed -n "s/^$1 //p"; }
wait_for "the router is there" cluster '.model.name == "model"'
now() { python3 tests/lib/processes.py now "$1"; }
fds_of() { now "$1" | cut -d ' ' -f 2; }
gate_fds=$(fds_of "$gate_pid")
router_fds=$(fds_of "$router_pid")

# --- what happens to it ---

n_casts=0 last_cast=
# cast SECONDS NODE NODE: both new, get the image; the router is told of them as nodes that came
# to its cast later
cast() {
	start_member "$2"
	start_member "$3"
	eval "to=\$${2}_cast,\$${3}_cast"
	lsc-cast send "$image" --to "$to" --sources "$one_cast" --exec "$exec0" --json --timeout 10s \
		--max-rate $((bytes / $1)) 2>"$SCRATCH/log.cast$n_casts" |
		jq -c --unbuffered --argjson n $n_casts 'select(.type != "end" and
			($n == 0 or ((.node // 0) >= 2 and .type != "stats"))) |
			if (.node // 0) >= 2 then .node += 2 * $n else . end |
			if .type == "cast" then .nodes = 64 else . end' |
		lsc-msg from-json >&8 &
	last_cast=$!
	n_casts=$((n_casts + 1))
}
casts_end() { wait $last_cast; }
kill_exec() { # kill_exec NODE: its stage dies; lsc-node starts it again
	eval "pid=\$${1}_pid"
	for child in $(cat "/proc/$pid/task/$pid/children"); do
		grep -q lsc-exec "/proc/$child/comm" && kill -KILL "$child"
	done
}
bad_ends=
drain() { # drain NODE
	eval "pid=\$${1}_pid"
	kill -TERM "$pid"
	wait "$pid" || bad_ends="$bad_ends $1:$?"
	cat "$SCRATCH/log.$1" >>"$SCRATCH/log.all.$1"
}
rejoin() { # rejoin NODE: with what it has, where it was
	eval "start_member $1 \$${1}_cast \$${1}_exec"
}
at() { # at PERCENT of the time
	at_ms=$((began + seconds * $1 * 10 - $(date +%s%3N)))
	[ $at_ms -le 0 ] || sleep "$((at_ms / 1000)).$(printf %03d $((at_ms % 1000)))"
}

# What is there for as many requests at once as there may be is there from the first minute on: a
# machine that stands still for a while lets no more of them gather later.
most=$((seconds < 60 ? 40 : 200))
burst() {
	python3 tests/lib/witness.py "$gate" "$SCRATCH/questions" --clients $most --each 1 >"$SCRATCH/burst" ||
		bad_bursts="$bad_bursts $(cat "$SCRATCH/burst")"
}
bad_bursts=

load() { # load NAME OPTION...: the trace's requests
	load_name=$1
	shift
	lsc-replay --trace "$trace" --scale "$scale" --max-prompt-tokens 60 --max-output-tokens 32 \
		--tokens-per-word 4 --greedy --max-concurrency $most --json --records "$SCRATCH/$load_name.rec" \
		"$@" "http://$gate" >"$SCRATCH/$load_name" 2>"$SCRATCH/log.$load_name"
}
began=$(date +%s%3N)
load report --speed "$(jq -n "3600 / $seconds")" --duration "${seconds}s" &
replay=$!
ended_at_exit $replay
python3 tests/lib/witness.py "$gate" "$SCRATCH/questions" --clients 2 --until "$SCRATCH/enough" \
	>"$SCRATCH/witness" &
witness=$!
ended_at_exit $witness
pace=$(((seconds + 15) / 16))

cast $pace a b
burst
at 3
kill_exec a # while it loads
casts_end
at 12
cast $pace c d
at 14
drain a # what is left are parts and the sources: pipelines
drain b
burst
casts_end
at 24
kill_exec c
sleep 1
burst
at 30
rejoin a
drain a
cast 1 e f
casts_end
for percent in 40 52 64; do
	at $percent
	kill_exec e
	at $((percent + 5))
	drain f
	rejoin f
done
at 78
cast $pace g h
at 80
for node in c d e f; do drain $node; done
kill_exec g
casts_end
at 93
kill_exec h

wait $replay
expect_equal "the trace is replayed" $? 0
: >"$SCRATCH/enough"
wait $witness
expect_equal "all that is asked meanwhile is what one node says" $? 0
report() { jq -r "$1" "$SCRATCH/report"; }
expect_equal "many at once as well" "$bad_bursts" ""
expect_equal "every request has its answer" "$(report '.complete == .due and .failed == 0 and .due > 20')" true
expect_equal "drained nodes end well" "$bad_ends" ""
[ "$(metric lsc_router_switches_total)" -gt 0 ]
ok $? "requests moved from pipelines to nodes that became complete"
{
	report '"\(.complete) requests of \(.due), \(.requests_s) a second, \(.tokens) tokens, \(.at_once) at once, \(.waited) waited; ttft p50 \(.ttft_s.p50) s, p99 \(.ttft_s.p99) s, itl p99 \(.itl_s.p99) s"'
	tail -n 1 "$SCRATCH/witness"
	echo "routes $(metric lsc_gate_routes_total), switches $(metric lsc_router_switches_total), load $(cut -d ' ' -f 1 /proc/loadavg)"
	head -n -1 "$SCRATCH/witness"
	cat "$SCRATCH/log.report"
} | note

# --- afterwards ---

idle() { cluster '.running == 0 and .waiting == 0' && [ "$(fds_of "$gate_pid")" -eq "$gate_fds" ]; }
wait_for "then nothing is left, and the gate has the descriptors of its beginning" idle
# A link to each node that is there, and one that is being tried for each other.
[ "$(fds_of "$router_pid")" -le $((router_fds + 2 + 2 * n_casts)) ]
ok $? "the router has none but for its nodes: $router_fds, then $(fds_of "$router_pid")"
kill $watch
wait $watch
python3 tests/lib/processes.py judge "$watched" $((seconds / 3)) $memory >"$SCRATCH/judged"
note <"$SCRATCH/judged"
if [ "$seconds" -ge 120 ]; then
	expect_equal "memory, descriptors and threads stay flat" "$(grep '^not flat' "$SCRATCH/judged")" ""
fi

# --- what one node says to the same requests, the first of them ---

kill "$router_pid"
wait "$router_pid"
expect_equal "the router ends well" $? 0
start_router --keep 0
arrivals "$image" "$exec0" all >&8
wait_for "there is one node alone" cluster '.stages | length == 1'
load alone --speed 1e6 --limit $((seconds * 10))
expect_equal "it answers the beginning of the trace again" $? 0
answers() { # answers NAME: number and text of each, as a hash
	lsc-msg to-json <"$SCRATCH/$1.rec" |
		jq -c 'select(.type == "request" and .text) | [.request, .tokens, .text]' | sort
}
answers report >"$SCRATCH/answers"
answers alone >"$SCRATCH/want"
comm -13 "$SCRATCH/answers" "$SCRATCH/want" >"$SCRATCH/differ"
expect_equal "with the same texts" "$(head -n 5 "$SCRATCH/differ")" ""
[ "$(wc -l <"$SCRATCH/want")" -gt $seconds ]
ok $? "$(wc -l <"$SCRATCH/want") of $(wc -l <"$SCRATCH/answers")"
kill "$gate_pid"
wait "$gate_pid"
expect_equal "the gate ends well" $? 0
kill "$router_pid"
wait "$router_pid"
expect_equal "the second router too" $? 0
kill "$exec0_pid"
wait "$exec0_pid"
expect_equal "and a worker" $? 0
for node in g h one; do drain $node; done
expect_equal "and nodes" "$bad_ends" ""
grep -hE 'Sanitizer|runtime error|assert|corrupt' "$SCRATCH"/log.* >"$SCRATCH/trouble"
expect_equal "nobody leaks, or does what it must not" "$(head -n 20 "$SCRATCH/trouble")" ""
done_testing
