#!/bin/sh
# lsc-tier prewarm: images are in memory by a given time, and not faster than it takes.
. tests/lib/tap.sh

mkdir "$SCRATCH/images"
lsc-shard pack -q --dummy smollm2-135m --layers 2 "$SCRATCH/images/one"
lsc-shard pack -q --dummy smollm2-135m --layers 1 "$SCRATCH/images/two"
size=$(wc -c <"$SCRATCH/images/one/image")
LSC_TIER=unix:$SCRATCH/tier.sock
export LSC_TIER
start_server tier lsc-tier serve --dir "$SCRATCH/images" --tier "$LSC_TIER"

expect_status 0 'far ahead' lsc-tier prewarm one --by +2h --at-most 100M/s --dry-run
expect_one_line "at 10.0 MiB/s: there at"
expect_status 1 'too late' lsc-tier prewarm one --by +1s --at-most 1M/s --dry-run
grep -q "late: '+1s' cannot be met at that rate" "$SCRATCH/err"
ok $? 'by how much is said'
expect_status 0 'gently enough to be there' lsc-tier prewarm one --by +5s --at-most 1000M/s --at-least 1M/s
lsc-tier ls --json | grep '"name":"one"' | grep -q '"whole":true'
ok $? 'and it is'
before=$(date +%s%N)
expect_status 0 'again' lsc-tier prewarm one --by +2h --at-most 1M/s
expect_one_line 'all is in memory'
[ $((($(date +%s%N) - before) / 1000000)) -lt 1000 ]
ok $? 'which takes no time'
lsc-tier evict one
before=$(date +%s%N)
expect_status 1 'slower than the time allows' lsc-tier prewarm one --by +100ms --at-most $((size / 2048))K/s
took=$((($(date +%s%N) - before) / 1000000))
[ $took -ge 1500 ] && [ $took -lt 6000 ]
ok $? "is $took ms at half of it a second"
grep -q 'ready .* s late' "$SCRATCH/err"
ok $? 'and that is said'
lsc-tier evict one
before=$(date +%s%N)
expect_status 0 'it begins late where there is time' lsc-tier prewarm one two --by +5s --at-most 1000M/s --at-least 900M/s
took=$((($(date +%s%N) - before) / 1000000))
[ $took -ge 2500 ] && [ $took -lt 5100 ]
ok $? "and is done in time: $took ms"
expect_equal 'both are there' "$(lsc-tier ls --json | grep -c '"whole":true')" 2

expect_status 74 'an image that is not here' lsc-tier prewarm one none --by +1h --at-most 1M/s
expect_one_line "no image 'none' here"
refuse() { # refuse MESSAGE OPTION...
	message=$1
	shift
	expect_status 64 "refuses $*" lsc-tier prewarm "$@"
	grep -qF -- "$message" "$SCRATCH/err"
	ok $? "saying: $message"
}
refuse 'IMAGE is missing' --by 08:55 --at-most 1M/s
refuse '--by is missing' one --at-most 1M/s
refuse '--at-most or --disk is missing' one --by 08:55
refuse "'noon' is not a time" one --by noon --at-most 1M/s
refuse "'2020-01-01 08:00' is over" one --by '2020-01-01 08:00' --at-most 1M/s
refuse "'fast' is not a rate" one --by 08:55 --at-most fast
done_testing
