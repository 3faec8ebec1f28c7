#!/bin/sh
# lsc-node: both processes, started again when they end, gone when it goes.
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
old=$(child lsc-cast)
kill -KILL "$old"
i=0
while { new=$(child lsc-cast); [ -z "$new" ] || [ "$new" = "$old" ]; } && [ $i -lt 50 ]; do
	sleep 0.1
	i=$((i + 1))
done
sleep 0.3
expect_status 0 "a killed server is there again" \
	lsc-cast send "$SCRATCH/image" --to "${node% *}" --name again

children="$(child lsc-cast) $(child lsc-exec)"
kill -TERM "$node_pid"
wait "$node_pid"
expect_equal "SIGTERM is a clean end" $? 0
for pid in $children; do
	! kill -0 "$pid" 2>/dev/null
	ok $? "and leaves no process"
done
done_testing
