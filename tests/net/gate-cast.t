#!/bin/sh
# The whole way, with keys: a cast piped into a router, a gate in front that was there before, and a
# client whose answer begins while the model loads and ends on one node.
. tests/lib/tap.sh
. tests/lib/service.sh
requires_feature microhttpd
requires_feature tls
requires_data models
requires_command jq
requires_command curl

lsc-cast keygen "$SCRATCH/key"
export LSC_KEY_FILE="$SCRATCH/key"
mkdir "$SCRATCH/zero"
image=$SCRATCH/zero/model
lsc-shard pack --dtype f32 "$DATA/models/stories260K-fp32" "$image"
lsc-exec run "$image" --prompt 'Once upon' -n 200 >"$SCRATCH/alone"
start_server exec0 lsc-exec serve --dir "$SCRATCH/zero" --listen 127.0.0.1:0
for i in 1 2; do
	mkdir "$SCRATCH/$i"
	start_server exec$i lsc-exec serve --dir "$SCRATCH/$i" --listen 127.0.0.1:0
	eval "exec=\$exec$i"
	start_server cast$i lsc-cast serve --dir "$SCRATCH/$i" --listen 127.0.0.1:0 --exec "$exec"
done
start_gate gate

mkfifo "$SCRATCH/cast"
{
	lsc-cast send "$image" --to "$cast1,$cast2" --exec "$exec0" --max-rate 300K 2>"$SCRATCH/cast.err" |
		tee "$SCRATCH/cast.rec" >"$SCRATCH/cast"
} &
ended_at_exit $!
start_server router sh -c 'exec lsc-pipe "$@" <"$0"' "$SCRATCH/cast" \
	--listen "unix:$SCRATCH/pipe.sock" "$image"
LSC_KEY_FILE='' start_gate other
sleep 0.5
expect_equal "a gate without the key is not let in" \
	"$(curl -s "http://$other/health" | jq -r .status)" "no router"

# Answers of 200 tokens, one after another, from the first moment to the cast's end.
n=0
: >"$SCRATCH/differ"
while ! lsc-msg <"$SCRATCH/cast.rec" 2>/dev/null | grep -q '"end"' && [ $n -lt 300 ]; do
	ask /v1/completions '{"prompt":"Once upon","max_tokens":200,"temperature":0,"stream":true}'
	case $status in
	200)
		[ $n -gt 0 ] || lsc-msg <"$SCRATCH/cast.rec" >"$SCRATCH/at-first"
		n=$((n + 1))
		events -r 'map(.choices[].text) | add' | sed 's/^ //' | cmp - "$SCRATCH/alone" >>"$SCRATCH/differ" 2>&1
		;;
	*) sleep 0.1 ;;
	esac
done
[ $n -gt 1 ]
ok $? "answers come while the model does: $n of them"
grep -q '"complete"' "$SCRATCH/at-first"
ok $((! $?)) "the first before any node has all of it"
expect_equal "each has the text of one node" "$(cat "$SCRATCH/differ")" ""
ask /v1/completions '{"prompt":"Once upon","max_tokens":200,"temperature":0}'
answer '.choices[0].text' | sed 's/^ //' >"$SCRATCH/text"
expect_same "and so has one that comes after" "$SCRATCH/text" "$SCRATCH/alone"
cluster() { curl -s "http://$gate/cluster" | jq -e "$1"; }
wait_for "all nodes are complete in the end" cluster '[.nodes[] | select(.source | not).complete] == [true, true]'
wait_for "and one of them is the way" cluster '.stages | length == 1'
done_testing
