#!/bin/sh
# Who may take part in a cast: keys, none, others; what is seen on the way; other programs' TLS.
. tests/lib/tap.sh

image=$SCRATCH/tiny.lsc
key=$SCRATCH/key
lsc-shard pack --dummy smollm2-135m --layers 2 "$image" || exit 1

# --- without any key ---

for where in 0.0.0.0:0 192.0.2.1:7000 '[::]:0' node1:7000; do
	expect_status 64 "no serving at $where without a key" \
		lsc-cast serve --dir "$SCRATCH" --listen "$where"
	expect_one_line "'$where' is not on this machine: give --key-file"
	case $where in *:0) where=${where%0}7000 ;; esac
	expect_status 64 "no sending to $where" lsc-cast send "$image" --to "127.0.0.1:1,$where"
	expect_one_line "'$where' is not on this machine: give --key-file"
done
expect_status 64 'nor with sources there' \
	lsc-cast send "$image" --to 127.0.0.1:1 --sources 192.0.2.1:1
expect_status 64 'no cleartext without a key' \
	lsc-cast send "$image" --to 127.0.0.1:1 --cleartext-data
expect_one_line '--cleartext-data needs --key-file'
expect_status 64 'no transport by another name' \
	lsc-cast send "$image" --to 127.0.0.1:1 --transport pigeon
expect_one_line "there is no transport 'pigeon': auto, tcp or rdma"
lsc-cast keygen "$SCRATCH/other.key"
expect_status 64 'no RDMA for what is to be encrypted' \
	lsc-cast send "$image" --to 127.0.0.1:1 --key-file "$SCRATCH/other.key" --transport rdma
expect_one_line 'data over RDMA is not encrypted: --transport rdma with a key needs --cleartext-data'
if [ ! -e /dev/infiniband/rdma_cm ]; then
	expect_status 69 'no RDMA without a device' \
		lsc-cast send "$image" --to 127.0.0.1:1 --transport rdma
	expect_one_line 'rdma'
	expect_status 69 'nor serving over it' \
		lsc-cast serve --dir "$SCRATCH" --listen 127.0.0.1:0 --transport rdma
	expect_one_line 'rdma'
