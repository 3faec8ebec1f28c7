#!/bin/sh
# lsc-cast send --launch: receivers that are started for a cast, by a command and by ssh to a real
# sshd on loopback, and that nothing of them is left, however the cast ends.
. tests/lib/tap.sh
. tests/lib/sshd.sh
PATH=$PATH:/usr/sbin:/sbin

lsc-shard pack --dummy smollm2-135m --layers 2 "$SCRATCH/image.lsc"
image=$SCRATCH/image.lsc/image
size=$(wc -c <"$image")
cast=$TOP/${LSC_BIN:-bin}/lsc-cast

# Folders for three nodes, which are addresses of this machine; none has the image.
fresh() {
	rm -rf "$SCRATCH/n"
	mkdir -p "$SCRATCH/n/127.0.0.1" "$SCRATCH/n/127.0.0.2" "$SCRATCH/n/127.0.0.3"
}

# Without TLS there are no keys, and casts are launched with --insecure.
lsc --features | grep -qx 'tls yes' && open= || open=--insecure
send() { lsc-cast send "$SCRATCH/image.lsc" --dir "$SCRATCH/n/{}" $open "$@"; }

whole() { # whole NODE...: each has the image
	for node; do
		expect_same "$node has the image" "$SCRATCH/n/$node/image.lsc/image" "$image"
	done
}

left() { ps -eo args | grep -c "^[^ ]*lsc-cast serve --exit-with-stdin.*$SCRATCH"; }

none_left() {
	i=0
	while [ "$(left)" -gt 0 ] && [ $i -lt 100 ]; do
		sleep 0.1
		i=$((i + 1))
	done
	expect_equal "$1: no receiver is left" "$(left)" 0
}

begin() { # begin OPTION...: a cast to two nodes that takes 8 s, in the background; $pid
	lsc-cast send "$SCRATCH/image.lsc" --dir "$SCRATCH/n/{}" --to '127.0.0.[1-2]' $open \
		--max-rate $((size / 8)) "$@" >/dev/null 2>"$SCRATCH/begun.err" &
	pid=$!
	ended_at_exit $pid
}

# Until N nodes have something of the image.
until_under_way() {
	i=0
	while [ "$(ls -d "$SCRATCH"/n/*/image.lsc.part 2>/dev/null | wc -l)" -lt "$1" ] &&
		[ $i -lt 100 ]; do
		sleep 0.1
		i=$((i + 1))
	done
}

# --- serve ---

mkdir "$SCRATCH/served"
(sleep 0.3) | timeout 10 lsc-cast serve --dir "$SCRATCH/served" --listen 127.0.0.1:0 --exit-with-stdin \
	--ready-fd 1 >"$SCRATCH/out" 2>"$SCRATCH/err"
expect_equal 'serve --exit-with-stdin ends in good order' "$?" 0
expect_equal 'and says nothing of it' "$(wc -c <"$SCRATCH/err")" 0
expect_status 74 'not with an input that cannot be waited for' lsc-cast serve --dir "$SCRATCH/served" \
	--listen 127.0.0.1:0 --exit-with-stdin <"$image"

# --- a command ---

fresh
expect_status 0 'a command' send --to '127.0.0.[1-3]' --launch env
whole 127.0.0.1 127.0.0.2 127.0.0.3
none_left 'after a cast'
grep -q '^lsc-cast send: 3 nodes complete' "$SCRATCH/err"
ok $? 'it ends with a summary'

fresh
cat >"$SCRATCH/launcher" <<'END'
echo "$1 is $LSC_NODE" >>"$SCRATCH/launched"
shift
echo "Welcome to this node: 12:30"
exec "$@"
END
export SCRATCH
expect_status 69 'a command that fails for a node' send --to '127.0.0.[1-3]' \
	--launch "echo {} is not here >&2; test {} != 127.0.0.2 && sh '$SCRATCH/launcher' {}"
whole 127.0.0.1 127.0.0.3
grep -qx 'lsc-cast send: warning: 127.0.0.2: not launched: 127.0.0.2 is not here' "$SCRATCH/err"
ok $? 'the node is named, with the last it said'
grep -q ': 1 of 3 nodes could not be launched' "$SCRATCH/err"
ok $? 'and counted'
expect_equal '{} and $LSC_NODE are the host' "$(sort "$SCRATCH/launched" | tr '\n' ' ')" \
	'127.0.0.1 is 127.0.0.1 127.0.0.3 is 127.0.0.3 '
none_left 'after one that failed'

expect_status 69 'where none starts' send --to '127.0.0.[1-2]' --launch 'exit 3;'
expect_equal 'nothing is cast' "$(tail -n 1 "$SCRATCH/err")" \
	'lsc-cast send: no node could be launched'
