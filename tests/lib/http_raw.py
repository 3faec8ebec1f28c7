#!/usr/bin/env python3
"""What no HTTP library sends, to a server that must answer it with an error, or close, and live on.

    tests/lib/http_raw.py HOST:PORT [PATIENCE]

Prints "ok NAME" or "not ok NAME: why" for each case.  PATIENCE is how long the server waits for a
request, in seconds: cases that are about that are left out without it.
"""
import json
import socket
import sys
import time

host, port = sys.argv[1].rsplit(":", 1)
patience = float(sys.argv[2]) if len(sys.argv) > 2 else 0


def connect():
    s = socket.create_connection((host, int(port)), timeout=20)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def read_all(s):
    """What comes until the server closes; None: it did not within its time."""
    data = b""
    try:
        while True:
            part = s.recv(65536)
            if not part:
                return data
            data += part
    except socket.timeout:
        return None
    except ConnectionError:
        return data


def statuses(data):
    return [int(part.split(b" ", 2)[1]) for part in data.split(b"\r\n")
            if part.startswith(b"HTTP/1.") and part.split(b" ", 2)[1].isdigit()]


def case(name, data, want, pieces=1):
    """data is sent; want: statuses of which one must come first, or 0: closing without any will do."""
    s = connect()
    try:
        step = max(1, -(-len(data) // pieces))
        for at in range(0, len(data), step):
            s.sendall(data[at:at + step])
            if pieces > 1:
                time.sleep(0.002)
        s.shutdown(socket.SHUT_WR)
    except (ConnectionError, OSError):
        pass
    got = read_all(s)
    s.close()
    if got is None:
        print(f"not ok {name}: the connection stays open")
        return
    codes = statuses(got)
    first = codes[0] if codes else 0
    print(f"ok {name}" if first in want else f"not ok {name}: status {first} ({got[:60]!r})")


def request(head, body=b"", path="/v1/completions", method="POST"):
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode() + body


JSON = "Content-Type: application/json\r\n"
BAD = (400, 0)
case("nothing at all", b"", (0,))
case("an empty line", b"\r\n", (0, 400))
case("no HTTP", b"hello there\r\n\r\n", (400, 505, 0))
case("bytes of zero", b"\0" * 4096, BAD + (431, 414, 413))
case("bytes of TLS", bytes.fromhex("1603010200010001fc0303") + bytes(range(256)) * 2,
     BAD + (431, 414, 501, 505))
case("an endless line", b"GET /" + b"a" * 200000, (414, 431, 413, 400, 0))
case("an endless header", b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"b" * 200000,
     (431, 413, 400, 0))
case("headers without end", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 50000, (431, 413, 400, 0))
case("no version", b"GET /\r\n\r\n", BAD + (505,))
case("a version that is none", b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", (505, 400, 0))
case("no host", b"GET /health HTTP/1.1\r\n\r\n", (400, 0))
case("a name with blanks", request("Bad Name: x\r\n", method="GET", path="/health"), (400, 200, 503, 0))
case("a negative length", request(JSON + "Content-Length: -5\r\n"), BAD)
case("a length that is none", request(JSON + "Content-Length: many\r\n"), BAD)
case("a length beyond all", request(JSON + "Content-Length: 99999999999999999999999\r\n"), BAD + (413,))
case("more than may be", request(JSON + "Content-Length: 2000000\r\n"), (413,))
case("less than said", request(JSON + "Content-Length: 100\r\n", b"{}"), BAD)
case("two lengths", request(JSON + "Content-Length: 2\r\nContent-Length: 3\r\n", b"{}x"), BAD)
case("a length and chunks", request(JSON + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
                                   b"2\r\n{}\r\n0\r\n\r\n"), BAD)
case("chunks", request(JSON + "Transfer-Encoding: chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n"), (400,))
case("chunks that are none", request(JSON + "Transfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n"), BAD)
case("a chunk that is too long", request(JSON + "Transfer-Encoding: chunked\r\n",
                                         b"ffffffffffffffffff\r\n{}\r\n"), BAD + (413,))
case("chunks that are too many", request(JSON + "Transfer-Encoding: chunked\r\n",
                                         b"10000\r\n" + b" " * 65536 + b"\r\n") +
     (b"10000\r\n" + b" " * 65536 + b"\r\n") * 40 + b"0\r\n\r\n", (413, 0))
case("a coding nobody knows", request(JSON + "Transfer-Encoding: gzip\r\nContent-Length: 2\r\n", b"{}"),
     BAD + (501,))
case("no JSON", request(JSON + "Content-Length: 5\r\n", b"\xff\xfe\x00{}"), (400,))
case("deep JSON", request(JSON + "Content-Length: 100000\r\n", b"[" * 100000), (400, 413))
case("a body to a GET", request(JSON + "Content-Length: 2\r\n", b"{}", "/health", "GET"), (200, 503))
case("a method nobody knows", request("", method="BREW", path="/health"), (405, 404, 501))
case("bytes above ASCII in a path", b"GET /\xff\xfe%ff%00x HTTP/1.1\r\nHost: localhost\r\n\r\n",
     (404, 400))
case("a path that climbs", request("", path="/../../etc/passwd", method="GET"), (404, 400))
case("one byte at a time", request("", path="/v1/nothing", method="GET"), (404,), pieces=200)
case("two at once", request("", path="/v1/nothing", method="GET") * 2, (404,))

if patience:
    start = time.monotonic()
    s = connect()
    s.settimeout(patience + 10)
    s.sendall(b"GET /health HTTP/1.1\r\n")
    got = read_all(s)
    took = time.monotonic() - start
    print("ok half a request is not waited for" if got is not None and took < patience + 5 else
          f"not ok half a request is not waited for: {took:.1f} s")
    start = time.monotonic()
    s = connect()
    s.settimeout(0.2)
    closed = False
    while not closed and time.monotonic() - start < patience + 6:
        try:
            s.sendall(b"A")
            closed = s.recv(100) == b""
        except socket.timeout:
            pass
        except ConnectionError:
            closed = True
    print("ok nor one that trickles" if closed else "not ok nor one that trickles: still open")

# It is all right.
s = connect()
body = json.dumps({"prompt": ""}).encode()
s.sendall(request(JSON + f"Content-Length: {len(body)}\r\n", body))
s.settimeout(20)
got = s.recv(65536)
print("ok and it lives on" if statuses(got)[:1] == [400] else f"not ok and it lives on: {got!r}")
