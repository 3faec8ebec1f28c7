#!/bin/sh
# lsc-sim: tables and JSON lines, the cluster file, the same bytes each time, what is refused.
. tests/lib/tap.sh

sim() { # sim NAME OPTION...: runs it, output in $SCRATCH/out
	name=$1
	shift
	expect_status 0 "$name" lsc-sim cast "$@"
}

cat >"$SCRATCH/cluster" <<'END'
# two sources, three that are alike, and one at half
payload=1 latency=0
nodes=5 link=80mbit disk=1M/s
nodes=1 link=40mbit disk=2M/s
END

sim 'a table' --cluster "$SCRATCH/cluster" --bytes 10000000 --receivers 3 --sources 2 \
	--system lambdascale,chain,serverlessllm,bound
cat >"$SCRATCH/want" <<'END'
system         receivers    covered      first       half        all   bound
lambdascale            3      0.5 s        1 s    1.062 s    1.062 s  1.062x
chain                  3        1 s        1 s        1 s    1.002 s  1.002x
serverlessllm          3    9.537 s    9.537 s    9.537 s    9.537 s  9.537x
bound                  3      0.5 s        1 s        1 s        1 s  1.000x
END
expect_same 'as the page shows it' "$SCRATCH/out" "$SCRATCH/want"

sim 'JSON lines' --cluster "$SCRATCH/cluster" --bytes 10000000 --receivers 1,4 --sources 2 \
	--system bound --json
cat >"$SCRATCH/want" <<'END'
{"type":"hello","kind":"sim","version":[1,0]}
{"type":"multicast","system":"bound","sources":2,"receivers":1,"bytes":10000000,"covered_s":1.0,"first_s":1.0,"half_s":1.0,"all_s":1.0,"bound_s":1.0,"pieces":0,"plans":0}
{"type":"multicast","system":"bound","sources":2,"receivers":4,"bytes":10000000,"covered_s":0.5,"first_s":1.0,"half_s":1.0,"all_s":2.0,"bound_s":2.0,"pieces":0,"plans":0}
{"type":"end"}
END
expect_same 'say the same, and what is slow is waited for' "$SCRATCH/out" "$SCRATCH/want"
expect_status 0 'other tools read them' sh -c 'lsc-msg from-json <"$1" >"$1.rec"' sh "$SCRATCH/want"

sim 'every system' --link 400gbit --disk 5G/s --model llama-2-7b --receivers 3 --system all --json
cp "$SCRATCH/out" "$SCRATCH/first"
expect_equal 'has a row' "$(grep -c '"multicast"' "$SCRATCH/first")" 10
sim 'again' --link 400gbit --disk 5G/s --model llama-2-7b --receivers 3 --system all --json
expect_same 'the same bytes' "$SCRATCH/out" "$SCRATCH/first"
sim 'all without a disk' --link 1gbit --bytes 1M --receivers 2 --system all
! grep -q serverlessllm "$SCRATCH/out"
ok $? 'leaves out what wants one'
sim 'the cluster from standard input' --cluster - --bytes 1M --receivers 2 --system lsc \
	<"$SCRATCH/cluster"

lsc-shard pack -q --dummy smollm2-135m --layers 1 --vocab 512 "$SCRATCH/image" 2>/dev/null
expect_status 0 'an image' lsc-sim cast --image "$SCRATCH/image" --link 1gbit --receivers 2 --json
grep -q "\"bytes\":$(stat -c %s "$SCRATCH/image/image")," "$SCRATCH/out"
ok $? 'is as large as it is'

refuse() { # refuse STATUS NAME WORDS OPTION...
	status=$1 name=$2 words=$3
	shift 3
	expect_status "$status" "$name" lsc-sim cast "$@"
	grep -qF -e "$words" "$SCRATCH/err"
	ok $? "says: $words"
}

refuse 64 'nothing to move' 'want one of --model, --image and --bytes' --link 1gbit
refuse 64 'two things' 'want one of --model, --image and --bytes' --link 1gbit --bytes 1M --model x
refuse 64 'no nodes' 'want one of --cluster and --link' --bytes 1M
refuse 64 'a disk of no nodes' '--disk goes with --link' --cluster "$SCRATCH/cluster" --disk 1G/s \
	--bytes 1M
refuse 64 'no such system' "'quick' is no system" --link 1gbit --bytes 1M --system lsc,quick
refuse 64 'a system twice' "'lsc' is there twice" --link 1gbit --bytes 1M --system lsc,lsc
refuse 64 'a list that ends early' "'' is no system" --link 1gbit --bytes 1M --system lsc,
refuse 64 'no receivers' "'0' is not from 1 to 4096" --link 1gbit --bytes 1M --receivers 2,0
refuse 64 'no such model' "'gpt' is no model that is known by name" --link 1gbit --model gpt
refuse 64 'too many nodes' '10 nodes are needed, and the cluster has 6' \
	--cluster "$SCRATCH/cluster" --bytes 1M --receivers 9
refuse 64 'no disk' "wants 'disk=' of all receivers" --link 1gbit --bytes 1M --system serverlessllm
refuse 64 'a byte' '3 bytes cannot be cut into 16 blocks' --link 1gbit --bytes 3 --receivers 1 \
	--system lambdascale
echo 'nodes=two link=1gbit' >"$SCRATCH/bad"
refuse 64 'a cluster that is none' "'$SCRATCH/bad': line 1: 'two' is not a whole number" \
	--cluster "$SCRATCH/bad" --bytes 1M
expect_status 74 'an absent one' lsc-sim cast --cluster "$SCRATCH/absent" --bytes 1M
done_testing
