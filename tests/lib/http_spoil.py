"""Requests to a gate that are wrong in every way one can think of, for lib/http_fuzz.py.

Valid ones, of a small grammar, are spoilt: in their headers, their lengths, their chunks, their JSON
or their bytes; sent several at once; or are no HTTP at all.  All of it is drawn from the random.Random
that is given.
"""
import json

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
PAGES = ["/health", "/metrics", "/cluster", "/v1/models", "/v1/models/model", "/", COMPLETIONS]
SPECIAL = [b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\t", b" ", b":", b",", b";", b"\xff", b"\x80",
           b"\xc3",
           b"%", b"%00", b"..", b"/", b"?", b"#", b'"', b"\\", b"{", b"[", b"-", b"+", b"0x", b"1e999",
           b"\x7f"]
NUMBERS = ["-1", "0", "1", "00000000001", "+5", "0x10", "5 ", " 5", "5,5", "5, 6", "1e3", "2.5", "", "many",
           "４",
           "2147483647", "2147483648", "4294967295", "4294967296", "9223372036854775807",
           "9223372036854775808", "18446744073709551615", "18446744073709551616", "9" * 400]


class Request:
    """A request before it is bytes."""

    def __init__(self, method, path, version="HTTP/1.1", headers=None, body=b"", chunks=None):
        self.method, self.path, self.version = method, path, version
        self.headers = headers or [("Host", "localhost")]
        self.body, self.chunks = body, chunks

    def bytes(self):
        lines = [b" ".join(part if isinstance(part, bytes) else part.encode("utf-8", "surrogateescape")
                           for part in (self.method, self.path, self.version))]
        for name, value in self.headers:
            line = name if isinstance(name, bytes) else name.encode()
            if value is not None:
                line += b": " + (value if isinstance(value, bytes) else value.encode())
            lines.append(line)
        return b"\r\n".join(lines) + b"\r\n\r\n" + (self.body if self.chunks is None else self.chunks)


# --- the grammar ---

def words(r, n):
    return " ".join(r.choice(["Once", "upon", "a", "time", "the", "girl", "é", "猫",
                              "\U0001f408"]) for _ in range(n))


def wish(r, chat):
    """A request's JSON, as it should be."""
    body = {"max_tokens": r.choice([1, 2, 5, 20]), "temperature": r.choice([0, 0.7, 1]),
            "stream": r.random() < 0.6}
    if chat:
        body["messages"] = [{"role": r.choice(["system", "user", "assistant"]), "content": words(r, 3)}
                            for _ in range(r.randint(1, 3))]
    else:
        body["prompt"] = r.choice([words(r, r.randint(1, 6)), [1, 5, 9], [words(r, 2), words(r, 2)]])
    for key, value in (("n", r.randint(1, 3)), ("seed", r.randint(-9, 9)), ("stop", [words(r, 1)]),
                       ("top_k", 5),
                       ("logprobs", chat or 2), ("user", words(r, 1)), ("model", "model")):
        if r.random() < 0.15:
            body[key] = value
    return body


def post(r):
    chat = r.random() < 0.4
    body = json.dumps(wish(r, chat), ensure_ascii=r.random() < 0.5).encode()
    return with_body(Request("POST", CHAT if chat else COMPLETIONS), body)


def with_body(request, body):
    request.headers = [h for h in request.headers if h[0] not in ("Content-Type", "Content-Length")]
    request.headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    request.body = body
    return request


def get(r):
    return Request(r.choice(["GET", "GET", "HEAD", "OPTIONS"]), r.choice(PAGES))


def valid(r):
    return post(r) if r.random() < 0.6 else get(r)


# --- what is done to it ---

def spoil_bytes(r, data):
    data = bytearray(data)
    for _ in range(r.choice([1, 1, 2, 5, 20])):
        at = r.randint(0, len(data))
        kind = r.randrange(6)
        if kind == 0:
            data[at:at] = r.choice(SPECIAL) * r.choice([1, 1, 1, 2, 300])
        elif kind == 1:
            del data[at:at + r.choice([1, 1, 2, 10, 100])]
        elif kind == 2 and at < len(data):
            data[at] ^= 1 << r.randrange(8)
        elif kind == 3:
            data[at:at] = data[at:at + r.choice([1, 10, 100])] * r.choice([1, 2, 50])
        elif kind == 4:
            data[at:at + 1] = r.choice(SPECIAL)
        else:
            other = r.randint(0, len(data))
            data[at:at + 4], data[other:other + 4] = data[other:other + 4], data[at:at + 4]
    return bytes(data)


