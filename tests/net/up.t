#!/bin/sh
# lsc-up and lsc-down: from an image to an answer in one command and back, and that nothing is left
# where something is wrong, or somebody loses patience.
. tests/lib/tap.sh
. tests/lib/service.sh
. tests/lib/sshd.sh
requires_feature microhttpd
requires_command jq curl setsid flock
PATH=$PATH:/usr/sbin:/sbin

export LSC_STATE_DIR="$SCRATCH/states" XDG_CACHE_HOME="$SCRATCH/cache"
end_everything() {
	for service in "$LSC_STATE_DIR"/*; do
		[ ! -d "$service" ] || lsc-down -q "${service##*/}"
	done
}
call_at_exit end_everything

# Without TLS there are no keys, and nodes are launched with --insecure.
lsc --features | grep -qx 'tls yes' && open= || open=--insecure
lsc-shard pack --dummy smollm2-135m --layers 2 "$SCRATCH/model.lsc"
size=$(wc -c <"$SCRATCH/model.lsc/image")
up() {
	lsc-up "$SCRATCH/model.lsc" --listen 127.0.0.1:0 --launch env $open "$@"
}
begin() { # begin OPTION...: in the background, as $pid
	: >"$SCRATCH/out"
	# A shell lets what is in its background ignore SIGINT.
	env --default-signal=INT lsc-up "$SCRATCH/model.lsc" --listen 127.0.0.1:0 --launch env $open \
		"$@" >"$SCRATCH/out" 2>"$SCRATCH/err" &
	pid=$!
	ended_at_exit $pid
}
until_is() { # until_is [-s|-e] FILE: for 10 s at most
	i=0
	until test "$1" "$2" || [ $i -gt 100 ]; do
		sleep 0.1
		i=$((i + 1))
	done
}

# Whatever has the folder in its command line, or listens on a socket there, is ours.
left() { ps -eo pid,args | grep -E "[l]sc-(gate|pipe|cast|exec|node|launch) .*$SCRATCH" |
	grep -v "$SCRATCH/one "; }
none_left() { # none_left NAME
	[ -z "$(left)" ] && [ -z "$(find "$LSC_STATE_DIR" -mindepth 1 ! -name .lock)" ]
	none=$?
	ok $none "$1: nothing is left"
	[ $none -eq 0 ] || left | note
}

# --- up, and down ---

expect_status 0 'up' up --nodes '127.0.0.[1-2]' --wait
url=$(cat "$SCRATCH/out")
expect_equal 'prints where it is asked' "$(echo "$url" | grep -cE '^http://127.0.0.1:[0-9]+$')" 1
expect_equal 'and tells who is complete' \
	"$(grep -cE '^lsc-up: 127.0.0.[12]:[0-9]+: complete after [0-9.]+ s$' "$SCRATCH/err")" 2
curl -s "$url/v1/completions" -H 'Content-Type: application/json' \
	-d '{"prompt":"Once","max_tokens":3}' >"$SCRATCH/answer"
expect_equal 'it answers' "$(jq .usage.completion_tokens "$SCRATCH/answer")" 3
top_knows() { lsc-top --once | grep '^model.lsc at http.* ready, 2 of 2 nodes complete'; }
wait_for 'top knows it by its name' top_knows
expect_status 0 'down tells what runs' lsc-down --dry-run
expect_equal 'all that is needed' "$(cat "$SCRATCH/out")" 'gate, worker, nodes, router'
expect_status 75 'no second one of a name' up --nodes 127.0.0.9
expect_one_line "'default' is up already; 'lsc down default' ends it"
expect_equal 'nothing of it is in a place for others to see' \
	"$(stat -c %a "$LSC_STATE_DIR" "$LSC_STATE_DIR/default" | tr '\n' ' ')" '700 700 '
expect_status 0 'another name' up --nodes 127.0.0.3 --name other --no-exec
expect_status 0 'down' lsc-down
expect_one_line "'default' ended: gate, worker, nodes, router"
expect_status 0 'the other is there' lsc-top --once other
expect_status 0 'down, too' lsc-down other
none_left 'down'
expect_status 0 'once more' lsc-down
expect_one_line "'default' is not up"
expect_status 1 'nothing runs' lsc-down --dry-run

# --- what is killed ---

up -q --nodes 127.0.0.1 >"$SCRATCH/out"
expect_equal '-q says nothing' "$(wc -l <"$SCRATCH/out")" 1
while read -r role pid id; do
	# What is there now is of another time: none of ours.
	echo "$role $$ ${id%.*}.1" >>"$SCRATCH/pids"
	kill -KILL "$pid" 2>/dev/null
done <"$LSC_STATE_DIR/default/pids"
i=0
while [ -n "$(left)" ] && [ $i -lt 100 ]; do
	sleep 0.1
	i=$((i + 1))