fi
mkdir "$SCRATCH/open"
start_server open lsc-cast serve --dir "$SCRATCH/open" --listen 0.0.0.0:0 --insecure
grep -q 'warning: whoever reaches 0.0.0.0:.* can send images' "$SCRATCH/log.open"
ok $? '--insecure serves, and warns'
port=${open##*:}
expect_status 0 'and is sent to' lsc-cast send "$image" --to "127.0.0.1:$port"
lsc-shard verify "$SCRATCH/open/tiny.lsc" >/dev/null
ok $? 'it has the image'

# --- key files ---

if ! lsc --features | grep -qx 'tls yes'; then
	expect_status 0 'a key is made' lsc-cast keygen "$key"
	expect_status 69 'and is no use without TLS' \
		lsc-cast send "$image" --to 127.0.0.1:1 --key-file "$key"
	expect_one_line 'TLS is not built in'
	done_testing
fi
expect_status 0 'a key is made' lsc-cast keygen "$key" -v
id=$(sed -n "s/.* key \([0-9a-f]\{16\}\) is in '.*/\1/p" "$SCRATCH/err")
expect_equal 'for its owner alone' "$(stat -c %a "$key")" 600
expect_equal 'as one line' "$(grep -cxE 'lsc-key1 [0-9a-f]{64}' "$key")" 1
expect_status 74 'a file that is there stays' lsc-cast keygen "$key"
expect_status 0 'another key goes to standard output' lsc-cast keygen -
(umask 077 && cp "$SCRATCH/out" "$SCRATCH/other")
expect_equal 'a line too' "$(grep -cxE 'lsc-key1 [0-9a-f]{64}' "$SCRATCH/other")" 1
expect_status 64 'a key needs a file' lsc-cast keygen
(umask 022 && cp "$key" "$SCRATCH/seen" && chmod 644 "$SCRATCH/seen")
expect_status 74 'one that others read is refused' \
	lsc-cast send "$image" --to 127.0.0.1:1 --key-file "$SCRATCH/seen"
expect_one_line "has mode 644, so others may use it: chmod 600 it"
(umask 077 && head -c 60 "$key" >"$SCRATCH/short")
expect_status 65 'one that is cut short too' \
	lsc-cast send "$image" --to 127.0.0.1:1 --key-file "$SCRATCH/short"
expect_one_line 'no key: 51 characters follow'
expect_status 74 'and one that is not there' \
	lsc-cast serve --dir "$SCRATCH" --listen 127.0.0.1:0 --key-file "$SCRATCH/nothing"
expect_status 64 'a key or none' \
	lsc-cast serve --dir "$SCRATCH" --listen 127.0.0.1:0 --key-file "$key" --insecure

# --- a key on standard input ---

mkdir "$SCRATCH/piped"
serve_with() { # serve_with STATUS NAME: what standard input says and how it ends
	expect_status "$1" "$2" timeout 10 lsc-cast serve --dir "$SCRATCH/piped" --listen 127.0.0.1:0 \
		--key-file - --exit-with-stdin
}
serve_with 65 'no line is no key' </dev/null
expect_one_line "standard input: no key: it does not begin with 'lsc-key1 '"
echo "lsc-key1 00" >"$SCRATCH/line"
serve_with 65 'nor is one that is too short' <"$SCRATCH/line"
expect_one_line 'standard input: no key: 2 characters follow'
head -c 100000 /dev/zero | tr '\0' 0 >"$SCRATCH/line"
serve_with 65 'nor one that is too long' <"$SCRATCH/line"
expect_one_line 'standard input: no key: the line is too long'
serve_with 74 'nor what cannot be read' <"$SCRATCH"
expect_one_line 'cannot read a key from standard input: Is a directory'
mkfifo "$SCRATCH/input" "$SCRATCH/until"
{ head -c 20 "$key"; sleep 0.2; tail -c +21 "$key"; echo more; read -r _ <"$SCRATCH/until"; } \
	>"$SCRATCH/input" &
start_server piped sh -c 'exec "$@" <"$0"' "$SCRATCH/input" lsc-cast serve --dir "$SCRATCH/piped" \
	--listen 127.0.0.1:0 --key-file - --exit-with-stdin
expect_status 0 'a node may get its key there' lsc-cast send "$image" --to "$piped" --key-file "$key"
lsc-shard verify "$SCRATCH/piped/tiny.lsc" >/dev/null
ok $? 'it has the image'
echo >"$SCRATCH/until"
wait $piped_pid
expect_equal 'and ends with what it came from' $? 0
node_with() { # node_with STATUS NAME: a node of both, which gives each the line
	expect_status "$1" "$2" lsc-node --dir "$SCRATCH" --listen 127.0.0.1:0 --exec 127.0.0.1:0 --key-file -
}
node_with 65 'a node of two programs wants a line that is a key, too' </dev/null
expect_one_line "lsc-node: standard input: no key: it does not begin with 'lsc-key1 '"

# --- nodes with a key ---

start_keyed() { # start_keyed NAME
	mkdir -p "$SCRATCH/$1"
	start_server "$1" lsc-cast serve --dir "$SCRATCH/$1" --listen 127.0.0.1:0 --key-file "$key" -v
}
start_keyed a
start_keyed b

refused() { # refused NAME WORDS-AT-THE-NODE
	# The node's line may come after the sender's end.
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		grep -qF "warning: refused: 127.0.0.1:" "$SCRATCH/log.a" && break
		sleep 0.05
	done
	expect_equal "$1" "$(sed -n 's/.*refused: 127.0.0.1:[0-9]*: //p' "$SCRATCH/log.a")" "$2"
	: >"$SCRATCH/log.a"
}
expect_status 76 'another key is refused' lsc-cast send "$image" --to "$a" --key-file "$SCRATCH/other"
expect_one_line "$a: refused key "
other=$(grep -oE '[0-9a-f]{16}' "$SCRATCH/err")
refused 'which the node says too' "has another key: $other, not $id"
expect_status 76 'no key is refused' lsc-cast send "$image" --to "$a"
expect_one_line "$a: wants a key: give --key-file"
refused 'which the node says too' 'does not speak TLS: it has no key'
expect_status 76 'a node without one is refused' \
	lsc-cast send "$image" --to "127.0.0.1:$port" --key-file "$key"
expect_one_line 'does not speak TLS: it was started without --key-file'
expect_equal 'nothing came of all that' "$(ls "$SCRATCH/a")" ''

expect_status 0 'with the key it is a cast' lsc-cast send "$image" --to "$a,$b" --key-file "$key"
for node in a b; do
	lsc-shard verify "$SCRATCH/$node/tiny.lsc" >/dev/null
	ok $? "$node has the image"
done
LSC_KEY_FILE=$key expect_status 0 'a key from the environment' lsc-cast send "$image" --to "$a,$b"
expect_status 0 'cleartext data' \
	lsc-cast send "$image" --name again.lsc --to "$a,$b" --key-file "$key" --cleartext-data
for node in a b; do
	lsc-shard verify "$SCRATCH/$node/again.lsc" >/dev/null
	ok $? "$node has the image"
done
start_keyed c
expect_status 0 'a source that has the key' \
	lsc-cast send "$image" --to "$c" --sources "$a" --key-file "$key" --cleartext-data
grep -q refused "$SCRATCH/log.a" "$SCRATCH/log.b" "$SCRATCH/log.c"
ok $((1 - $?)) 'nobody was refused'

# --- what is seen on the way ---

look() { # look NAME OPTION...: casts to c through a relay that keeps what passes
	name=$1
	shift
	rm -rf "$SCRATCH/c/"*
	socat -r "$SCRATCH/forth" -R "$SCRATCH/back" -ls -lf "$SCRATCH/socat.log" -d -d \
		TCP-LISTEN:0,bind=127.0.0.1,fork "TCP:$c" &
	relay=$!
	ended_at_exit $relay
	at=
	while [ -z "$at" ]; do
		at=$(sed -n 's/.*listening on AF=2 \(127[0-9.:]*\).*/\1/p' "$SCRATCH/socat.log" 2>/dev/null)
	done
	expect_status 0 "$name: the cast passes the relay" lsc-cast send "$image" --to "$at" "$@"
	kill $relay
	rm -f "$SCRATCH/socat.log"
	# Some bytes from the middle of the image, as a pattern.
	sample=$(od -An -v -tx1 -j 1000000 -N 24 "$image/image" | sed 's/ /\\x/g' | tr -d '\n')
	for what in tiny.lsc "$sample"; do
		LC_ALL=C grep -qaP "$what" "$SCRATCH/forth" && echo yes || echo no
	done | tr '\n' ' ' >"$SCRATCH/seen"
	rm -f "$SCRATCH/forth" "$SCRATCH/back"
}
if command -v socat >/dev/null 2>&1; then
	look 'with a key' --key-file "$key"
	expect_equal 'neither name nor weights are seen' "$(cat "$SCRATCH/seen")" 'no no '
	look 'with cleartext data' --key-file "$key" --cleartext-data
	expect_equal 'weights are seen, the name is not' "$(cat "$SCRATCH/seen")" 'no yes '
	kill "$c_pid"
	mkdir "$SCRATCH/plain"
	start_server c lsc-cast serve --dir "$SCRATCH/plain" --listen 127.0.0.1:0
	look 'without a key'
	expect_equal 'both are' "$(cat "$SCRATCH/seen")" 'yes yes '
else
	skip 'no socat here'
fi

# --- other programs that speak TLS ---

psk=$(sed 's/^lsc-key1 //' "$key")
client() { # client OPTION...: speaks to a with openssl, and shows what came in 2 s
	timeout 2 openssl s_client -connect "$a" -quiet "$@" </dev/null 2>"$SCRATCH/client.err"
}
if command -v openssl >/dev/null 2>&1; then
	client -tls1_3 -psk_identity "lsc-1:$id" -psk "$psk" | grep -qa hello
	ok $? 'whoever has the key and knows lsc-wire(5) is let in'
	: >"$SCRATCH/log.a"
	client -tls1_2 -psk_identity "lsc-1:$id" -psk "$psk" -cipher PSK >"$SCRATCH/out"
	expect_equal 'TLS 1.2 is not, nothing came' "$(wc -c <"$SCRATCH/out")" 0
	refused 'the node says why' 'speaks no TLS 1.3'
	client -tls1_3 >"$SCRATCH/out"
	expect_equal 'nor TLS without a key' "$(wc -c <"$SCRATCH/out")" 0
	refused 'the node says why' 'speaks TLS without a key'
	client -tls1_3 -psk_identity "lsc-1:$id" -psk "$(echo "$psk" | tr 0-9a-f 1-9a-f0)" \
		>"$SCRATCH/out"
	expect_equal 'nor the name of the key without the key' "$(wc -c <"$SCRATCH/out")" 0
	refused 'the node says why' "has not the key $id that it names"

	# A server that knows nothing of keys, and has a certificate like any other.
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 \
		-subj /CN=localhost -keyout "$SCRATCH/cert.key" -out "$SCRATCH/cert" 2>/dev/null
	openssl s_server -accept 127.0.0.1:0 -tls1_3 -cert "$SCRATCH/cert" -key "$SCRATCH/cert.key" \
		-www >"$SCRATCH/server.out" 2>"$SCRATCH/server.err" &
	ended_at_exit $!
	at=
	while [ -z "$at" ]; do
		at=$(sed -n 's/^ACCEPT \(127.*\)/\1/p' "$SCRATCH/server.out")
	done
	expect_status 76 'an impostor with a certificate gets nothing' \
		lsc-cast send "$image" --to "$at" --key-file "$key"
	expect_one_line "shows a certificate, and not that it has key $id"
else
	skip 'no openssl here'
fi

# --- workers and routers ---

expect_status 64 'no worker for others without a key' \
	lsc-exec serve --dir "$SCRATCH" --listen 0.0.0.0:0
expect_one_line "'0.0.0.0:0' is not on this machine: give --key-file"
expect_status 64 'nor a node' lsc-node --dir "$SCRATCH" --listen 0.0.0.0:0 --exec 127.0.0.1:0
mkdir "$SCRATCH/node"
start_server worker lsc-exec serve --dir "$SCRATCH" --listen 127.0.0.1:0 --key-file "$key"
start_server node lsc-node --dir "$SCRATCH/node" --listen 127.0.0.1:0 --exec 127.0.0.1:0 \
	--key-file "$key"
expect_status 0 'a cast to a node with a key' lsc-cast send "$image" --to "${node% *}" \
	--exec "$worker" --key-file "$key"
cp "$SCRATCH/out" "$SCRATCH/cast.rec"
ask() { # ask OPTION...
	echo '{"id":1,"prompt":"Once","n":4}' |
		timeout 20 lsc-pipe "$image" --arrivals "$SCRATCH/cast.rec" --timeout 2s "$@" \
			>"$SCRATCH/answers" 2>"$SCRATCH/err"
}
ask --key-file "$key"
expect_equal 'a router with the key gets answers' $? 0
ask
expect_equal 'one without gets none' $? 1
grep -q 'wants a key' "$SCRATCH/err"
ok $? 'and is told why'
expect_equal 'once for each node' "$(grep -c 'wants a key' "$SCRATCH/err")" 2
ask --key-file "$SCRATCH/other"
expect_equal 'nor does one with another' $? 1
grep -q "refused: 127.0.0.1:[0-9]*: has another key: $other, not $id" "$SCRATCH/log.worker"
ok $? 'which the worker says too'
expect_status 0 'after all this the nodes are well' \
	lsc-cast send "$image" --name last.lsc --to "$a,$b" --key-file "$key"
done_testing
