#!/bin/sh
# lsc-gate gets whatever may come over a connection, for a while: it answers or closes, others are
# answered as ever, and in the end it has what it had in the beginning.
#
# LSC_FUZZ_SECONDS is how long (3), LSC_FUZZ_SEED what it depends on.  `make fuzz-http` takes five
# minutes for it, under sanitizers.
. tests/lib/tap.sh
. tests/lib/arrivals.sh
. tests/lib/service.sh
. tests/lib/questions.sh
requires_feature microhttpd
requires_command jq
requires_command curl
requires_command python3

seconds=${LSC_FUZZ_SECONDS:-3}
seed=${LSC_FUZZ_SEED:-$(date +%s)}
echo "# LSC_FUZZ_SEED=$seed"
mkdir "$SCRATCH/zero"
image=$SCRATCH/zero/model
lsc-shard pack --dummy stories260k --dtype f32 "$image"
questions "$image" 30 >"$SCRATCH/questions"
start_server exec0 lsc-exec serve --dir "$SCRATCH/zero" --listen 127.0.0.1:0 --threads 1
start_router
start_gate gate --timeout 5s
arrivals "$image" "$exec0" all >&8
healthy() { curl -sf "http://$gate/health"; }
wait_for "the gate is there" healthy
now() { python3 tests/lib/processes.py now "$gate_pid"; }
fds() { now | cut -d ' ' -f 2; }

# An end that comes with the bytes before it is seen soon, whether or not there is a request.
cat >"$SCRATCH/ends.py" <<'PYTHON'
import socket, sys, time

host, port = sys.argv[1].split(":")
whole = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
held = [(n, socket.create_connection((host, int(port)), timeout=5)) for n in (0, 1, 20, len(whole)) * 10]
start = time.monotonic()
for n, s in held:
    s.sendall(whole[:n])
    s.shutdown(socket.SHUT_WR)
for n, s in held:
    while s.recv(65536):
        pass
print(f"{time.monotonic() - start:.1f} s")
PYTHON
python3 "$SCRATCH/ends.py" "$gate" >"$SCRATCH/ends" 2>&1
ok $? "connections end when their clients do: $(tail -n 1 "$SCRATCH/ends")"

before=$(fds)
fuzz() { # fuzz SECONDS SEED: with clients beside it who behave
	rm -f "$SCRATCH/enough"
	python3 tests/lib/witness.py "$gate" "$SCRATCH/questions" --clients 2 --until "$SCRATCH/enough" \
		>"$SCRATCH/witness" &
	witness=$!
	python3 tests/lib/http_fuzz.py "$gate" "$1" --seed "$2" >"$SCRATCH/fuzz"
	fuzzed=$?
	: >"$SCRATCH/enough"
	wait $witness
	witnessed=$?
}
report() { jq -c "$1" <<-END
	$(tail -n 1 "$SCRATCH/fuzz")
	END
}
quiet() {
	curl -s "http://$gate/cluster" | jq -e '.running == 0 and .waiting == 0' && [ "$(fds)" -eq "$before" ]
}

# What memory it takes to be asked like this is there after a part of it.
if [ "$seconds" -ge 60 ]; then
	fuzz $((seconds / 6)) "$seed"
	wait_for "a sixth of it is over" quiet
fi
kb=$(now | cut -d ' ' -f 1)
fuzz "$seconds" $((seed + 1))
expect_equal "all is answered or closed" $fuzzed 0
expect_equal "others are answered, and right" $witnessed 0
{
	cat "$SCRATCH/fuzz" "$SCRATCH/witness"
} | note
ok "$(report 'if .sent > 50 and .answers > 10 and .statuses."400" > 0 then 0 else 1 end')" \
	"it was $(report .sent) requests, $(report .answers) with a status"
wait_for "no request and no descriptor is left of them" quiet
later=$(now | cut -d ' ' -f 1)
echo "# RSS $kb kB, then $later kB"
if [ "$seconds" -ge 60 ] && [ "${LSC_BIN:-bin}" = bin ]; then
	[ "$later" -le $((kb + kb / 10 + 2048)) ]
	ok $? "nor memory"
fi
healthy >/dev/null
ok $? "it is as healthy as before"
kill "$gate_pid"
wait "$gate_pid"
expect_equal "and ends well" $? 0
kill "$router_pid"
wait "$router_pid"
expect_equal "the router too" $? 0
kill "$exec0_pid"
wait "$exec0_pid"
expect_equal "and the worker" $? 0
grep -hE 'Sanitizer|runtime error' "$SCRATCH"/log.* >"$SCRATCH/trouble"
expect_equal "nobody leaks, or does what it must not" "$(head -n 20 "$SCRATCH/trouble")" ""
done_testing
