#!/bin/sh
# A tier with real processes: casts into it, execution from it, what is shared, what is killed.
#
# LSC_TEST_REPEAT is how often the daemon is killed at a moment drawn by LSC_TEST_SEED (8); before a
# release: LSC_TEST_REPEAT=500 LSC_TEST_TIMEOUT=3600 tests/run tests/net/tier.t
. tests/lib/tap.sh
. tests/lib/arrivals.sh
. tests/lib/tier.sh
requires_command python3
requires_command jq

mkdir "$SCRATCH/disk" "$SCRATCH/disk2"
LSC_TIER=unix:$SCRATCH/t
export LSC_TIER

tier() { # tier OPTION...: the daemon, started again with the same place
	start_server tier lsc-tier serve --dir "$SCRATCH/disk" --disk 0 --host-mem 64M "$@"
}
kill_tier() {
	kill -KILL "$tier_pid"
	wait "$tier_pid" 2>/dev/null
}
stat_of() { lsc-tier stat --json | jq -c "$1"; }
image_of() { lsc-tier ls --json | jq -c "select(.name == \"$1\") | $2"; }
send() { timeout 60 lsc-cast send "$@" --to "$cast" >"$SCRATCH/arrivals" 2>"$SCRATCH/err"; }

# The holder of this tier, by the socket that it listens at.
holder() {
	inode=$(awk -v at="$SCRATCH/t.hold" '$8 == at && $4 == "00010000" { print $7 }' /proc/net/unix)
	for fd in /proc/[0-9]*/fd/3; do
		[ "$(readlink "$fd" 2>/dev/null)" = "socket:[${inode:-none}]" ] && echo "$fd" | cut -d/ -f3
	done
}
held() { ls -l "/proc/$(holder)/fd" | grep -c memfd; }

# What is held: a manifest and a name of each image, a table of each that is not whole, and cells.
expect_held() { # expect_held NAME
	want=$(($(lsc-tier ls --json | jq -s 'map(if .whole then 2 elif .have > 0 then 3 else 0 end) | add // 0') + $(stat_of .host.cells)))
	expect_equal "$1" "$(held)" "$want"
}

model base
model tuned 3 7 11
tier
start_server cast lsc-cast serve --dir "$LSC_TIER" --listen 127.0.0.1:0

# --- casts, and what is shared ---

