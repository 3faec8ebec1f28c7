#!/bin/sh
# lsc-cast between processes over loopback.
. tests/lib/tap.sh

lsc-shard pack --dummy smollm2-135m --layers 4 "$SCRATCH/image.lsc"
start_node one
start_node two
start_node three
to=$one,$two,$three

whole() { # whole NODE...: each has a verified, equal image and nothing half-written
	for node; do
		expect_same "$node has the image" "$SCRATCH/$node/image.lsc/image" "$SCRATCH/image.lsc/image"
		expect_status 0 "$node's verifies" lsc-shard verify "$SCRATCH/$node/image.lsc"
		[ ! -e "$SCRATCH/$node/image.lsc.part" ]
		ok $? "$node has no half image"
	done
}

forget() { for node; do rm -rf "$SCRATCH/$node/image.lsc"; done; }

for order in round-optimal chain tree sequential; do
	expect_status 0 "$order" lsc-cast send "$SCRATCH/image.lsc" --to "$to" --order $order
	lsc-msg to-json <"$SCRATCH/out" >"$SCRATCH/records"
	whole one two three
	[ $order = sequential ] || forget one two three
done

expect_equal "each is reported complete" "$(grep -c '"type":"complete"' "$SCRATCH/records")" 3
expect_equal "the cast ends" "$(grep -c '"type":"end"' "$SCRATCH/records")" 1
expect_status 0 "casting again" lsc-cast send "$SCRATCH/image.lsc" --to "$to"
expect_equal "moves no pieces" "$(lsc-msg to-json <"$SCRATCH/out" | grep -c '"type":"block"')" 0

forget one two
expect_status 0 "kway from two sources" lsc-cast send "$SCRATCH/image.lsc" --to "$one,$two" \
	--sources "$three" --order kway
whole one two

forget one two three
start=$(date +%s%N)
size=$(wc -c <"$SCRATCH/image.lsc/image")
expect_status 0 "held to a rate" lsc-cast send "$SCRATCH/image.lsc" --to "$to" \
	--max-rate $((size / 2))
took=$((($(date +%s%N) - start) / 1000000))
[ $took -ge 1800 ] && [ $took -le 6000 ]
ok $? "two seconds' worth takes $took ms"

for exec in nonsense 127.0.0.1:0 /a/path fd:3 0.0.0.0:7001 [::]:7001; do
	expect_status 64 "--exec $exec" lsc-cast send "$SCRATCH/image.lsc" --to "$one" --exec $exec
done

forget one two three
expect_status 69 "a node that is not there" lsc-cast send "$SCRATCH/image.lsc" --to 127.0.0.1:1
expect_one_line "127.0.0.1:1"
expect_status 1 "beside one that is" lsc-cast send "$SCRATCH/image.lsc" --to "$one,127.0.0.1:1"
expect_equal "is named" "$(sed 's/.*127/127/' "$SCRATCH/err" | head -n 1)" \
	"127.0.0.1:1': Connection refused, going on without it"

# A source whose bytes are not what its manifest says.
forget one two three
cp -r "$SCRATCH/image.lsc" "$SCRATCH/bad.lsc"
printf '\377\377' | dd of="$SCRATCH/bad.lsc/image" bs=1 seek=3000000 conv=notrunc 2>/dev/null
lsc-cast send "$SCRATCH/bad.lsc" --to "$to" >"$SCRATCH/out" 2>"$SCRATCH/err"
status=$?
[ $status -eq 65 ] || [ $status -eq 76 ]
ok $? "damaged bytes are found: status $status"
[ ! -e "$SCRATCH/one/bad.lsc" ] && [ ! -e "$SCRATCH/two/bad.lsc" ]
ok $? "and nobody has them"

# A node killed in the middle.
forget one two three
lsc-cast send "$SCRATCH/image.lsc" --to "$to" --max-rate $((size / 4)) \
	>"$SCRATCH/out" 2>"$SCRATCH/err" &
pid=$!
sleep 1
kill -KILL "$two_pid"
wait $pid
expect_equal "a killed node ends the cast with an error" $(($? != 0)) 1
grep -q "$two" "$SCRATCH/err"
ok $? "which names it"

kill -TERM "$one_pid"
wait "$one_pid"
expect_equal "SIGTERM is a clean end" $? 0
done_testing
