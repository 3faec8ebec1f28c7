#!/bin/sh
# lsc-plan: tables, records, charts; proofs that find what was changed; limits.
. tests/lib/tap.sh

plan() { # plan NAME OPTION...: runs it, output in $SCRATCH/out
	name=$1
	shift
	expect_status 0 "$name" lsc-plan "$@"
}

plan 'a table' --nodes 4 --pieces 3 --check --rate 1M/s --piece-bytes 512K
cat >"$SCRATCH/want" <<'END'
round-optimal: nodes 4, sources 1, pieces 3, rounds 4
0.5 s a round, 2 s in all
proven; the receivers together hold everything after 3 rounds
round   1   2   3
    0 0<0   -   -
    1   - 1<0 0<1
    2 2<0 0<1 1<2
    3 1<3 2<0 2<1
END
expect_same 'as the page shows it' "$SCRATCH/out" "$SCRATCH/want"

expect_status 64 'an unknown option' lsc-plan --node-count 4
plan 'what its message speaks of' --usage
grep -q -e '--pieces=B' "$SCRATCH/out"
ok $? 'is there'

plan 'every order' --nodes 12 --sources 3 --pieces 9 --check \
	--order round-optimal,kway,chain,tree,sequential
cat >"$SCRATCH/want" <<'END'
round-optimal: nodes 12, sources 3, pieces 9, rounds 10
kway: nodes 12, sources 3, pieces 9, rounds 10
chain: nodes 12, sources 3, pieces 9, rounds 11
tree: nodes 12, sources 3, pieces 9, rounds 18
sequential: nodes 12, sources 3, pieces 9, rounds 27
END
grep : "$SCRATCH/out" >"$SCRATCH/heads"
expect_same 'takes its rounds' "$SCRATCH/heads" "$SCRATCH/want"
expect_equal 'kway holds everything soonest' \
	"$(sed -n 's/.*everything after \([0-9]*\) rounds/\1/p' "$SCRATCH/out" | tr '\n' ' ')" \
	'9 3 9 17 9 '

# The same transfers in every form.
plan 'JSON lines' --nodes 5 --pieces 4 --order tree --json --check
cp "$SCRATCH/out" "$SCRATCH/json"
expect_equal 'a hello, a plan' "$(sed -n 1,2p "$SCRATCH/json" | tr '\n' ' ')" \
	'{"type":"hello","kind":"plan","version":[1,0]} {"type":"plan","order":"tree","nodes":5,"sources":1,"pieces":4,"rounds":9,"covered":7} '
expect_equal 'a transfer for each piece and receiver' "$(grep -c '"transfer"' "$SCRATCH/json")" 16
expect_equal 'an end' "$(tail -n 1 "$SCRATCH/json")" '{"type":"end"}'
plan 'records' --nodes 5 --pieces 4 --order tree --records --check
lsc-msg <"$SCRATCH/out" >"$SCRATCH/records"
expect_same 'are the same' "$SCRATCH/records" "$SCRATCH/json"
plan 'the table' --nodes 5 --pieces 4 --order tree
awk '/^ *[0-9]/ { for (i = 2; i <= NF; i++) if (split($i, a, "<") == 2)
	print $1, a[2], i - 1, a[1] }' "$SCRATCH/out" | sort >"$SCRATCH/from-table"
sed -n 's/.*"round":\([0-9]*\),"from":\([0-9]*\),"to":\([0-9]*\),"piece":\([0-9]*\).*/\1 \2 \3 \4/p' \
	"$SCRATCH/json" | sort >"$SCRATCH/from-json"
expect_same 'has the same' "$SCRATCH/from-table" "$SCRATCH/from-json"

# Proofs of streams.
lsc-plan --nodes 13 --sources 2 --pieces 11 --order round-optimal,kway,sequential --records \
	>"$SCRATCH/good"
expect_status 0 'proves what it made' lsc-plan --prove "$SCRATCH/good"
cat >"$SCRATCH/want" <<'END'
proven: nodes 13, sources 2, pieces 11, rounds 13; the receivers together hold everything after 11 rounds
proven: nodes 13, sources 2, pieces 11, rounds 13; the receivers together hold everything after 6 rounds
proven: nodes 13, sources 2, pieces 11, rounds 66; the receivers together hold everything after 11 rounds
END
expect_same 'one after the other' "$SCRATCH/out" "$SCRATCH/want"
lsc-plan --nodes 4 --pieces 3 --order chain --json >"$SCRATCH/chain"

# What a later version may add, bodies included, is skipped.
later='{"type":"later","body":5}\
{"$bin":"AAECAwQ="}\
{"type":"later","body":0}\
{"$bin":""}'
sed "1a\\
$later" "$SCRATCH/chain" | lsc-msg from-json >"$SCRATCH/later"
expect_status 0 'steps over types that it does not know' lsc-plan --prove "$SCRATCH/later"
printf '\202\244type\245later\244body\005\304\005abc' >"$SCRATCH/cut"
sed 1q "$SCRATCH/chain" | lsc-msg from-json | cat - "$SCRATCH/cut" >"$SCRATCH/later"
expect_status 65 'but not over the end' lsc-plan --prove "$SCRATCH/later"
expect_one_line 'the stream ends inside a body'