expect_status 0 'a cast into a tier' send "$SCRATCH/base.lsc" --name base
alone=$(stat_of .host.used)
expect_equal 'it is whole' "$(image_of base .whole)" true
expect_status 0 'a second one that shares most of its blocks' send "$SCRATCH/tuned.lsc" --name tuned
both=$(stat_of .host.used)
cells=$(stat_of .host.cells)
[ "$both" -lt $((alone * 3 / 2)) ] && [ "$cells" -gt 16 ] && [ "$cells" -lt 24 ]
ok $? "both take less than one and a half: $alone, then $both bytes in $cells cells"
pages=$(($(stat -L -c '%b' /proc/"$(holder)"/fd/* | awk '{ n += $1 } END { print n }') * 512))
[ "$pages" -ge "$both" ] && [ "$pages" -lt $((both + 40 * 4096)) ]
ok $? "the kernel says so, too: $pages bytes"
expect_held 'all of it is held'
expect_status 0 'what is there is verified by a cast' send "$SCRATCH/base.lsc" --name base --verify-only

# --- execution ---

lsc-shard pack --dummy stories260k "$SCRATCH/dummy" 2>/dev/null
run() { timeout 60 lsc-exec run "$1" --prompt Once --ids -n 40 --temp 1 2>"$SCRATCH/err"; }
run "$SCRATCH/dummy" >"$SCRATCH/want"
lsc-cast send "$SCRATCH/dummy" --to "$cast" --name slow --max-rate 300k >/dev/null 2>&1 &
slow=$!
begins() { [ "$(image_of slow '.have > 0')" = true ]; }
within 'a slow cast begins' begins
run "$LSC_TIER/slow" >"$SCRATCH/got" &
exec=$!
sleep 0.2
expect_equal 'which is not all there while it is executed' "$(image_of slow .whole)" false
wait $exec
wait $slow
expect_same 'executed while it arrives, it says the same' "$SCRATCH/want" "$SCRATCH/got"

expect_status 0 'a model is cast that is there' send "$SCRATCH/dummy" --name dummy
run "$LSC_TIER/dummy" >"$SCRATCH/got"
expect_same 'executed from a tier, it says what it says from files' "$SCRATCH/want" "$SCRATCH/got"
[ -s "$SCRATCH/got" ]
ok $? 'which is something'

lsc-tier ls --inventory --node here | lsc-msg to-json >"$SCRATCH/inventory"
expect_equal 'an inventory says when it is true, and of which node' "$(jq -c --argjson now "$(date +%s)" \
	'select(.type == "node") | [.node, .t > $now - 60 and .t < $now + 60]' "$SCRATCH/inventory")" '["here",true]'
expect_equal 'and has an image for each tier, as it is in memory at least' \
	"$(jq -c 'select(.name == "dummy" and .tier == "host") | .whole' "$SCRATCH/inventory")" true

# --- in use ---

mkfifo "$SCRATCH/prompt"
lsc-exec run "$LSC_TIER/dummy" --prompt - -n 4 <"$SCRATCH/prompt" >/dev/null 2>&1 &
exec=$!
exec 8>"$SCRATCH/prompt"
is_leased() { [ "$(image_of "$1" .leased)" = true ]; }
within 'whoever executes it uses it' is_leased dummy
expect_status 75 'what is in use is not evicted' lsc-tier evict dummy
expect_one_line "'dummy' is in use"
maps=$(grep 'memfd:lsc-' "/proc/$exec/maps" | grep -v manifest)
[ -n "$maps" ] && ! echo "$maps" | grep -q ' r*w'
ok $? 'which it cannot write to'
kill -KILL $exec
exec 8>&-
wait $exec 2>/dev/null
expect_status 0 'whoever is killed does not use it any more' lsc-tier evict dummy
expect_status 0 'it comes again' send "$SCRATCH/dummy" --name dummy

# --- a worker, and a pipeline over it ---

start_server worker lsc-exec serve --dir "$LSC_TIER" --listen 127.0.0.1:0
arrivals "$SCRATCH/dummy" "$worker" all >"$SCRATCH/there"
echo '{"id":1,"prompt":"Once","n":40}' |
	timeout 60 lsc-pipe "$SCRATCH/dummy" --arrivals "$SCRATCH/there" >"$SCRATCH/out" 2>"$SCRATCH/err"
jq -j 'select(.type == "done") | .text' "$SCRATCH/out" >"$SCRATCH/got"
lsc-exec run "$SCRATCH/dummy" --prompt Once -n 40 2>/dev/null | head -c -1 >"$SCRATCH/text"
expect_same 'a worker of a tier answers as a process on files does' "$SCRATCH/text" "$SCRATCH/got"
kill "$worker_pid"
wait "$worker_pid"

# --- the receiver is killed ---

expect_status 0 "nobody uses it" lsc-tier evict dummy slow
lsc-cast send "$SCRATCH/dummy" --to "$cast" --name third --max-rate 300k >/dev/null 2>&1 &
slow=$!
within 'half of it is there' sh -c '[ "$(lsc-tier ls --json |
	jq "select(.name == \"third\") | .have * 2 >= .pieces")" = true ]'
kill -KILL "$cast_pid"
wait "$cast_pid" 2>/dev/null
kill $slow 2>/dev/null
wait $slow 2>/dev/null
had=$(image_of third .have)
total=$(image_of third .pieces)
within 'nobody receives it any more' sh -c '[ "$(lsc-tier ls --json |
	jq "select(.name == \"third\") | .receiving")" = false ]'
start_server cast lsc-cast serve --dir "$LSC_TIER" --listen 127.0.0.1:0 -v
expect_status 0 'the next cast' send "$SCRATCH/dummy" --name third
expect_equal 'moves the rest alone' \
	"$(lsc-msg to-json <"$SCRATCH/arrivals" | jq 'select(.type == "node" and .role == "receiver") | .pieces')" "$had"
[ "$had" -lt "$total" ]
ok $? "which is $((total - had)) pieces of $total"
expect_status 0 'and all is right' send "$SCRATCH/dummy" --name third --verify-only

# --- the holder is killed ---

kill -KILL "$(holder)"
has_holder() { [ -n "$(holder)" ]; }
within 'a holder that was killed is replaced' has_holder
expect_held 'and has all of it'
kill_tier
tier
expect_equal 'so that a daemon that is killed finds it' "$(image_of base .whole)" true
expect_held 'and nothing more'

# --- two of them ---

expect_status 71 'another one at its socket is refused' timeout 10 lsc-tier serve --dir "$SCRATCH"
expect_one_line 'a tier listens at'
expect_status 71 'and one on its directory' \
	timeout 10 lsc-tier serve --dir "$SCRATCH/disk" --tier "unix:$SCRATCH/other"
expect_one_line 'already'

# --- killed at any moment ---

awk -v seed="${LSC_TEST_SEED:-1}" -v n="${LSC_TEST_REPEAT:-8}" \
	'BEGIN { srand(seed); for (i = 0; i < n; i++) print rand() * 0.06 }' >"$SCRATCH/moments"
lost=0
n=0
while read -r moment; do
	n=$((n + 1))
	{
		lsc-tier evict tuned
		timeout 20 lsc-cast send "$SCRATCH/tuned.lsc" --to "$cast" --name tuned
	} >/dev/null 2>&1 &
	work=$!
	sleep "$moment"
	kill_tier
	tier
	wait $work 2>/dev/null
	[ "$(image_of base .whole)" = true ] || lost=$((lost + 1))
	[ "$(image_of tuned .whole)" = true ] || send "$SCRATCH/tuned.lsc" --name tuned || lost=$((lost + 1))
	send "$SCRATCH/tuned.lsc" --name tuned --verify-only || lost=$((lost + 1))
	send "$SCRATCH/base.lsc" --name base --verify-only || lost=$((lost + 1))
done <"$SCRATCH/moments"
expect_equal "of $n daemons that were killed none lost what was whole" $lost 0
expect_held 'and nothing leaks into the holder'

# --- rights ---

if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null 2>&1; then
	public=$(mktemp -d "${TMPDIR:-/tmp}/lsc-tier.XXXXXX")
	end_public() { rm -rf "$public"; }
	call_at_exit end_public
	chmod 755 "$public"
	cp "$(command -v lsc-tier)" "$public/lsc-tier"
	mkdir "$SCRATCH/other"
	ask() { setpriv --reuid 65534 --clear-groups "$public/lsc-tier" "$@" --tier "unix:$public/$at"; }
	at=private
	start_server private lsc-tier serve --dir "$SCRATCH/disk2" --tier "unix:$public/private"
	expect_status 74 'another user may not connect' ask ls
	expect_one_line 'Permission denied'
	at=shared
	start_server shared lsc-tier serve --dir "$SCRATCH/other" --tier "unix:$public/shared" \
		--allow read:65534
	expect_status 0 'unless options say so' ask ls
	expect_status 74 'who may read may not evict' ask evict base
	expect_one_line "user 65534 may not 'evict' here"
else
	skip 'not root'
fi

# --- ends ---

for name in base tuned third dummy slow; do lsc-tier evict "$name" 2>/dev/null; done
is_empty() { [ "$(stat_of .host.used)" = 0 ]; }
within 'memory is 0 when nothing is there' is_empty
expect_equal 'and the holder holds nothing' "$(held)" 0
send "$SCRATCH/base.lsc" --name base
last=$(holder)
kill -TERM "$tier_pid"
wait "$tier_pid"
expect_equal 'SIGTERM is a clean end' $? 0
within 'and frees all' [ ! -e "/proc/$last" ]
tier --leave
send "$SCRATCH/base.lsc" --name base
kill -TERM "$tier_pid"
wait "$tier_pid"
tier
expect_equal 'but for what is left to the next' "$(image_of base .whole)" true
kill -TERM "$tier_pid"
wait "$tier_pid"
expect_status 74 'who asks a tier that is not there is told' lsc-tier ls
expect_one_line 'cannot reach the tier'
done_testing
