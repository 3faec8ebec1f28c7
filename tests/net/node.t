#!/bin/sh
# lsc-node: both processes, started again when they end, gone when it goes; what cannot start.
. tests/lib/tap.sh

mkdir "$SCRATCH/dir"
start_server node lsc-node --dir "$SCRATCH/dir" --listen 127.0.0.1:0 --exec 127.0.0.1:0
expect_equal "two addresses" "$(echo "$node" | wc -w)" 2
lsc-shard pack --dummy stories260k "$SCRATCH/image"
expect_status 0 "it takes part in casts" lsc-cast send "$SCRATCH/image" --to "${node% *}"
expect_equal "saying where it executes" \
	"$(lsc-msg to-json <"$SCRATCH/out" | grep -c "\"exec\":\"${node#* }\"")" 1

child() { cat "/proc/$node_pid/task/$node_pid/children" | tr ' ' '\n' | grep . |
	while read -r pid; do grep -q "$1" "/proc/$pid/comm" && echo "$pid"; done; }

again() { # again TOOL: kills it and waits until it serves again
	kill -KILL "$(child "$1")"
	i=0
	while ! grep -q "$1 serve runs again" "$SCRATCH/log.node" && [ $i -lt 100 ]; do
		sleep 0.1
		i=$((i + 1))
	done
}
again lsc-cast
expect_status 0 "a killed server is there again" \
	lsc-cast send "$SCRATCH/image" --to "${node% *}" --name again
again lsc-exec
expect_equal "a killed worker is, where it was" \
	"$(grep -c "lsc-exec serve runs again at ${node#* }" "$SCRATCH/log.node")" 1

gone() { # gone NAME PID...: all end within some seconds
	name=$1
	shift
	i=0
	for pid; do
		while kill -0 "$pid" 2>/dev/null && [ $i -lt 50 ]; do
			sleep 0.1
			i=$((i + 1))
		done
	done
	[ $i -lt 50 ]
	ok $? "$name"
}
children="$(child lsc-cast) $(child lsc-exec)"
kill -TERM "$node_pid"
wait "$node_pid"
expect_equal "SIGTERM is a clean end" $? 0
gone "and leaves no process" $children

start_server node lsc-node --dir "$SCRATCH/dir" --listen 127.0.0.1:0 --exec 127.0.0.1:0
children="$(child lsc-cast) $(child lsc-exec)"
kill -KILL "$node_pid"
gone "a killed supervisor takes its children along" $children

# A child that does not follow is killed five seconds after its time is over.
mkfifo "$SCRATCH/fifo"
lsc-node --dir "$SCRATCH/dir" --listen 127.0.0.1:0 --exec 127.0.0.1:0 --drain-timeout 1s --ready-fd 9 \
	9>"$SCRATCH/fifo" 2>"$SCRATCH/err" &
node_pid=$!
ended_at_exit $node_pid
expect_equal "the descriptor of readiness is closed, by the children too" \
	"$(timeout 10 cat "$SCRATCH/fifo" | wc -l)" 1
stuck=$(child lsc-exec)
kill -STOP "$stuck"
kill -TERM $node_pid
wait $node_pid
expect_equal "one that is stuck does not keep it from ending well" $? 0
gone "nor stays" "$stuck"

# --- as others start it ---

mkfifo "$SCRATCH/input"
exec 7<>"$SCRATCH/input"
start_server node sh -c 'exec lsc-node "$@" <"$0"' "$SCRATCH/input" --dir "$SCRATCH/dir" \
	--host localhost --insecure --exit-with-stdin --listen 0.0.0.0:0 --exec 0.0.0.0:0 7>&-
case $node in
localhost:*' localhost:'*) ok 0 "addresses as others reach them" ;;
*) ok 1 "addresses as others reach them: $node" ;;
esac
expect_status 0 "a cast there" lsc-cast send "$SCRATCH/image" --to "${node% *}"
expect_equal "says the same of the worker" \
	"$(lsc-msg to-json <"$SCRATCH/out" | grep -c "\"exec\":\"${node#* }\"")" 1
children="$(child lsc-cast) $(child lsc-exec)"
exec 7>&-
wait "$node_pid"
expect_equal "it ends well with its standard input" $? 0
gone "and its children do" $children
echo lsc-key1 >"$SCRATCH/no-key"
if lsc --features | grep -qx 'tls yes'; then
	expect_status 65 "a key on standard input that is none" \
		lsc-node --dir "$SCRATCH/dir" --key-file - <"$SCRATCH/no-key"
	expect_one_line "standard input"
else
	expect_status 69 "a key without TLS" \
		lsc-node --dir "$SCRATCH/dir" --key-file - <"$SCRATCH/no-key"
fi

# --- what cannot start ---

expect_status 64 "a time to leave in that is none" lsc-node --dir "$SCRATCH/dir" --drain-timeout soon
expect_status 64 "no directory given" lsc-node
expect_one_line "--dir is missing"
expect_status 74 "a directory that is not there" \
	lsc-node --dir "$SCRATCH/nowhere" --listen 127.0.0.1:0 --exec 127.0.0.1:0
expect_one_line "cannot serve '$SCRATCH/nowhere'"
start_server taken lsc-exec serve --dir "$SCRATCH/dir" --listen 127.0.0.1:0
expect_status 71 "an address that is taken" \
	lsc-node --dir "$SCRATCH/dir" --listen 127.0.0.1:0 --exec "$taken"
expect_one_line "$taken"
expect_status 71 "the other one" \
	lsc-node --dir "$SCRATCH/dir" --listen "$taken" --exec 127.0.0.1:0
expect_one_line "$taken"
mkdir "$SCRATCH/alone"
cp "$(command -v lsc-node)" "$SCRATCH/alone"
expect_status 127 "no such program" env PATH=/nowhere "$SCRATCH/alone/lsc-node" \
	--dir "$SCRATCH/dir" --listen 127.0.0.1:0 --exec 127.0.0.1:0
expect_one_line "cannot run 'lsc-exec'"
printf '#!/bin/sh\nexit 0\n' >"$SCRATCH/alone/lsc-exec"
chmod +x "$SCRATCH/alone/lsc-exec"
expect_status 74 "a program that is none of ours" "$SCRATCH/alone/lsc-node" \
	--dir "$SCRATCH/dir" --listen 127.0.0.1:0 --exec 127.0.0.1:0
expect_one_line "ended (status 0) before it was ready"
expect_status 64 "a worker that nobody can connect to" \
	lsc-node --dir "$SCRATCH/dir" --listen 127.0.0.1:0 --exec 0.0.0.0:0 \
	--insecure
grep -q "cannot be connected to" "$SCRATCH/err"
ok $? "which is said"
expect_status 74 "a descriptor that is closed" lsc-node --dir "$SCRATCH/dir" --ready-fd 8
done_testing
