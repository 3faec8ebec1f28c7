#!/bin/sh
# A tier and its disk: what a cast brings is written there, leaves memory when others need the room,
# and comes back; what two images share is there once; what is damaged harms nothing else.
. tests/lib/tap.sh
. tests/lib/tier.sh
requires_command python3
requires_command jq

mkdir "$SCRATCH/disk"
LSC_TIER=unix:$SCRATCH/t
export LSC_TIER
tier() { start_server tier lsc-tier serve --dir "$SCRATCH/disk" "$@"; }
kill_tier() {
	kill -KILL "$tier_pid"
	wait "$tier_pid" 2>/dev/null
}
end_tier() {
	kill -TERM "$tier_pid"
	wait "$tier_pid"
}
image_of() { lsc-tier ls --json | jq -c "select(.name == \"$1\") | $2"; }
stat_of() { lsc-tier stat --json | jq -c "$1"; }
is() { [ "$(image_of "$1" "$2")" = true ]; } # is IMAGE WHAT
send() { timeout 60 lsc-cast send "$@" --to "$cast" >/dev/null 2>"$SCRATCH/err"; }
run() { timeout 60 lsc-exec run "$1" --prompt Once --ids -n 20 2>"$SCRATCH/err"; }

model base
model tuned 3 7 11
lsc-shard pack --dummy stories260k --seed 1 "$SCRATCH/one.lsc" 2>/dev/null
lsc-shard pack --dummy stories260k --seed 2 "$SCRATCH/two.lsc" 2>/dev/null
tier --host-mem 64M
start_server cast lsc-cast serve --dir "$LSC_TIER" --listen 127.0.0.1:0

# --- to disk and back ---

send "$SCRATCH/one.lsc" --name one
within 'what a cast brings is written to disk' is one .disk
expect_same 'as it is' "$SCRATCH/one.lsc/image" "$SCRATCH/disk/one/image"
expect_status 0 'it leaves memory' lsc-tier evict one
expect_equal 'and is on disk alone' "$(image_of one '[.whole, .disk, .host]')" '[false,true,0]'
expect_status 0 'it is told why it is where it is' lsc-tier explain one
grep -q 'on disk alone' "$SCRATCH/out"
ok $? 'in words'
run "$SCRATCH/one.lsc" >"$SCRATCH/want"
run "$LSC_TIER/one" >"$SCRATCH/got"
expect_same 'who executes it has it come, and says the same' "$SCRATCH/want" "$SCRATCH/got"
within 'it is whole in memory again' is one .whole
lsc-tier evict one
expect_status 0 'it is loaded' lsc-tier load one
expect_equal 'by then it is there' "$(image_of one .whole)" true
expect_status 0 'to be verified by a cast' send "$SCRATCH/one.lsc" --name one --verify-only
expect_status 74 'what is nowhere is not loaded' lsc-tier load none
expect_one_line "no image 'none' here"

cp -r "$SCRATCH/two.lsc" "$SCRATCH/disk/two"
within 'an image that somebody puts there is found' is two .disk
lsc-tier load two
mkdir "$SCRATCH/to"
start_server plain lsc-cast serve --dir "$SCRATCH/to" --listen 127.0.0.1:0
lsc-tier evict two
expect_status 0 'what is on disk alone is sent' \
	timeout 60 lsc-cast send "$LSC_TIER/two" --to "$plain"
expect_same 'as it is' "$SCRATCH/two.lsc/image" "$SCRATCH/to/two/image"

# --- stored once ---

send "$SCRATCH/base.lsc" --name base
within 'a base is on disk' is base .disk
before=$(du -s --block-size=1 "$SCRATCH/disk" | cut -f1)
send "$SCRATCH/tuned.lsc" --name tuned
within 'and one that was tuned' is tuned .disk
added=$(($(du -s --block-size=1 "$SCRATCH/disk" | cut -f1) - before))
[ "$added" -lt $(($(stat -c %s "$SCRATCH/tuned.lsc/image") / 2)) ]
ok $? "which takes $added bytes more, of $(stat -c %s "$SCRATCH/tuned.lsc/image")"
expect_status 0 'the base is removed' lsc-tier rm base
expect_equal 'and gone' "$(image_of base .name)$(ls "$SCRATCH/disk" | grep base)" ''
expect_status 0 'the other is whole' lsc-shard verify "$SCRATCH/disk/tuned"
lsc-tier evict tuned
expect_status 0 'and comes into memory' lsc-tier load tuned
expect_status 0 'to be what it was' send "$SCRATCH/tuned.lsc" --name tuned --verify-only
expect_status 0 'there is nothing to clean' lsc-tier gc
grep -q '^0 bytes freed' "$SCRATCH/out"
ok $? 'it says'

# --- pins, and a daemon that is killed ---

lsc-tier pin one
lsc-tier load --priority 7 two
expect_status 75 'what is pinned is not evicted' lsc-tier evict one
expect_one_line "'one' is pinned"
expect_status 75 'nor removed' lsc-tier rm one
kill_tier
tier --host-mem 64M
expect_equal 'pins and priorities outlive the daemon' \
	"$(image_of one .pinned)$(image_of two .priority)" true7
expect_equal 'as do images in memory' "$(image_of one .whole)$(image_of two .whole)" truetrue
end_tier
tier --host-mem 64M
expect_equal 'and its end, on disk' "$(image_of one '[.whole, .disk, .pinned]')" '[false,true,true]'
lsc-tier unpin one

# --- room ---

end_tier
bytes=$(stat -c %s "$SCRATCH/one.lsc/image")
tier --host-mem $((bytes * 3 / 2))
lsc-tier load one
expect_status 0 'a load that needs the room gets it' lsc-tier load two
expect_equal 'from what is on disk, too' "$(image_of one .whole)$(image_of two .whole)" falsetrue
[ "$(stat_of .host.used)" -le "$(stat_of .host.capacity)" ]
ok $? 'no more is used than may be'
mkfifo "$SCRATCH/hold"
lsc-exec run "$LSC_TIER/two" --prompt Once --ids -n 400 >"$SCRATCH/hold" 2>/dev/null &
exec=$!
exec 5<"$SCRATCH/hold"
head -c 8 <&5 >/dev/null
expect_status 74 'what is in use does not make room' lsc-tier load one
expect_one_line 'is used by 1 process'
kill "$exec" 2>/dev/null
wait "$exec" 2>/dev/null
exec 5<&-
expect_status 0 'once it is not, it does' lsc-tier load one

# --- what goes wrong ---

lsc-tier evict one
printf X | dd of="$SCRATCH/disk/one/image" bs=1 seek=70000 conv=notrunc 2>/dev/null
lsc-tier load one >"$SCRATCH/out" 2>"$SCRATCH/err"
[ $? -ne 0 ]
ok $? 'what is damaged on disk does not come'
expect_one_line "'one' did not come"
expect_status 0 'others do' lsc-tier load two
end_tier
tier --host-mem 64M --disk 1M
send "$SCRATCH/base.lsc" --name base
expect_equal 'what disk has no room for is in memory' "$(image_of base '[.whole, .disk]')" '[true,false]'
unsaved() { [ "$(stat_of .events.unsaved)" -ge 1 ]; }
within 'and said not to be written' unsaved
[ ! -e "$SCRATCH/disk/base" ] && [ -z "$(ls -A "$SCRATCH/disk" | grep new)" ]
ok $? 'nothing of it is left there'
expect_status 0 'it explains that' lsc-tier explain base
grep -q 'only copy' "$SCRATCH/out"
ok $? 'in words'
done_testing
