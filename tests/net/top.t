#!/bin/sh
# lsc-top: a table once, lines, objects, on a terminal that changes; a router and a gate that go away.
. tests/lib/tap.sh
. tests/lib/service.sh
requires_feature microhttpd
requires_command jq curl python3
requires_data models/stories260K-fp32

expect_status 64 'an address that is none' lsc-top http://nowhere
expect_one_line 'want http://HOST:PORT'
expect_status 64 '--wait prints nothing' lsc-top --wait --once
expect_status 64 '--timeout alone' lsc-top --timeout 1s
expect_status 69 'nothing is up' lsc-top --state "$SCRATCH/none" --once
expect_one_line "'default' is not up"
expect_status 69 'nobody is there' lsc-top --once http://127.0.0.1:1
expect_one_line 'http://127.0.0.1:1: Connection refused'
expect_status 75 'nobody to wait for' lsc-top --wait --timeout 200ms http://127.0.0.1:1

# What answers and is no gate.
cat >"$SCRATCH/other.py" <<'END'
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print("127.0.0.1:%d" % listener.getsockname()[1], flush=True)
while True:
    link, peer = listener.accept()
    link.recv(4096)
    link.sendall(bytes(sys.argv[1], "latin1").decode("unicode_escape").encode("latin1"))
    link.close()
END
while IFS='|' read -r status answer words; do
	python3 "$SCRATCH/other.py" "$answer" >"$SCRATCH/other" &
	pid=$!
	ended_at_exit $pid
	until [ -s "$SCRATCH/other" ]; do sleep 0.02; done
	expect_status "$status" "no gate: $words" lsc-top --once "http://$(cat "$SCRATCH/other")"
	expect_one_line "$words"
	kill $pid
	: >"$SCRATCH/other"
done <<'END'
76||no HTTP that is whole
76|SSH-2.0-OpenSSH_9.2\r\n\r\n|no HTTP that is whole
76|HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}|no HTTP that is whole
76|HTTP/1.1 404 Not Found\r\n\r\n|status 404: no lsc-gate
65|HTTP/1.1 200 OK\r\n\r\n{}|/cluster:
65|HTTP/1.1 200 OK\r\n\r\n{"model":[],"t":1}|/cluster:
END

start_model
start_gate gate
start_server node lsc-node --dir "$SCRATCH" --listen 127.0.0.1:0 --exec 127.0.0.1:0
url=http://$gate
expect_status 0 'a gate without a router' lsc-top --once "$url"
expect_equal 'is told' "$(cat "$SCRATCH/out")" "$url: no router is there"
expect_status 75 'and has no route' lsc-top --wait --timeout 200ms "$url"
grep -q '"no router"' "$SCRATCH/err"
ok $? 'which is said'

start_router --sources serve
lsc-top --wait --timeout 20s "$url" &
waiting=$!
lsc-cast send "$image" --to "${node% *}" --exec "$exec0" >"$SCRATCH/arrivals" 2>/dev/null
wait $waiting
expect_equal 'it waits for a route' $? 0
ask /v1/completions '{"prompt":"Once upon","max_tokens":5}'
sleep 0.6 # the router tells the gate how it stands each quarter of a second
expect_status 0 'once, as a table' lsc-top --once "$url/"
sed -n 1p "$SCRATCH/out" | grep -qE "^model at $url: ready, 1 of 1 nodes complete, [0-9]+ s$"
ok $? 'the model'
grep -qE '^requests  0 waiting, 0 running, 1 done, 0 failed, 0 moved$' "$SCRATCH/out"
ok $? 'requests'
grep -qE '^tokens .* first token [0-9.e-]+ s, 95% in [0-9.e-]+ s$' "$SCRATCH/out"
ok $? 'time to the first token'
grep -qE "^   1  ${node% *} complete \[#+\] 100% " "$SCRATCH/out"
ok $? 'nodes'
expect_status 0 'once, as an object' lsc-top --once --json "$gate"
expect_equal 'of all that' "$(jq -c '[.model.name, .ready, .requests, .nodes[1].complete,
	.first_token_p50 > 0, (.rates | length)]' "$SCRATCH/out")" '["model",true,1,true,true,2]'
timeout 3 lsc-top --interval 200ms "$url" >"$SCRATCH/out" </dev/null
expect_equal 'no terminal: lines, until a signal' $? 124
[ "$(grep -cE '^[0-9]+ s: ready, 1 of 1 nodes complete, 100% held' "$SCRATCH/out")" -gt 4 ]
ok $? 'one each time'
lsc-top --json --interval 100ms "$url" | head -n 2 | jq -c .ready >"$SCRATCH/out"
expect_equal 'whoever reads no more' "$(tr '\n' ' ' <"$SCRATCH/out")" 'true true '