grep -q '127.0.0.1: not launched: ended with status 3' "$SCRATCH/err"
ok $? 'its status is told where it says nothing'
expect_status 69 'one that does not start' send --to 127.0.0.1 --launch 'sleep 60;' \
	--launch-timeout 300ms
grep -q 'not launched: did not start within' "$SCRATCH/err"
ok $? 'is not waited for'

fresh
expect_status 69 'more than are started at once' send --to '127.0.0.[1-80]' \
	--launch 'test {} = 127.0.0.77 || test {} = 127.0.0.1 && exec'
whole 127.0.0.1
grep -q ': 79 of 80 nodes could not be launched' "$SCRATCH/err"
ok $? 'each is settled'
grep -q "127.0.0.77: not launched: .*cannot serve '$SCRATCH/n/127.0.0.77'" "$SCRATCH/err"
ok $? 'and has its reason'

lsc-cast send "$SCRATCH/image.lsc" $open --dir / --to 127.0.0.1 --launch "echo >'$SCRATCH/begun'; sleep 61.$$;" \
	2>/dev/null &
pid=$!
while [ ! -e "$SCRATCH/begun" ]; do sleep 0.05; done
began=$(date +%s)
kill -TERM $pid
wait $pid
expect_equal 'SIGTERM while nodes are launched' $? 143
[ $(($(date +%s) - began)) -le 2 ] && ! ps -eo args | grep -qx "sleep 61.$$"
ok $? 'ends them at once'

# Those with a port serve already; both kinds in one cast.
fresh
start_node one
expect_status 0 'some are there already' send --to "127.0.0.1,$one" --launch env --insecure
whole 127.0.0.1
expect_same 'the other has it too' "$SCRATCH/one/image.lsc/image" "$image"

fresh
odd="$SCRATCH/n/127.0.0.1/it's a \$(dir)"
mkdir "$odd"
expect_status 0 'a folder with an odd name' lsc-cast send "$SCRATCH/image.lsc" --to 127.0.0.1 $open \
	--launch env --dir "$SCRATCH/n/{}/it's a \$(dir)"
expect_same 'has the image' "$odd/image.lsc/image" "$image"

for sig in TERM KILL; do
	fresh
	begin --launch env
	until_under_way 2
	expect_equal "$sig comes while two receive" "$(left)" 2
	kill -$sig $pid
	wait $pid 2>/dev/null
	expect_equal 'status' $? "$([ $sig = TERM ] && echo 143 || echo 137)"
	none_left "SIG$sig"
done

expect_status 64 '--launch without --dir' lsc-cast send "$SCRATCH/image.lsc" --to a --launch ssh
expect_one_line '--launch needs --dir'
expect_status 64 '--dir without --launch' lsc-cast send "$SCRATCH/image.lsc" --to a --dir /tmp
expect_one_line '--dir is for --launch'

# --- keys ---

launched() { # launched NODE: the address at which it was started
	sed -n "s/.*: $1: launched, at //p" "$SCRATCH/begun.err"
}
serving() { # pids of launched receivers
	ps -eo pid,args | sed -n "s|^ *\([0-9]*\) [^ ]*lsc-cast serve --exit-with-stdin.*$SCRATCH.*|\1|p"
}
finish() { # the cast that was begun
	kill -TERM $pid
	wait $pid 2>/dev/null
	none_left "$1"
}
lsc-shard pack --dummy smollm2-135m --layers 1 "$SCRATCH/other.lsc"
other() { lsc-cast send "$SCRATCH/other.lsc" "$@"; }

fresh
begin --launch env --insecure -v
until_under_way 2
expect_equal '--insecure is passed on' \
	"$(ps -eo args | grep -c "^[^ ]*lsc-cast serve.*$SCRATCH.* --insecure$")" 2
grep -q 'warning: --insecure: ' "$SCRATCH/begun.err"
ok $? 'and warned of'
expect_status 0 'others may send there then' other --to "$(launched 127.0.0.1)"
finish 'without a key'

if [ -n "$open" ]; then
	expect_status 69 'no key without TLS' lsc-cast send "$SCRATCH/image.lsc" \
		--dir "$SCRATCH/n/{}" --to 127.0.0.1 --launch env
	expect_one_line 'TLS is not built in'
