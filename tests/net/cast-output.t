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

send -q >/dev/full
lost 'a full disk' $?

send -q >&-
lost 'a closed output' $?

mkfifo "$SCRATCH/gone"
: <"$SCRATCH/gone" &
{
	wait $!
	send -q
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
	'block cast complete end hello node progress stats '
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

# A plan: nobody is there, and nothing is sent.
expect_status 0 '--dry-run' lsc-cast send "$SCRATCH/image.lsc" --to 'n[1-3]' -n --link 1gbit
grep -q '^  n1:7000 feeds n2:7000$' "$SCRATCH/out" &&
	grep -q '^predicted: .* s, 1\.0.* x one copy at 117.7 MB/s' "$SCRATCH/out"
ok $? 'who feeds whom, and the time'
expect_status 0 '--dry-run --json' lsc-cast send "$SCRATCH/image.lsc" --to 'n[1-3]' --sources m \
	--dry-run --json --max-rate 10M --link 10gbit
expect_equal 'one object' "$(jq -c '[.type, (.rate | floor), (.nodes | map(.role)), .nodes[0].feeds,
	(.seconds == .copies * .bytes / .rate)]' "$SCRATCH/out")" \
	'["plan",10485760,["source","source","receiver","receiver","receiver"],[2],true]'
expect_status 74 '--dry-run to a full disk' sh -c \
	"lsc-cast send '$SCRATCH/image.lsc' --to a -n >/dev/full"

# Standard error: bars for a terminal, lines elsewhere, and a summary.
send >"$SCRATCH/out"
! grep -q "$(printf '\033')" "$SCRATCH/err"
ok $? 'no bars but on a terminal'
grep -q "^lsc-cast send: $one: complete after [0-9.]* s$" "$SCRATCH/err"
ok $? 'a line when a node is complete'
grep -q '^lsc-cast send: 1 node complete in [0-9.]* s: .* at [0-9.]* GB/s together' "$SCRATCH/err"
ok $? 'and a summary'
rm -rf "$SCRATCH/one/image.lsc"
send --no-progress --link 1gbit >"$SCRATCH/out"
expect_one_line ' x one copy at 118 MB/s'
send --no-progress >"$SCRATCH/out"
expect_one_line 'nothing was to be moved'
rm -rf "$SCRATCH/one/image.lsc"
send -q >"$SCRATCH/out"
expect_equal 'nothing with -q' "$(wc -c <"$SCRATCH/err")" 0
rm -rf "$SCRATCH/one/image.lsc"
send -v >"$SCRATCH/out"
grep -q "sending 'image.lsc' to 1 nodes, throughput" "$SCRATCH/err"
ok $? '-v tells the beginning'
rm -rf "$SCRATCH/one/image.lsc"
# What it cost, as a table.
send -q --stats >"$SCRATCH/out"
expect_equal '--stats: a line for each node' "$(awk '{ print $1 }' "$SCRATCH/err" | tr '\n' ' ')" \
	"node local $one "
size=$(wc -c <"$SCRATCH/image.lsc/image")
awk -v size="$size" -v node="$one" 'NR == 1 { next } NF != 6 { bad = 1 }
	{ moved = $2 + $3; rate = $5; want = $4 / moved * 1000 }
	rate < want - 0.02 || rate > want + 0.02 || $6 < 0.1 || $6 > 500 { bad = 1 }
	$1 == node && ($2 * 1e6 < size || $2 * 1e6 > size * 1.02 || $3 > 1) { bad = 1 }
	$1 != node && ($3 * 1e6 < size || $3 * 1e6 > size * 1.02) { bad = 1 }
	END { exit bad }' "$SCRATCH/err"
ok $? 'megabytes received and sent, CPU seconds in all and for a gigabyte, memory'
note <"$SCRATCH/err"
send -q --stats >"$SCRATCH/out"
expect_equal 'nothing moved, nothing for a gigabyte' "$(awk -v node="$one" '$1 == node { print $5 }' \
	"$SCRATCH/err")" -
rm -rf "$SCRATCH/one/image.lsc"
esc=$(printf '\033')
send --progress >"$SCRATCH/out"
grep -q "$esc\[K" "$SCRATCH/err"
ok $? 'bars where they are asked for'
size=$(wc -c <"$SCRATCH/image.lsc/image")
rm -rf "$SCRATCH/one/image.lsc"
began=$(date +%s)
send --max-rate $((size / 6)) >"$SCRATCH/out"
took=$(($(date +%s) - began))
grep -q '^lsc-cast send: 1 nodes: *[0-9]*%, 1 receiving, .* together, ETA 0:0[0-9]' "$SCRATCH/err"
ok $? 'a line after 5 seconds'
seconds=$(sed -n 's/.*complete in \([0-9]*\).*/\1/p' "$SCRATCH/err")
[ "$seconds" -ge 5 ] && [ "$seconds" -ge $((took - 1)) ] && [ "$seconds" -le $((took + 1)) ]
ok $? "the summary's seconds are right: $seconds of $took"
if script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
	on_terminal() { # on_terminal COLUMNS OPTION...
		columns=$1
		shift
		rm -rf "$SCRATCH/one/image.lsc"
		script -qec "stty cols $columns rows 20; \
			lsc-cast send $SCRATCH/image.lsc --to $one $* >$SCRATCH/out" /dev/null \
			</dev/null >"$SCRATCH/terminal"
	}
	on_terminal 90
	expect_equal 'on a terminal' $? 0
	grep -q '##########\] 100% .* complete' "$SCRATCH/terminal"
	ok $? 'there are bars'
	grep -q '1 node complete in' "$SCRATCH/terminal"
	ok $? 'and the summary below'
	on_terminal 40 --no-progress
	expect_equal 'or only that' "$(grep -c "$esc" "$SCRATCH/terminal")" 0
	on_terminal 40
	sed -e "s/$esc\[[0-9]*[AJK]//g" "$SCRATCH/terminal" | tr -d '\r' |
		grep -v '^lsc-cast' | awk 'length($0) > 39 { exit 1 }'
	ok $? 'no bar is wider than the terminal'
	rm -rf "$SCRATCH/one/image.lsc"
	script -qec "lsc-cast send $SCRATCH/image.lsc --to $one --json" /dev/null </dev/null \
		>"$SCRATCH/terminal"
	grep -q '^{"type":"end"' "$SCRATCH/terminal" && ! grep -q "$esc" "$SCRATCH/terminal"
	ok $? 'and none between records'
	on_terminal 80 -q
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