def spoil_start(r, request):
    request.method = r.choice(["BREW", "", "get", "PATCH", "DELETE", "TRACE", "CONNECT", "PRI", "G" * 40000,
                               "GE\0T", request.method])
    request.version = r.choice(["HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/9.9", "HTTP/1.",
                                "HTTP/1.11",
                                "HTTP/-1.1", "http/1.1", "", "HTTP", "HTTP/1.1 x"])
    request.path = r.choice([request.path, "*", "", "//", "/../..", "http://localhost/health",
                             "/" + "a" * r.choice([100, 40000]),
                             "/%", "/%0", "/%zz", "/%00", "/\0", "/a b",
                             "/?" + "&".join(f"a{i}={i}" for i in range(r.choice([3, 3000]))),
                             request.path + "?" + "x" * 5000, request.path + "#f", "/\udcff\udcfe",
                             request.path + "/"])
    return request.bytes()


def spoil_headers(r, request):
    name = r.choice(["Host", "Content-Type", "Content-Length", "Authorization", "Origin", "Cookie", "X", "",
                     "A b", "A\0b",
                     "\xe9", "A:", " A", "A ", "\tA", "(", "Connection", "Keep-Alive", "Range", "If-Match",
                     "TE", "Trailer"])
    value = r.choice(["", "x", "x" * r.choice([5000, 40000, 200000]), "a\0b", "a\rb", "a\nb", "a\r\n b",
                      "a\r\n\tb", "\xff",
                      "localhost:99999", "[::1", "evil.example", "*", "close", "keep-alive, close",
                      "a=b; " * 3000, ","])
    for _ in range(r.choice([1, 1, 1, 2, 5] + ([100, 3000] if len(value) < 100 else []))):
        request.headers.insert(r.randint(0, len(request.headers)), (name.encode("latin-1"),
                                                                    value.encode("latin-1")))
    if r.random() < 0.2:
        request.headers.append((b"no colon at all", None))
    if r.random() < 0.2:
        request.headers = [h for h in request.headers if h[0] != "Host"]
    data = request.bytes()
    if r.random() < 0.2:
        data = data.replace(b"\r\n", r.choice([b"\n", b"\r", b"\n\r", b"\r\r\n", b"\r\n "]))
    return data


def spoil_length(r, request):
    number = r.choice(NUMBERS + [str(len(request.body) + d) for d in (-1, 1, -len(request.body), 1000,
                                                                      1000000)])
    kind = r.randrange(4)
    headers = [h for h in request.headers if kind == 3 or h[0] != "Content-Length"]
    headers += [("Content-Length", number)] * r.choice([1, 1, 2, 50])
    if kind == 1:
        headers.append(("Content-Length", str(len(request.body))))
    if kind == 2:
        headers.append(("Transfer-Encoding", r.choice(["chunked", "Chunked", "gzip, chunked",
                                                       "chunked, chunked", "identity",
                                                       "xchunked", "chunked;q=1", "", "\x0bchunked"])))
    request.headers = headers
    return request.bytes()


def spoil_chunks(r, request):
    request.headers = [h for h in request.headers if h[0] != "Content-Length"]
    request.headers += [("Transfer-Encoding", "chunked")]
    if request.method != "POST":
        request.method, request.path = "POST", COMPLETIONS
        request.headers.append(("Content-Type", "application/json"))
    body, out = request.body or b"{}", b""
    while body:
        n = min(len(body), r.choice([1, 2, 7, 50, 4096]))
        size = f"{n:x}".encode()
        if r.random() < 0.25:
            size = r.choice([b"-1", b"0x5", b"", b"zz", b"f" * 16, b"f" * 17, b"8000000000000000",
                             b"1" + b"0" * 300, b" 5", b"5 ",
                             b"+5", b"7fffffff", b"ffffffff", f"{n + 1:x}".encode(), f"{n - 1:x}".encode(),
                             b"0" * 3000 + size])
        if r.random() < 0.2:
            size += r.choice([b";", b";a=b", b";a=\"", b";" + b"x" * r.choice([100, 20000]), b"\0", b" ;"])
        out += size + r.choice([b"\r\n"] * 8 + [b"\n", b"\r",
                                                b""]) + body[:n] + r.choice([b"\r\n"] * 8 + [b"\n", b"",
                                                                                             b"xx"])
        body = body[n:]
    if r.random() < 0.1:
        out += (b"1000\r\n" + b" " * 4096 + b"\r\n") * r.choice([10, 300])
    out += r.choice([b"0\r\n\r\n"] * 4 + [b"0\r\n", b"", b"0\r\nTrailer: x\r\n\r\n",
                                          b"0\r\n" + b"A: b\r\n" * 5000 + b"\r\n", b"00\r\n\r\n"])
    request.chunks = out
    return request.bytes()