prove() { # prove STATUS MESSAGE SED-SCRIPT: the chain of 4 nodes and 3 pieces, changed
	sed "$3" "$SCRATCH/chain" | lsc-msg from-json >"$SCRATCH/changed"
	expect_status "$1" "after '$3'" sh -c "lsc-plan --prove - <$SCRATCH/changed"
	expect_one_line "$2"
}
prove 1 'round 2: node 2 sends piece 1, which it does not hold' '8s/"piece":0/"piece":1/'
prove 1 'round 2: node 2 receives twice' '6s/"to":1/"to":2/'
prove 1 'round 2: node 0 sends twice' '7s/"from":1/"from":0/'
prove 1 'round 3: node 2 gets piece 1, which it holds already' '9s/"piece":2/"piece":1/'
prove 1 'round 4: nobody sends anything' 11d
prove 1 'node 3 lacks piece 2 after 4 rounds' '2s/"rounds":5/"rounds":4/'
prove 1 'everyone holds everything after 5 of 1000000000' '2s/"rounds":5/"rounds":1000000000/'
prove 1 'there are transfers after 5 rounds' '11{p;s/"round":4/"round":5/;}'
prove 65 "no plan in '-'" 2d
prove 65 "key 'to'" '5s/"to":2/"to":9/'
prove 65 "key 'nodes'" '2s/"nodes":4/"nodes":70000/'
prove 65 "key 'nodes' is below 1" '2s/"nodes":4/"nodes":0/'
prove 65 'a transfer of round 1 stands among those of round 3' '10s/"round":3/"round":1/'
prove 69 'too many to check' '2s/"nodes":4/"nodes":65536/;2s/"pieces":3/"pieces":4194304/'
prove 69 'too many to check' '2s/"rounds":5/"rounds":4000000000/'
prove 76 arrivals '1s/plan/arrivals/'
prove 76 'does not open with a hello' 1d
printf '\203\244type\245hello\244kind\244plan\247version\222\003\004' >"$SCRATCH/v3"
expect_status 76 'a later major version' lsc-plan --prove "$SCRATCH/v3"
expect_one_line "'plan' stream has version 3.4; this program reads 1.x"
head -c 300 "$SCRATCH/good" >"$SCRATCH/cut"
expect_status 65 'a stream that is cut' lsc-plan --prove "$SCRATCH/cut"
expect_one_line 'inside a record'
expect_status 74 'no such file' lsc-plan --prove "$SCRATCH/none"
expect_one_line "cannot open '$SCRATCH/none'"

# Charts.
plan 'a chart' --nodes 8 --pieces 16 --order round-optimal,chain,tree --svg
expect_same 'is the one in docs/ (make figures)' "$SCRATCH/out" docs/rounds.svg
plan 'another' --nodes 10 --sources 2 --pieces 16 --order kway --svg
expect_same 'as well' "$SCRATCH/out" docs/kway.svg
expect_status 64 'one that is too large' lsc-plan --nodes 1000 --pieces 1000 --svg
expect_one_line 'too many to draw'

# Large ones are written as they are worked out.
case ${LSC_BUILD:-} in
*address* | *thread*) limit=unlimited ;;
*) limit=60000 ;;
esac
expect_equal 'the last round of 10000 nodes and 1000 pieces' \
	"$( (ulimit -v $limit; lsc-plan --nodes 10000 --pieces 1000) | tail -n 1 | wc -w)" 10000
expect_equal 'the first of the largest' \
	"$(lsc-plan --nodes 65536 --pieces 4194304 --json 2>/dev/null | sed -n '3{p;q}')" \
	'{"type":"transfer","round":0,"from":0,"to":2,"piece":0}'

refuse() { # refuse MESSAGE OPTION...
	message=$1
	shift
	expect_status 64 "refuses $*" lsc-plan "$@"
	grep -qF -- "$message" "$SCRATCH/err"
	ok $? "saying: $message"
}
refuse '--nodes and --pieces are needed'
refuse '--nodes and --pieces are needed' --nodes 3
refuse '65537' --nodes 65537 --pieces 1
refuse '0' --nodes 0 --pieces 1
refuse '3 sources among 2 nodes' --nodes 2 --pieces 1 --sources 3
refuse "no order 'ring'" --nodes 2 --pieces 1 --order chain,ring
refuse 'more than 8 orders' --nodes 2 --pieces 1 --order tree,tree,tree,tree,tree,tree,tree,tree,tree
refuse '--rate and --piece-bytes go together' --nodes 2 --pieces 1 --rate 1gbit
refuse '--prove takes sizes from the stream' --prove - --nodes 2
refuse '274873712640 rounds' --nodes 65536 --pieces 4194304 --order sequential
refuse 'too many to check' --nodes 65536 --pieces 4194304 --check
expect_status 74 'a full disk' sh -c 'lsc-plan --nodes 20 --pieces 20 --json >/dev/full'
expect_one_line 'No space left on device'
done_testing
