#!/bin/sh
# lsc-launch: programs on nodes, by a command and by ssh; when they are ready, end, or do not begin.
. tests/lib/tap.sh
. tests/lib/sshd.sh
PATH=$PATH:/usr/sbin:/sbin

# start_server puts --ready-fd last, so programs here are without options of their own.

# One that says addresses, and ends with its standard input.
cat >"$SCRATCH/program" <<'END'
#!/bin/sh
echo "Welcome at 12:30"
echo "$1:$2 0.0.0.0:9"
read -r line
echo "$1 $line $3" >>"$SCRATCH/said"
cat >/dev/null
echo "$1 ended" >>"$SCRATCH/said"
END
chmod +x "$SCRATCH/program"
export SCRATCH
echo 'a secret' >"$SCRATCH/input"

# --- lists ---

expect_status 0 'nodes, one a line' lsc-launch --dry-run --to 'node[1-2],10.0.0.1:7000,unix:a'
expect_equal 'and whether they run' "$(tr '\t\n' ' ,' <"$SCRATCH/out")" \
	'node1 launch,node2 launch,10.0.0.1:7000 runs,unix:a runs,'

# --- a command ---

start_server two lsc-launch --to 'b,127.0.0.9:70,a[1-2]' --launch env --input "$SCRATCH/input" \
	"$SCRATCH/program" {} 80 "it's {any}"
expect_equal 'addresses in the order of nodes' "$two" 'b:80,127.0.0.9:70,a1:80,a2:80'
kill -TERM "$two_pid"
wait "$two_pid"
expect_equal 'a signal ends it well' $? 0
expect_equal 'each had the input, and its arguments' "$(grep secret "$SCRATCH/said" | sort | tr '\n' ,)" \
	"a1 a secret it's 0.0.0.0,a2 a secret it's 0.0.0.0,b a secret it's 0.0.0.0,"
expect_equal 'and ended with standard input' "$(grep -c ended "$SCRATCH/said")" 3

expect_status 0 'where all run already nothing is started' timeout 5 sh -c \
	'lsc-launch --to 127.0.0.9:70 --ready-fd 3 true 3>"$SCRATCH/ready" & pid=$!
	until [ -s "$SCRATCH/ready" ]; do sleep 0.05; done; kill $pid; wait $pid'
expect_equal 'and it is told' "$(cat "$SCRATCH/ready")" 127.0.0.9:70

: >"$SCRATCH/said"
expect_status 69 'a node on which it does not start' lsc-launch --to 'a[1-3]' \
	--launch "test {} != a2 || { echo no {} >&2; exit 3; };" -- "$SCRATCH/program" {} 80
grep -qx 'lsc-launch: warning: a2: not launched: no a2' "$SCRATCH/err"
ok $? 'is named, with what was said'
expect_equal 'the others ended' "$(grep -c ended "$SCRATCH/said")" 2
start_server rest lsc-launch --to 'a[1-3]' --keep-going \
	--launch "test {} != a2 || { echo no {} >&2; exit 3; };" "$SCRATCH/program" {} 80
expect_equal '--keep-going goes without it' "$rest" a1:80,a3:80
kill -TERM "$rest_pid"
wait "$rest_pid"
expect_status 69 'one that says nothing is not waited for' lsc-launch --to a --launch env \
	--launch-timeout 300ms -- sleep 60
grep -q 'a: not launched: did not start within' "$SCRATCH/err"
ok $? 'which is said'

# One that ends later is told of; when all have, it ends.
printf '#!/bin/sh\necho $1:80; sleep 0.3; echo $1 had enough >&2; exit 4\n' >"$SCRATCH/brief"
chmod +x "$SCRATCH/brief"
start_server gone lsc-launch --to 'a[1-2]' --launch env "$SCRATCH/brief" {}
wait "$gone_pid"
expect_equal 'nodes that all ended' $? 69
expect_equal 'each with what it said last' \
	"$(sed -n 's/lsc-launch: warning: //p' "$SCRATCH/log.gone" | sort | tr '\n' ,)" \
	'a1 ended: a1 had enough,a2 ended: a2 had enough,'

lsc-launch --to a --launch env -- sleep "61.$$" 2>/dev/null &
pid=$!
i=0
until ps -eo args | grep -qx "sleep 61.$$" || [ $i -gt 100 ]; do
	sleep 0.05
	i=$((i + 1))
done
kill -INT $pid 2>/dev/null
kill -TERM $pid
wait $pid
expect_equal 'a signal before they are ready' $? 143
! ps -eo args | grep -qx "sleep 61.$$"
ok $? 'ends them'

expect_status 64 'no node' lsc-launch true
expect_one_line '--to is missing'
expect_status 64 'no program' lsc-launch --to a
expect_one_line 'no program to launch'
expect_status 64 'a node twice' lsc-launch --to a,a true
expect_status 74 'an input that is not there' lsc-launch --to a --input "$SCRATCH/nowhere" true
expect_one_line "cannot open '$SCRATCH/nowhere'"
expect_status 74 'a descriptor that is closed' lsc-launch --to a --launch env --ready-fd 8 true

# --- a node, with a key that comes by its standard input ---

if lsc --features | grep -qx 'tls yes'; then
	mkdir "$SCRATCH/127.0.0.1" "$SCRATCH/127.0.0.2"
	lsc-cast keygen "$SCRATCH/key"
	cat >"$SCRATCH/node" <<'END'
#!/bin/sh
exec lsc-node --host $1 --dir "$SCRATCH/$1" --listen "$2:0" --exec "$2:0" --exit-with-stdin \
	--ready-fd 1 --key-file -
END
	chmod +x "$SCRATCH/node"
	start_server nodes lsc-launch --to '127.0.0.[1-2]' --launch env --input "$SCRATCH/key" \
		"$SCRATCH/node" {} '{any}'
	lsc-shard pack --dummy stories260k "$SCRATCH/image"
	expect_status 76 'they want the key' lsc-cast send "$SCRATCH/image" --to "$nodes"
	expect_status 0 'and take an image with it' lsc-cast send "$SCRATCH/image" --to "$nodes" \
		--key-file "$SCRATCH/key"
	expect_equal 'a node tells where others reach its worker' \
		"$(lsc-msg <"$SCRATCH/out" | grep -cE '"exec":"127.0.0.[12]:[0-9]+"')" 2
	children=$(ps -eo pid,args | sed -n "s,^ *\([0-9]*\) lsc-[a-z]* .*$SCRATCH/127.*,\1,p")
	kill -KILL "$nodes_pid"
	i=0
	for pid in $children; do
		while kill -0 "$pid" 2>/dev/null && [ $i -lt 100 ]; do
			sleep 0.05
			i=$((i + 1))
		done
	done
	[ -n "$children" ] && [ $i -lt 100 ]
	ok $? 'whoever launched them is killed: they end'
else
	skip 'TLS is not built in'
fi

# --- ssh ---

if start_sshd; then
	: >"$SCRATCH/said"
	start_server far lsc-launch --to '127.0.0.[1-2]' --input "$SCRATCH/input" \
		env SCRATCH="$SCRATCH" "$SCRATCH/program" {} 80 far
	expect_equal 'ssh' "$far" 127.0.0.1:80,127.0.0.2:80
	kill -TERM "$far_pid"
	wait "$far_pid"
	expect_equal 'and back' "$(sort "$SCRATCH/said" | tr '\n' ,)" \
		'127.0.0.1 a secret far,127.0.0.1 ended,127.0.0.2 a secret far,127.0.0.2 ended,'
else
	skip 'no sshd of our own here'
fi
done_testing