def strange_value(r, depth=0):
    return r.choice([None, True, False, -1, 0, 1, 2.5, 1e308, -1e308, 10 ** 30, -10 ** 30, 2 ** 63, 2 ** 64,
                     5e-324, "", "a" * 5000, "\0",
                     "\ud800", "﻿", [], {}, [[]], [{}], {"": {}}, ["a"] * 200, [0] * 3000, [-1], [10 ** 9],
                     {"role": "user"}, [{"role": "user", "content": None}], "true", "1",
                     [strange_value(r, depth + 1)] if depth < 3 else 0])


def spoil_json(r, request):
    chat = request.path == CHAT
    body = wish(r, chat)
    for _ in range(r.choice([1, 1, 2, 5])):
        key = r.choice(list(body) + ["n", "stop", "seed", "logprobs", "top_logprobs", "stream_options",
                                     "stop_token_ids", "top_p", "min_p",
                                     "repetition_penalty", "echo", "best_of", "tools", "logit_bias",
                                     "prompt", "messages", "x" * 500, ""])
        body[key] = strange_value(r)
    if isinstance(body.get("max_tokens"), (int, float)) and not 0 <= body["max_tokens"] <= 50:
        body["max_tokens"] = 3
    text = json.dumps(body).encode("utf-8", "surrogatepass")
    kind = r.randrange(8)
    if kind == 0:
        depth = r.choice([10, 100, 2000, 100000])
        text = r.choice([b"[", b'{"a":', b'{"prompt":['])[:7] * depth
    elif kind == 1:
        text = text[:r.randint(0, len(text))]
    elif kind == 2:
        text = text.replace(b'"', r.choice([b"'", b'\\"', b"\xff", b'"\\u0000']), r.choice([1, 2, 3]))
    elif kind == 3:
        text = r.choice([b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b" " * 5000, b"/**/", b"{}"]) + text
    elif kind == 4:
        text = text[:-1] + b',"prompt":"again","prompt":"and again"}'
    elif kind == 5:
        text = spoil_bytes(r, text)
    return with_body(request, text).bytes()


def no_http(r):
    return r.choice([
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0",
        bytes.fromhex("1603010200010001fc0303") + r.randbytes(200),
        b"SSH-2.0-OpenSSH_9.2\r\n", b"GET /health\r\n", b"GET /\r\n\r\n", b"\r\n" * r.choice([1, 10, 5000]),
                     b"\0" * r.choice([1, 5000]),
        r.randbytes(r.choice([1, 20, 1000, 100000])), b"{\"prompt\":\"a\"}\n",
                     b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\nGET / HTTP/1.1\r\n\r\n",
        b"\x05\x01\x00", b"*1\r\n$4\r\nPING\r\n", b"GET / HTTP/1.1" * 5000, b"GET ", b"G", b""])


def with_manners(r, request):
    """Headers that ask for something else than an answer."""
    request.headers += r.choice([
        [("Expect", "100-continue")], [("Expect", "200-ok")], [("Expect", "100-continue, x")],
        [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "x" * 24),
         ("Sec-WebSocket-Version", "13")],
        [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings",
                                                                         "AAMAAABkAAQAoAAAAAIAAAAA")],
        [("Connection", "close")], [("Connection", "\x00")], [("Range", "bytes=0-1,5-,-3")],
                                 [("Accept-Encoding", "gzip;q=1e9")],
        [("If-None-Match", "*")], [("Content-Encoding", "gzip")], [("Content-Type",
                                                                    "application/json; charset=" + "u" * 3000)],
        [("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "a\x7f, b")]])
    return request.bytes()


def make(r):
    """(bytes, how): what is sent; how: an answer must come or it must close, when sending ends."""
    kind = r.randrange(12)
    if kind == 0:
        return valid(r).bytes()
    if kind == 1:
        return spoil_bytes(r, valid(r).bytes())
    if kind == 2:
        return spoil_start(r, valid(r))
    if kind == 3:
        return spoil_headers(r, valid(r))
    if kind == 4:
        return spoil_length(r, post(r))
    if kind == 5:
        return spoil_chunks(r, valid(r))
    if kind in (6, 7):
        return spoil_json(r, post(r))
    if kind == 8:
        return no_http(r)
    if kind == 9:
        return with_manners(r, valid(r))
    if kind == 10:
        return b"".join(make(r) if r.random() < 0.2 else valid(r).bytes() for _ in range(r.choice([2, 3,
                                                                                                   10])))
    data = valid(r).bytes()
    return data[:r.randint(0, len(data))]
