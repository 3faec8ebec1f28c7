#!/usr/bin/env python3
"""Requests that are wrong in every way one can think of, to a gate that must live through them.

    tests/lib/http_fuzz.py HOST:PORT SECONDS [--seed N] [--connections N] [--only CONNECTION:NUMBER]

What is sent depends on the seed alone: connection C's N-th piece of work is the same in every run.
It is a request that lib/http_spoil.py has spoilt, and a way to send it and not to read: byte by byte, in
pieces, with half-closed connections, with resets in the middle of an answer.

A server may answer with any status of HTTP, or close.  It must not keep a connection to whose end of
sending there is no answer, nor answer what is no HTTP.  In the end a line of JSON on standard output
says how much was sent and what came back; each thing wrong is a line before it, with the
--only that repeats it.
"""
import argparse
import json
import random
import socket
import struct
import sys
import threading
import time

sys.dont_write_bytecode = True
from http_spoil import make, valid

parser = argparse.ArgumentParser()
parser.add_argument("address")
parser.add_argument("seconds", type=float)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--connections", type=int, default=16)
parser.add_argument("--trickling", type=int, default=20)
parser.add_argument("--only")
options = parser.parse_args()
host, port = options.address.rsplit(":", 1)

PATIENCE = 10  # seconds to an answer, or to the end of a connection whose client ended
PATIENT = 80  # more than a gate's --timeout, 60 s by default
MOST = 4 << 20  # bytes at once: four times what the gate takes

# --- sending ---

counts = {"sent": 0, "bytes": 0, "answers": 0, "closed": 0, "trickled": 0, "statuses": {}, "wrong": 0}
lock = threading.Lock()


def wrong(connection, number, why):
    with lock:
        counts["wrong"] += 1
        if counts["wrong"] <= 20:
            print(f"--seed {options.seed} --only {connection}:{number}: {why}", flush=True)


def drain(s, until):
    """What comes until the other end closes: (bytes, whether it closed)."""
    data = b""
    while True:
        left = until - time.monotonic()
        if left <= 0:
            return data, False
        s.settimeout(left)
        try:
            part = s.recv(65536)
        except socket.timeout:
            return data, False
        except OSError:
            return data, True
        if not part:
            return data, True
        data = (data + part)[:1 << 20]


def send(s, r, data):
    kind = r.randrange(10)
    if kind < 6 or len(data) > 20000:
        s.sendall(data)
    elif kind < 9:  # in some pieces
        cuts = sorted(r.randint(0, len(data)) for _ in range(r.randint(1, 5)))
        for a, b in zip([0] + cuts, cuts + [len(data)]):
            s.sendall(data[a:b])
            time.sleep(r.choice([0, 0.001, 0.01]))
    else:  # byte by byte, for a while
        n = r.choice([20, 100])
        for i in range(min(n, len(data))):
            s.sendall(data[i:i + 1])
            time.sleep(0.0005)
        s.sendall(data[n:])


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def work(connection, number):
    r = random.Random(f"{options.seed}:{connection}:{number}")
    data = make(r)[:MOST]
    ending = r.choice(["end", "end", "end", "close", "reset", "taste", "sleep"])
    try:
        s = socket.create_connection((host, int(port)), timeout=PATIENCE)
    except OSError as e:
        wrong(connection, number, f"no connection: {e}")
        time.sleep(0.2)
        return
    got, closed = b"", True
    try:
        s.settimeout(PATIENCE)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if ending == "sleep":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        send(s, r, data)
        if ending == "end":
            s.shutdown(socket.SHUT_WR)
            got, closed = drain(s, time.monotonic() + PATIENCE)
        elif ending == "taste":  # some of an answer, then a reset
            s.settimeout(r.choice([0.01, 0.05, 0.2, 0.5]))
            got = s.recv(r.choice([1, 100, 5000]))
        elif ending == "sleep":  # reads nothing, for a moment
            time.sleep(r.choice([0, 0.05, 0.3]))
    except (socket.timeout, OSError):
        pass
    if ending in ("reset", "taste"):
        reset(s)
    else:
        s.close()
    with lock:
        counts["sent"] += 1
        counts["bytes"] += len(data)
        if got.startswith(b"HTTP/1.") and got[9:12].isdigit():
            counts["answers"] += 1
            status = got[9:12].decode()
            counts["statuses"][status] = counts["statuses"].get(status, 0) + 1
        elif ending == "end":
            counts["closed"] += 1
    if not closed:
        wrong(connection, number, f"no end to {data[:80]!r}, after {got[:80]!r}")
    elif ending == "end" and got and not got.startswith(b"HTTP/1."):
        wrong(connection, number, f"{got[:80]!r} to {data[:80]!r}")


def trickle():
    """Clients who send a byte now and then, and are left by and by: none may last longer than PATIENT."""
    r = random.Random(f"{options.seed}:trickle")
    slow, end = [], time.monotonic() + options.seconds
    try:
        while time.monotonic() < end:
            while len(slow) < options.trickling:
                s = socket.create_connection((host, int(port)), timeout=PATIENCE)
                s.setblocking(False)
                slow.append([s, r.choice([valid(r).bytes(), make(r)])[:-1] or b"G", 0, time.monotonic()])
            for one in list(slow):
                s, data, at, since = one
                try:
                    # What was answered is over; a valid request without its last byte never is.
                    if s.send(data[at % len(data):][:1]) and s.recv(65536) == b"":
                        raise ConnectionError
                except BlockingIOError:
                    one[2] += 1
                    if time.monotonic() - since < PATIENT:
                        continue
                    wrong("trickle", 0, f"a byte at a time for {PATIENT} s: {data[:80]!r}")
                except OSError:
                    pass
                s.close()
                slow.remove(one)
                with lock:
                    counts["trickled"] += 1
            time.sleep(0.3)
    except OSError as e:
        wrong("trickle", 0, f"no connection: {e}")
    for one in slow:
        one[0].close()


def run(connection):
    end, number = time.monotonic() + options.seconds, 0
    while time.monotonic() < end:
        work(connection, number)
        number += 1


if options.only:
    c, n = map(int, options.only.split(":"))
    r = random.Random(f"{options.seed}:{c}:{n}")
    print(repr(make(r)[:4000]), flush=True)
    work(c, n)
else:
    threads = [threading.Thread(target=run, args=(i,)) for i in range(options.connections)]
    threads.append(threading.Thread(target=trickle))
    for t in threads:
        t.start()
    for t in threads:
        t.join()
print(json.dumps(counts, sort_keys=True))
sys.exit(counts["wrong"] > 0)