done
cp "$SCRATCH/pids" "$LSC_STATE_DIR/default/pids"
expect_status 1 'what has another start is another process' lsc-down --dry-run
expect_status 0 'up after all was killed' up --nodes 127.0.0.1
gate=$(sed -n 's/^gate \([0-9]*\) .*/\1/p' "$LSC_STATE_DIR/default/pids")
kill -STOP "$gate"
expect_status 75 'one that does not end is killed' lsc-down --drain-timeout 1
grep -q "gate did not end in time, and was killed" "$SCRATCH/err"
ok $? 'which is said'
none_left 'all killed'

# --- with a signal, and in the foreground ---

begin --nodes 127.0.0.1 --max-rate $((size / 20)) --no-exec --dir "$SCRATCH/slow"
until_is -e "$SCRATCH/slow/model.lsc.part"
kill -INT $pid
wait $pid
expect_equal 'SIGINT while nodes load' $? 130
grep -qx 'lsc-up: interrupted; what was started is ended' "$SCRATCH/err"
ok $? 'is told'
none_left 'a signal'

begin --foreground --nodes 127.0.0.1
until_is -s "$SCRATCH/out"
lsc-down -q
ok $? 'down ends one in the foreground'
wait $pid
expect_equal 'which ends well' $? 0
none_left 'foreground'
begin --foreground --nodes 127.0.0.1
until_is -s "$SCRATCH/out"
kill -KILL "$(sed -n 's/^router \([0-9]*\) .*/\1/p' "$LSC_STATE_DIR/default/pids")"
wait $pid
expect_equal 'it ends when a part does' $? 137
grep -qx 'lsc-up: router: ended with status 137' "$SCRATCH/err"
ok $? 'which is told'
none_left 'a part that ended'

# --- what is wrong ---

mkdir "$SCRATCH/theirs"
ln -s "$SCRATCH/theirs" "$SCRATCH/link"
expect_status 74 'a folder that leads elsewhere' lsc-up "$SCRATCH/model.lsc" --nodes a \
	--state "$SCRATCH/link"
expect_one_line "'$SCRATCH/link' is not ours"
expect_status 74 'down does not believe it either' lsc-down --state "$SCRATCH/link"

expect_status 74 'no image' lsc-up "$SCRATCH/nowhere" --nodes 127.0.0.1
expect_one_line "$SCRATCH/nowhere"
mkdir "$SCRATCH/bad.lsc"
echo nonsense >"$SCRATCH/bad.lsc/manifest"
expect_status 65 'a damaged image' lsc-up "$SCRATCH/bad.lsc" --nodes 127.0.0.1
expect_status 69 'a node that cannot be reached' up --nodes '127.0.0.[1-3]' \
	--launch 'test {} != 127.0.0.2 || { echo no route to {} >&2; exit 255; }; exec'
grep -qx 'lsc-up: 127.0.0.2: not launched: no route to 127.0.0.2' "$SCRATCH/err"
ok $? 'is named'
none_left 'no such node'
expect_status 0 'or gone without' up --keep-going --nodes '127.0.0.[1-3]' \
	--launch 'test {} != 127.0.0.2 || { echo no route to {} >&2; exit 255; }; exec'
grep -q 'warning: 127.0.0.2: not launched' "$SCRATCH/err"
ok $? 'with a warning'
port=$(sed 's/.*://' "$LSC_STATE_DIR/default/url")
expect_status 71 'a port that is taken' lsc-up "$SCRATCH/model.lsc" --name other --nodes 127.0.0.4 \
	--launch env $open --listen "127.0.0.1:$port"
expect_one_line "127.0.0.1:$port"
lsc-down -q
none_left 'a port that is taken'
start_node one
expect_status 64 'launched nodes beside others want their key' lsc-up "$SCRATCH/model.lsc" --launch env \
	--nodes "127.0.0.1,$one"
expect_one_line 'give --key-file'
expect_status 0 'one that runs already is used' up --nodes "127.0.0.1,$one" --insecure --wait
expect_same 'it has the image' "$SCRATCH/one/model.lsc/image" "$SCRATCH/model.lsc/image"
lsc-down -q
expect_status 64 'no nodes' lsc-up "$SCRATCH/model.lsc"
expect_one_line '--nodes is missing'
expect_status 64 'no such option' lsc-up --nowhere
expect_status 64 'a name that leads elsewhere' lsc-up "$SCRATCH/model.lsc" --nodes a --name ../a
expect_status 64 'a list that is none' lsc-up "$SCRATCH/model.lsc" --nodes 'a['
expect_status 64 'a list that is not there' lsc-up "$SCRATCH/model.lsc" --nodes "@$SCRATCH/nowhere"

# --- ssh ---

if start_sshd; then
	expect_status 0 'by ssh' lsc-up "$SCRATCH/model.lsc" --nodes '127.0.0.[1-2]' --wait $open \
		--listen 127.0.0.1:0 --program "$TOP/${LSC_BIN:-bin}/lsc-node" --dir "$SCRATCH/far/{}"
	expect_same 'it is there' "$SCRATCH/far/127.0.0.2/model.lsc/image" "$SCRATCH/model.lsc/image"
	expect_status 0 'and back' lsc-down
	none_left 'ssh'
else
	skip 'no sshd of our own here'
fi
done_testing
