#!/bin/sh
# ./quickstart with a small model: as root and as anyone, ended in the middle, and misused; it
# leaves nothing behind.
. tests/lib/tap.sh
requires_data models/stories260K-bf16
requires_command jq tc unshare
[ "${LSC_BIN:-bin}" = bin ] || skip_all 'quickstart runs what is in bin/'

model=$DATA/models/stories260K-bf16
mkdir "$SCRATCH/tmp"
TMPDIR=$SCRATCH/tmp XDG_CACHE_HOME=$SCRATCH/cache
export TMPDIR XDG_CACHE_HOME

left() { ls "$TMPDIR"; }

# What a run has to say, whoever runs it.
expect_answers() { # expect_answers NAME COMMAND...
	name=$1
	shift
	expect_status 0 "$name: ends well" timeout 60 "$@" --model "$model" --rate 8mbit \
		--question 'Once upon a time'
	expect_equal "$name: says nothing on standard error" "$(cat "$SCRATCH/err")" ''
	grep -q 'Answer: , there was a little girl' "$SCRATCH/out"
	ok $? "$name: the answer"
	expect_equal "$name: nodes that were complete" "$(grep -c 'complete at' "$SCRATCH/out")" 3
	grep -q 'that first token comes after' "$SCRATCH/out"
	ok $? "$name: what load-then-run costs"
	expect_equal "$name: leaves nothing behind" "$(left)" ''
}

expect_answers 'here' ./quickstart
someone='unshare --user --map-user=1000 --map-group=1000'
if $someone unshare --user --map-root-user --net --mount --pid --fork true 2>/dev/null; then
	# shellcheck disable=SC2086
	expect_answers 'as someone else' $someone ./quickstart
else
	skip 'user namespaces are not allowed here'
fi
expect_answers 'without namespaces' env LSC_CLUSTER=loopback ./quickstart

begin() { # begin OUTPUT: a run that takes long, in the background
	./quickstart --model "$model" --rate 100kbit >"$1" 2>"$SCRATCH/err" &
	run=$!
	ended_at_exit $run
}

expect_end() { # expect_end NAME STATUS: of the run, which is gone with all that it made
	wait $run
	expect_equal "$1: its status" $? "$2"
	expect_equal "$1: leaves nothing behind" "$(left)" ''
}

for end in 'TERM 143' 'HUP 129'; do
	begin "$SCRATCH/out"
	until grep -qs ', a receiver' "$SCRATCH/out" || ! kill -0 $run 2>/dev/null; do
		sleep 0.1
	done
	id=$(sed -n 's/.* id=\([0-9a-f]*\) .*/\1/p' "$TMPDIR"/*/cluster)
	kill "-${end% *}" $run
	expect_end "ended by SIG${end% *}" "${end#* }"
	expect_equal 'and no namespaces' "$(ip netns list | grep -e "lsc-${id:-?}-")" ''
done
mkfifo "$SCRATCH/pipe"
begin "$SCRATCH/pipe"
grep -m 1 'The cast begins' "$SCRATCH/pipe" >/dev/null
expect_end 'when nobody reads on' 141

expect_status 64 'an option that is none' ./quickstart --bogus
expect_one_line "no option '--bogus'"
expect_status 64 'an option without its value' ./quickstart --model
expect_one_line '--model wants a value'
expect_status 64 'a rate that is none' ./quickstart --rate 5
expect_one_line "'5' is not a rate"
expect_status 71 'a model that is not there' ./quickstart --model nowhere
expect_one_line "there is no '$TOP/nowhere'"
(cd "$DATA/models" && "$TOP/quickstart" --model nowhere 2>"$SCRATCH/err")
grep -qF "there is no '$(cd "$DATA/models" && pwd)/nowhere'" "$SCRATCH/err"
ok $? 'a path is relative to where the user is'

done_testing
