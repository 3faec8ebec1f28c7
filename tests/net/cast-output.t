#!/bin/sh
# lsc-cast send when its output cannot be written: the cast goes on, and the status says so.
. tests/lib/tap.sh

lsc-shard pack --dummy smollm2-135m --layers 1 "$SCRATCH/image.lsc"
requires_command jq
start_node one

send() { lsc-cast send "$SCRATCH/image.lsc" --to "$one" "$@" 2>"$SCRATCH/err"; }

lost() { # lost NAME STATUS
	expect_equal "$1" "$2" 74
	expect_one_line 'arrival records were not written'
	expect_same 'the image is there all the same' "$SCRATCH/one/image.lsc/image" \
		"$SCRATCH/image.lsc/image"
	rm -rf "$SCRATCH/one/image.lsc"
}

send >/dev/full
lost 'a full disk' $?

send >&-
lost 'a closed output' $?

mkfifo "$SCRATCH/gone"
: <"$SCRATCH/gone" &
{
	wait $!
	send
	status=$?
} >"$SCRATCH/gone"
lost 'a reader that went away' $status

# A pipe that is full and that nobody reads: the nodes get the image, and a signal ends the wait.
mkfifo "$SCRATCH/full"
sleep 60 <"$SCRATCH/full" &
ended_at_exit $!
{
	timeout 1 head -c 1048576 /dev/zero
	lsc-cast send "$SCRATCH/image.lsc" --to "$one" 2>"$SCRATCH/err" &
	pid=$!
	i=0
	while [ ! -d "$SCRATCH/one/image.lsc" ] && [ $i -lt 100 ]; do
		sleep 0.1
		i=$((i + 1))
	done
	sleep 0.5
	kill -TERM $pid
	(
		sleep 10
		kill -KILL $pid
	) 2>/dev/null &
	watchdog=$!
	wait $pid
	status=$?
	kill $watchdog
} >"$SCRATCH/full" 2>/dev/null
expect_equal 'a reader that does not read: SIGTERM ends it' $status 143
expect_same 'the image is there' "$SCRATCH/one/image.lsc/image" "$SCRATCH/image.lsc/image"
rm -rf "$SCRATCH/one/image.lsc"

# Records as JSON lines: what lsc-msg makes of them.
send --json >"$SCRATCH/out"
expect_equal '--json: the first line' "$(head -n 1 "$SCRATCH/out")" \
	'{"type":"hello","kind":"arrivals","version":[1,0]}'
expect_equal 'and the others' "$(jq -r .type "$SCRATCH/out" | sort -u | tr '\n' ' ')" \
	'block cast complete end hello node progress '
lsc-msg from-json <"$SCRATCH/out" | lsc-msg >"$SCRATCH/again"
expect_same 'they are records' "$SCRATCH/out" "$SCRATCH/again"
send --json >/dev/full
expect_equal 'a full disk' $? 74
rm -rf "$SCRATCH/one/image.lsc"

# Who is meant: a port for all, a file, an exclusion; each mistake in one line.
port=${one##*:}
printf '# here\n127.0.0.1\nnowhere # no such node\n' >"$SCRATCH/hosts"
expect_status 0 'nodes from a file' lsc-cast send "$SCRATCH/image.lsc" --to "@$SCRATCH/hosts" \
	--exclude nowhere,elsewhere --port "$port"
expect_status 0 'and from a job' env SLURM_JOB_NODELIST='127.0.0.[1-1]' \
	lsc-cast send "$SCRATCH/image.lsc" --to slurm: --port "$port"
rm -rf "$SCRATCH/one/image.lsc"
wrong() { # wrong MESSAGE OPTION...
	message=$1
	shift
	expect_status 64 "$*" env -u SLURM_JOB_NODELIST lsc-cast send "$SCRATCH/image.lsc" "$@"
	expect_one_line "$message"
}
wrong "node 'a:7000' is given twice" --to a,b,a:7000
wrong "node 'a:7000' is given twice" --to a,b --sources a
wrong 'this is no Slurm job' --to slurm:
wrong "cannot open '/nowhere'" --to @/nowhere
wrong '--exclude leaves no node' --to 'n[1-4]' --exclude 'n[1-9]'
wrong "'-oX' is no node" --to=-oX

# Standard error: bars for a terminal, and nothing but what was asked for otherwise.
send >"$SCRATCH/out"
expect_equal 'no bars but on a terminal' "$(wc -c <"$SCRATCH/err")" 0
rm -rf "$SCRATCH/one/image.lsc"
send -v >"$SCRATCH/out"
grep -q "sending 'image.lsc' to 1 nodes, chain" "$SCRATCH/err" &&
	grep -q 'all nodes have the image' "$SCRATCH/err"
ok $? '-v tells the beginning and the end'
if script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
	on_terminal() { # on_terminal OPTION...
		rm -rf "$SCRATCH/one/image.lsc"
		script -qec "lsc-cast send $SCRATCH/image.lsc --to $one $* >$SCRATCH/out" /dev/null \
			</dev/null >"$SCRATCH/terminal"
	}
	on_terminal
	expect_equal 'on a terminal' $? 0
	grep -q '##########\] 100% complete' "$SCRATCH/terminal"
	ok $? 'there are bars'
	esc=$(printf '\033')
	grep -q "$esc\[?7l" "$SCRATCH/terminal" && grep -q "$esc\[?7h" "$SCRATCH/terminal"
	ok $? 'whose lines do not wrap'
	on_terminal -q
	expect_equal 'and none with -q' "$(wc -c <"$SCRATCH/terminal")" 0
else
	skip 'no script here, or no pseudo-terminals'
fi

# As many descriptors as may be had, for casts to many nodes.
(
	ulimit -Sn 32
	start_node few
	awk '/Max open files/ { exit $4 != $5 }' "/proc/$few_pid/limits"
	status=$?
	kill "$few_pid"
	wait "$few_pid"
	exit $status
) >/dev/null
ok $? 'a low limit of descriptors is raised'
done_testing