# --- a key ---

echo '# ours
a-secret-key' >"$SCRATCH/keys"
start_gate locked --api-key-file "$SCRATCH/keys"
lsc-top --wait --timeout 10s "http://$locked"
expect_status 74 'a gate that wants a key' lsc-top --once "http://$locked"
expect_one_line 'give --api-key-file'
expect_status 0 'gets it' lsc-top --once "http://$locked" --api-key-file "$SCRATCH/keys"
mkdir -p "$SCRATCH/states/mine"
echo "http://$locked" >"$SCRATCH/states/mine/url"
echo "$SCRATCH/keys" >"$SCRATCH/states/mine/api-key-file"
expect_status 0 'by the name of a service' lsc-top --once --state "$SCRATCH/states" mine

# --- a terminal ---

cat >"$SCRATCH/terminal.py" <<'END'
import fcntl, os, pty, select, signal, struct, sys, termios, time

url, gate = sys.argv[1], int(sys.argv[2])

def size(fd, columns, lines):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

def start(columns, lines):
    pid, fd = pty.fork()
    if not pid:
        os.environ["TERM"] = "xterm"
        size(0, columns, lines)
        os.execlp("lsc-top", "lsc-top", "--interval", "200ms", url)
    return pid, fd

seen = b""
def until(fd, *texts, timeout=10):
    global seen
    end = time.time() + timeout
    while time.time() < end and not all(t in seen for t in texts):
        if select.select([fd], [], [], 0.2)[0]:
            try:
                seen += os.read(fd, 65536)
            except OSError:
                break
    return all(t in seen for t in texts)

def check(name, what):
    print(("ok" if what else "not ok"), name)

def frame():
    """the last whole frame, as lines"""
    return seen.split(b"\x1b[H")[-2].replace(b"\x1b[K", b"").replace(b"\x1b[J", b"").replace(b"\r", b"").split(b"\n")

pid, fd = start(80, 24)
check("a screen of its own", until(fd, b"\x1b[?1049h", b"model at ", b"\x1b[J"))
check("drawn again in place", until(fd, b"\x1b[J\x1b[H"))
size(fd, 44, 6)
time.sleep(0.5)
while select.select([fd], [], [], 0)[0]:
    os.read(fd, 65536)
seen = b""
until(fd, b"never", timeout=1)
rows = frame()
check("it fits a small one", len(rows) <= 6 and all(len(r) <= 44 for r in rows))
seen = b""
os.kill(pid, signal.SIGTSTP)
check("stopped, the terminal is as before", until(fd, b"\x1b[?1049l"))
check("and it is stopped", os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1]))
os.kill(pid, signal.SIGCONT)
check("and it goes on", until(fd, b"\x1b[?1049l", b"\x1b[?1049h", b"model at "))
seen = b""
os.kill(gate, signal.SIGSTOP)
check("a gate that hangs is told", until(fd, b"trying again; last seen:"))
os.kill(gate, signal.SIGCONT)
seen = b""
check("and seen again", until(fd, b"\x1b[Hmodel at "))
seen = b""
os.write(fd, b"q")
check("q ends it, and puts all back", until(fd, b"\x1b[?7h\x1b[?25h\x1b[?1049l"))
check("with status 0", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0)

for number in signal.SIGINT, signal.SIGTERM:
    seen = b""
    pid, fd = start(80, 24)
    until(fd, b"model at ")
    if number == signal.SIGINT:
        os.write(fd, b"\x03")
    else:
        os.kill(pid, number)
    check("%s puts all back" % number.name, until(fd, b"\x1b[?1049l"))
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    check("status %d" % (128 + number), status == 128 + number)
END
python3 "$SCRATCH/terminal.py" "$url" "$gate_pid" >"$SCRATCH/out" 2>"$SCRATCH/err"
expect_equal 'on a terminal' "$(tail -n 1 "$SCRATCH/err")" ''
while read -r result name; do
	case $result in
	ok) ok 0 "terminal: $name" ;;
	*) ok 1 "terminal: $name" ;;
	esac
done <<END
$(sed 's/^not ok/not-ok/' "$SCRATCH/out")
END

# --- who goes away ---

kill "$router_pid"
wait "$router_pid"
i=0
until lsc-top --once "$url" | grep -q 'no router is there' || [ $i -gt 50 ]; do
	sleep 0.1
	i=$((i + 1))
done
[ $i -le 50 ]
ok $? 'a router that is gone'
kill "$gate_pid"
wait "$gate_pid"
expect_status 69 'and a gate' lsc-top --once "$url"
done_testing
