#!/usr/bin/env python3
"""What aria2 needs beside itself: a torrent of a file, and a tracker that knows who is there.

    torrent.py make FILE URL >FILE.torrent
    torrent.py track ADDRESS PORT
"""
import hashlib
import http.server
import os
import socket
import struct
import sys
import urllib.parse

PIECE = 256 << 10


def bencode(value):
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    return b"d" + b"".join(bencode(k) + bencode(value[k]) for k in sorted(value)) + b"e"


def make(path, url):
    hashes = b""
    with open(path, "rb") as file:
        while data := file.read(PIECE):
            hashes += hashlib.sha1(data).digest()
    info = {"length": os.path.getsize(path), "name": os.path.basename(path), "piece length": PIECE,
            "pieces": hashes}
    sys.stdout.buffer.write(bencode({"announce": url, "info": info}))


class Tracker(http.server.BaseHTTPRequestHandler):
    swarms = {}  # of each info_hash: its peers, as address and port

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query, encoding="latin-1")
        swarm = self.swarms.setdefault(query["info_hash"][0], set())
        me = (self.client_address[0], int(query["port"][0]))
        swarm.add(me)
        peers = b"".join(socket.inet_aton(host) + struct.pack(">H", port)
                         for host, port in swarm - {me})
        answer = bencode({"interval": 1, "min interval": 1, "peers": peers})
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


if sys.argv[1] == "make":
    make(sys.argv[2], sys.argv[3])
else:
    http.server.ThreadingHTTPServer((sys.argv[2], int(sys.argv[3])), Tracker).serve_forever()
