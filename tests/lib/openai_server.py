#!/usr/bin/env python3
"""A server that answers like one of the OpenAI API, with delays that are known, and badly on demand.

    tests/lib/openai_server.py --ready-fd N [--first MS] [--gap MS] [--log FILE] [--key KEY]
        [--tls CERT KEY] [--per-word X] [--overhead N]

Writes host:port and a newline to descriptor N once it listens, on a port of 127.0.0.1 that was free.
An answer's first token comes after --first, the others --gap apart.  A prompt has --per-word tokens
for each of its words, and --overhead.  What a request's model is called says how it is answered:

    ok          well                            crlf      well, CRLF at the end of lines
    cr          well, CR at the end of lines    utf8      well, in pieces of 1 to 7 bytes
    together    well, all chunks in one write   no-usage  well, without usage
    silent      no text, then [DONE]            comments  well, between comments and other fields
    status-N    status N                        retry-429 status 429 to every other request
    break       connection ends in an event     hang      half of the answer, then nothing
    no-done     ends without [DONE]             cut       ends within the last event, no [DONE]
    json        no event stream at all          bad       an event that is no JSON
    error       an error instead of a token     late      connection stays open after [DONE]
"""
import argparse
import http.server
import json
import os
import re
import socketserver
import ssl
import sys
import threading
import time


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, request, address):  # a client that went away
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def whole(self, status, body, kind="application/json"):
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path == "/v1/models":
            self.whole(200, json.dumps({"object": "list", "data": [{"id": options.model}]}))
        else:
            self.whole(404, json.dumps({"error": {"message": "no such page"}}))

    def put(self, data):
        """A chunk of the transfer coding."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def put_in_pieces(self, data):
        at, size = 0, 1
        while at < len(data):
            self.put(data[at:at + size])
            at += size
            size = size % 7 + 1

    def chunk(self, **more):
        return {"id": "x", "object": "chunk", "model": self.model, **more}

    def token(self, chat, text, finish=None):
        choice = {"index": 0, "finish_reason": finish}
        if chat:
            choice["delta"] = {"content": text} if text else {}
        else:
            choice["text"] = text
        return self.chunk(choices=[choice])

    def event(self, data):
        end = {"crlf": "\r\n", "cr": "\r"}.get(self.model, "\n")
        text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
        if self.model == "comments":
            return f": a comment\nid: 7\nretry: 10\nevent: chunk\ndata:{text}\n\n".encode()
        return f"data: {text}{end}{end}".encode()

    def answer(self, chat, n, usage):
        model, words = self.model, ["\u00e4\u00f6\u20ac\U0001f40b", " two", " three", " \"four\"\\"]
        put = self.put_in_pieces if model == "utf8" else self.put
        events, start = [], time.monotonic()

        def emit(data, wait_until=None):
            if model == "together":
                events.append(self.event(data))
                return
            if wait_until is not None:
                time.sleep(max(0, wait_until - time.monotonic()))
            put(self.event(data))

        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        if chat:
            emit(self.chunk(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}}]))
        for i in range(0 if model == "silent" else n):
            at = start + options.first / 1e3 + i * options.gap / 1e3
            if model == "error" and i == 1:
                emit({"error": {"message": "out of memory", "code": 500}}, at)
                break
            if model == "bad" and i == 1:
                emit("{not json", at)
                break
            if model in ("hang", "break") and i == (n + 1) // 2:
                self.put(b'data: {"choices":[{"te')
                if model == "hang":
                    time.sleep(30)
                self.close_connection = True
                self.connection.close()
                return
            emit(self.token(chat, words[i % len(words)]), at)
        emit(self.token(chat, "", "length"))
        if usage and model != "no-usage":
            emit(self.chunk(choices=[], usage={"prompt_tokens": self.prompt_tokens,
                                               "completion_tokens": n}))
        if model == "cut":
            put(b'data: {"choices":[{"text":"never')
        elif model not in ("no-done", "error", "bad"):
            emit("[DONE]")
        if events:
            time.sleep(options.first / 1e3)
            put(b"".join(events))
        if model == "late":
            time.sleep(0.7)
        self.wfile.write(b"0\r\n\r\n")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        chat = self.path == "/v1/chat/completions"
        if not chat and self.path != "/v1/completions":
            self.whole(404, json.dumps({"error": {"message": "no such page"}}))
            return
        if options.key and self.headers["Authorization"] != "Bearer " + options.key:
            self.whole(401, json.dumps({"error": {"message": "wrong key"}}))
            return
        request = json.loads(body)
        self.model = request["model"]
        text = request["messages"][0]["content"] if chat else request["prompt"]
        self.prompt_tokens = int(options.overhead + len(text.split()) * options.per_word)
        with lock:
            counts["requests"] += 1
            odd = counts["requests"] % 2
            if options.log:
                request["at"] = time.time()
                with open(options.log, "a", encoding="utf-8") as log:
                    log.write(json.dumps(request) + "\n")
        status = re.fullmatch(r"status-(\d+)", self.model)
        if status or self.model == "retry-429" and odd:
            self.whole(int(status[1]) if status else 429,
                       json.dumps({"error": {"message": "not now"}}))
        elif self.model == "json":
            self.whole(200, json.dumps({"choices": [{"text": "all at once"}]}))
        else:
            self.answer(chat, request["max_tokens"], "stream_options" in request)


parser = argparse.ArgumentParser()
parser.add_argument("--ready-fd", type=int, required=True)
parser.add_argument("--first", type=float, default=0)
parser.add_argument("--gap", type=float, default=0)
parser.add_argument("--log")
parser.add_argument("--key")
parser.add_argument("--model", default="ok")
parser.add_argument("--tls", nargs=2)
parser.add_argument("--per-word", type=float, default=1.5)
parser.add_argument("--overhead", type=int, default=0)
options = parser.parse_args()
lock, counts = threading.Lock(), {"requests": 0}
server = Server(("127.0.0.1", 0), Handler)
if options.tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*options.tls)
    server.socket = context.wrap_socket(server.socket, server_side=True,
                                        do_handshake_on_connect=False)
with os.fdopen(options.ready_fd, "w") as ready:
    ready.write("%s:%d\n" % server.server_address)
try:
    server.serve_forever()
except KeyboardInterrupt:
    sys.exit(0)
