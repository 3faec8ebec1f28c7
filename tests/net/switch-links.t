#!/bin/sh
# Keys and values on their way to another node in an emulated cluster, encrypted: over a link that is
# fast; over one that is slower than was thought; and from a stage that is killed in the middle.
. tests/lib/tap.sh
. tests/lib/arrivals.sh
requires_namespaces
requires_command jq
[ "${LSC_BIN:-bin}" = bin ] || skip_all 'links and processors, which are compared here, would not go together in this build'

cluster() { examples/cluster.sh "$SCRATCH" "$@"; }
end_cluster() { [ ! -f "$SCRATCH/cluster" ] || cluster down; }
call_at_exit end_cluster

mkdir "$SCRATCH/images"
image=$SCRATCH/images/model
lsc-shard pack --dummy smollm2-135m --layers 6 --dtype f32 --blocks 8 "$image"
cluster up 3 400mbit

# worker I: starts that of node I
worker() {
	start_server "worker$1" examples/cluster.sh "$SCRATCH" exec "$1" lsc-exec serve \
		--dir "$SCRATCH/images" --listen "$(cluster address "$1"):0" --threads 1
}
for i in 0 1 2; do worker $i; done

long=$(yes ' and so on' | head -n 80 | tr -d '\n')
echo "{\"id\":1,\"prompt\":\"Once upon a time$long\",\"max_tokens\":40}" >"$SCRATCH/request"

# ask T OPTION...: over two halves until there are three tokens; node 2 has all then, in T seconds.
# What $meanwhile names is done before that, and $then when the request moves.
ask() {
	t=$1
	shift
	rm -f "$SCRATCH/arrivals"
	mkfifo "$SCRATCH/arrivals"
	cluster exec 0 timeout 120 lsc-pipe -vv "$image" --arrivals "$SCRATCH/arrivals" "$@" \
		<"$SCRATCH/request" >"$SCRATCH/out" 2>"$SCRATCH/err" &
	pipe=$!
	exec 9>"$SCRATCH/arrivals"
	arrivals "$image" "$worker0 $worker1 $worker2" 0,1,2,6 3,4,5,6 6 | lsc-msg to-json |
		grep -v '"end"' | lsc-msg from-json >&9
	while kill -0 $pipe 2>/dev/null && [ "$(grep -c '"token"' "$SCRATCH/out")" -lt 3 ]; do
		sleep 0.05
	done
	[ -z "${meanwhile:-}" ] || $meanwhile
	echo "{\"type\":\"complete\",\"t\":$t,\"node\":2}" | lsc-msg from-json >&9
	if [ -n "${then:-}" ]; then
		while kill -0 $pipe 2>/dev/null && ! grep -q 'to node 2: ' "$SCRATCH/err"; do
			sleep 0.05
		done
		sleep 0.5
		$then
	fi
	wait $pipe
	status=$?
	exec 9>&-
}
text() { jq -c 'select(.type == "done") | [.tokens, .text]' "$SCRATCH/out"; }
switch() { jq -r "select(.type == \"switch\") | $1" "$SCRATCH/out"; }
expect_whole() { # expect_whole NAME
	expect_equal "$1: the request is answered" $status 0
	expect_equal "$1: with the same text" "$(text)" "$want"
	expect_equal "$1: each token once, in order" "$(jq -s 'map(select(.type == "token").pos) |
		. == [range(.[0]; .[0] + 40)]' "$SCRATCH/out")" true
}

ask 5 --switch never
want=$(text)
expect_equal "a request is answered over two nodes" "$status ${want%%,*}" "0 [40"

ask 5 --switch move
expect_whole "a fast link"
expect_equal "a fast link: it moves" "$(switch .how)" move
expect_equal "at about the link's speed" \
	"$(switch '.bytes / .took_s | . > 5e6 and . < 60e6')" true

slow_link() { cluster rate 2 4mbit; }
meanwhile=slow_link
ask 5 --switch auto
expect_whole "a link that is slower than was thought"
expect_equal "is given up" "$(switch '[.how, .why] | join(": ")')" "recompute: it took too long"

kill_stage() { kill -9 "$worker1_pid"; }
then=kill_stage
ask 5 --switch move
expect_whole "a stage that is killed in the middle"
expect_equal "the rest is computed" "$(switch .how)" recompute
expect_equal "for a reason" "$(switch '.why | test("lost|reset|closed|refused|next stage|end")')" true
done_testing