else
	lsc-cast keygen "$SCRATCH/key" && lsc-cast keygen "$SCRATCH/key2"
	digits=$(sed 's/.* //' "$SCRATCH/key")

	fresh
	begin --launch env -v
	until_under_way 2
	expect_equal 'two receive with a key that is drawn' \
		"$(ps -eo args | grep -c "^[^ ]*lsc-cast serve.*$SCRATCH.* --key-file -$")" 2
	at=$(launched 127.0.0.1)
	expect_status 76 'nobody else sends to them' other --to "$at"
	expect_one_line "$at: wants a key"
	expect_status 76 'nor with another key' other --to "$at" --key-file "$SCRATCH/key"
	expect_one_line "$at: refused key "
	for served in $(serving); do
		tr '\0' '\n' <"/proc/$served/environ"
		tr '\0' '\n' <"/proc/$served/cmdline"
	done | grep -qE 'lsc-key1|[0-9a-f]{64}'
	ok $((1 - $?)) 'it is in no command line and no environment'
	finish 'with a key that is drawn'

	fresh
	begin --launch env --key-file "$SCRATCH/key" -v
	until_under_way 2
	at=$(launched 127.0.0.2)
	expect_status 76 "nobody sends without the sender's key" other --to "$at"
	expect_status 0 'whoever has it does' other --to "$at" --key-file "$SCRATCH/key"
	for served in $(serving); do
		cat "/proc/$served/environ" "/proc/$served/cmdline"
	done | grep -q "$digits"
	ok $((1 - $?)) 'it is in no command line and no environment'
	finish "with the sender's key"

	fresh
	LSC_KEY_FILE=$SCRATCH/key expect_status 0 'a key from the environment' \
		send --to '127.0.0.[1-2]' --launch 'env LSC_KEY_FILE=/nowhere'
	whole 127.0.0.1 127.0.0.2
	fresh
	expect_status 0 'cleartext data, with a key that is drawn' \
		send --to '127.0.0.[1-2]' --launch env --cleartext-data
	whole 127.0.0.1 127.0.0.2

	fresh
	rm -rf "$SCRATCH/one/"*
	expect_status 64 'no key is drawn where others serve already' \
		send --to "127.0.0.1,$one" --launch env
	expect_one_line 'serve already: give --key-file, the key of these, or --insecure'
	expect_status 64 'nor where they are sources' \
		send --to 127.0.0.1 --sources "$one" --launch env
	expect_equal 'nothing came of it' "$(ls "$SCRATCH/one" "$SCRATCH/n/127.0.0.1")" \
		"$(printf '%s:\n\n%s:' "$SCRATCH/n/127.0.0.1" "$SCRATCH/one")"
	mkdir "$SCRATCH/keyed"
	start_server keyed lsc-cast serve --dir "$SCRATCH/keyed" --listen 127.0.0.1:0 \
		--key-file "$SCRATCH/key"
	expect_status 0 'with their key it is one cast' \
		send --to "127.0.0.1,$keyed" --launch env --key-file "$SCRATCH/key"
	whole 127.0.0.1
	expect_same 'the other has it too' "$SCRATCH/keyed/image.lsc/image" "$image"
fi

# --- ssh ---

if start_sshd; then
	fresh
	expect_status 0 'ssh' send --to '127.0.0.[1-2]' --launch ssh --program "$cast"
	whole 127.0.0.1 127.0.0.2
	none_left 'after ssh'

	fresh
	expect_status 69 'a node that ssh does not reach' send --to '127.0.0.[1-3]' --launch ssh \
		--program "$cast"
	whole 127.0.0.1 127.0.0.2
	grep -q '127.0.0.3: not launched: ssh: connect to .*refused' "$SCRATCH/err"
	ok $? "ssh's words are the reason"

	expect_status 69 'a program that is not there' send --to 127.0.0.1 --launch ssh \
		--program /nowhere/lsc-cast
	grep -qi '127.0.0.1: not launched: .*/nowhere/lsc-cast: no such file' "$SCRATCH/err"
	ok $? 'the shell says so'

	fresh
	odd="$SCRATCH/n/127.0.0.1/it's a \$(dir)"
	mkdir "$odd"
	expect_status 0 'a folder with an odd name' lsc-cast send "$SCRATCH/image.lsc" --to 127.0.0.1 $open \
		--launch ssh --program "$cast" --dir "$SCRATCH/n/{}/it's a \$(dir)"
	expect_same 'has the image' "$odd/image.lsc/image" "$image"

	fresh
	begin --launch ssh --program "$cast"
	until_under_way 2
	kill -KILL $pid
	wait $pid 2>/dev/null
	none_left 'ssh, and SIGKILL'
else
	skip 'no sshd of our own here'
	tail -n 2 "$SCRATCH/err" "$SCRATCH/sshd.log" 2>/dev/null | note
fi
done_testing
