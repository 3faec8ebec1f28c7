#!/bin/sh
# lsc-msg: streams there and back, byte for byte; what is wrong is named by record or line.
. tests/lib/tap.sh

cat >"$SCRATCH/lines" <<'END'
{"type":"hello","kind":"arrivals","version":[1,0]}
{"type":"cast","t":0.0,"id":{"$bin":"AAECAwQFBgcICQoLDA0ODw=="},"bytes":18446744073709551615}
{"type":"piece","body":7,"z":null,"a":[true,false,-1]}
{"$bin":"AAECAwQFBg=="}
{"type":"piece","body":0}
{"$bin":""}
{"type":"odd","$$key":{"$map":[[1,{"$f32":0.5}]]},"":{"$str":"/w=="},"x":{"$f64":"nan"}}
{"type":"end","t":12.25,"text":"a \"é\"\n\u0001"}
END
expect_status 0 'lines to records' sh -c "lsc-msg from-json <$SCRATCH/lines >$SCRATCH/records"
expect_status 0 'and back' sh -c "lsc-msg to-json <$SCRATCH/records"
expect_same 'nothing is lost' "$SCRATCH/out" "$SCRATCH/lines"
lsc-msg <"$SCRATCH/records" | cmp -s - "$SCRATCH/lines"
ok $? 'without a command it reads records'
dd if="$SCRATCH/records" bs=1 2>/dev/null | lsc-msg | cmp -s - "$SCRATCH/lines"
ok $? 'a byte at a time'
sed 's/^/ \t/; s/$/ \r/' "$SCRATCH/lines" | sed '3s/^/\n\n/; $s/$/\n \t/' | dd bs=1 2>/dev/null |
	lsc-msg from-json | cmp -s - "$SCRATCH/records"
ok $? 'white space and empty lines between records do no harm'
printf '{"type":"a"}' | lsc-msg from-json --hello test | lsc-msg >"$SCRATCH/hello"
printf '{"type":"hello","kind":"test","version":[1,0]}\n{"type":"a"}\n' >"$SCRATCH/want"
expect_same '--hello opens the stream; the last line needs no end' "$SCRATCH/hello" "$SCRATCH/want"
: | lsc-msg from-json | lsc-msg | cmp -s - /dev/null
ok $? 'nothing stays nothing'

# A body larger than any buffer here, in both directions, within little memory.
{
	echo '{"type":"piece","body":40000000}' | lsc-msg from-json
	printf '\306\002\142\132\000'
	head -c 40000000 /dev/zero | tr '\0' 'w'
} >"$SCRATCH/big"
# (Sanitizers map more than that before main().)
case ${LSC_BUILD:-} in
*address* | *thread*) limit=unlimited ;;
*) limit=60000 ;;
esac
(ulimit -v $limit 2>/dev/null; lsc-msg <"$SCRATCH/big" | lsc-msg from-json) | cmp -s - "$SCRATCH/big"
ok $? 'a body of 40 MB'

# What arrives is written before more is waited for.
mkfifo "$SCRATCH/in" "$SCRATCH/through"
lsc-msg <"$SCRATCH/in" >"$SCRATCH/through" &
ended_at_exit $!
exec 4>"$SCRATCH/in" 5<"$SCRATCH/through"
for n in 1 2 3; do
	echo "{\"type\":\"tick\",\"n\":$n}" | lsc-msg from-json >&4
	read -r line <&5
	expect_equal "record $n is seen while the stream is open" "$line" "{\"type\":\"tick\",\"n\":$n}"
done
exec 4>&- 5<&-

bad_line() { # bad_line NAME LINES MESSAGE
	printf '%b' "$2" >"$SCRATCH/bad"
	expect_status 65 "$1" sh -c "lsc-msg from-json <$SCRATCH/bad"
	expect_one_line "$3"
}
bad_line 'a broken line' '{"type":"a"}\n\n{"type":"b",}\n' 'line 3: byte 13: '
expect_equal 'records before it were written' "$(lsc-msg <"$SCRATCH/out")" '{"type":"a"}'
bad_line 'no object' '[1]\n' 'line 1: not a record'
bad_line 'no type' '{"t":1}\n' "line 1: record '?': key 'type' is missing"
bad_line 'too deep' '{"type":"a","x":[[[[[[[[[]]]]]]]]]}' 'line 1: not a record'
bad_line 'two values' '{"type":"a"} {"type":"b"}\n' 'line 1: byte 14: more than one value'
bad_line 'a tag nobody knows' '{"type":"a","x":{"$y":1}}\n' 'line 1: byte 23: no such tag'
bad_line 'a body that is missing' '{"type":"a","body":3}\n{"type":"b"}\n' 'line 2: the body '
bad_line 'a body that is shorter' '{"type":"a","body":4}\n{"$bin":"AAEC"}\n' 'line 2: the body '
bad_line 'a body that is longer' '{"type":"a","body":2}\n{"$bin":"AAEC"}\n' 'line 2: the body '
bad_line 'a body that is cut' '{"type":"a","body":3}\n{"$bin":"AA' 'line 2: the body is cut'
bad_line 'more behind a body' '{"type":"a","body":0}\n{"$bin":""} 1\n' 'line 2: more than one'
bad_line 'a body over the limit' '{"type":"a","body":1073741825}\n' "line 1: record 'a': key 'body'"
head -c 20000000 /dev/zero | tr '\0' ' ' >"$SCRATCH/long"
expect_status 65 'a line over the limit' sh -c "lsc-msg from-json <$SCRATCH/long"
expect_one_line 'line 1: longer than'

bad_stream() { # bad_stream STATUS NAME BYTES MESSAGE
	printf '%b' "$3" >"$SCRATCH/bad"
	expect_status "$1" "$2" sh -c "lsc-msg <$SCRATCH/bad"
	expect_one_line "$4"
}
bad_stream 65 'no msgpack' 'hello' 'record 1 at byte 0: not a record: byte 0x68'
bad_stream 65 'cut inside a record' '\0201\0244type\0241a\0202' \
	'record 2 at byte 8: the stream ends inside a record'
expect_equal 'the record before it is shown' "$(cat "$SCRATCH/out")" '{"type":"a"}'
bad_stream 65 'cut before a body' '\0202\0244type\0241a\0244body\0003' 'ends before a body'
bad_stream 65 'another length than announced' '\0202\0244type\0241a\0244body\0003\0304\0002ab' \
	'a body of 2 bytes where 3 were announced'
bad_stream 76 'a later major version' \
	'\0203\0244type\0245hello\0244kind\0241k\0247version\0222\0011\0000' \
	"'k' stream has version 9.0; this program reads 1.x"
expect_status 64 'an operand' lsc-msg to-json file
expect_status 64 'no such command' lsc-msg to-yaml
if [ -w /dev/full ]; then
	expect_status 74 'a full disk' sh -c "lsc-msg <$SCRATCH/records >/dev/full"
	expect_one_line 'cannot write'
fi

# Golden streams of earlier versions decode forever.
for golden in tests/data/*.rec; do
	[ -f "$golden" ] || continue
	lsc-msg <"$golden" | cmp - "${golden%.rec}.json" 2>&1 | note
	lsc-msg <"$golden" | lsc-msg from-json | cmp -s - "$golden"
	ok $? "$(basename "$golden") decodes, and comes back as it was"
done
done_testing
