#!/usr/bin/env python3
"""A stranger's implementation: written from lsc-stream(5), lsc-image(5) and lsc-wire(5) alone.

    stranger.py image DIR                         hold an image to the rules; print its counts
    stranger.py tokenize DIR                      the ids of standard input, and back
    stranger.py run DIR N ID... [KEY=VALUE...]    N tokens of an f32 image, by itself
    stranger.py receive DIR [VERSION]             take part in one cast; print where at first
    stranger.py hold DIR ID                       be a source in one cast of the image at DIR
    stranger.py want ADDRESS NAME                 what a node has of it
    stranger.py send DIR ORDER ADDRESS...         cast an image to nodes
    stranger.py part DIR ADDRESS BLOCK...         give a node some blocks of it, and leave
    stranger.py work DIR                          be a worker; print where at first
    stranger.py ask ARRIVALS DIR STAGES N ID... [KEY=VALUE...]
                                                  N tokens from so many workers of a cast;
                                                  move=I: after I of them all go to the first
    stranger.py say ADDRESS KIND MAJOR [TYPE]     a hello, a record; print what comes back

It uses nothing that is not in Python's library.  That has no XXH3, so hashes are not verified here.
Tokens are the likeliest, or drawn as a run's keys say.
"""
import io
import math
import operator
import os
import queue
import socket
import struct
import sys
import threading
import time

# --- msgpack ---


HEADS = {  # by kind: first bytes that hold the number themselves, then those with 1, 2, 4, 8 bytes
    int: (0x00, 128, 0xCC, 0xCD, 0xCE, 0xCF), str: (0xA0, 32, 0xD9, 0xDA, 0xDB),
    bytes: (0, 0, 0xC4, 0xC5, 0xC6), list: (0x90, 16, None, 0xDC, 0xDD),
    dict: (0x80, 16, None, 0xDE, 0xDF)}


def head(kind, n):
    fix, end, *wide = HEADS[kind]
    if n < end:
        return bytes([fix | n])
    for code, form in zip(wide, (">B", ">H", ">I", ">Q")):
        if code and n < 256 ** struct.calcsize(form):
            return bytes([code]) + struct.pack(form, n)


def pack(v):
    if isinstance(v, bool):
        return b"\xc3" if v else b"\xc2"
    if isinstance(v, int):
        return head(int, v)
    if isinstance(v, float):
        return b"\xcb" + struct.pack(">d", v)
    if isinstance(v, str):
        v = v.encode()
        return head(str, len(v)) + v
    if isinstance(v, bytes):
        return head(bytes, len(v)) + v
    if isinstance(v, list):
        return head(list, len(v)) + b"".join(map(pack, v))
    return head(dict, len(v)) + b"".join(pack(k) + pack(v[k]) for k in v)


def unpack(read):
    """One value; read(n) gives exactly n bytes."""
    def number(form):
        return struct.unpack(form, read(struct.calcsize(form)))[0]

    t = read(1)[0]
    if t < 0x80 or t >= 0xE0:
        return t if t < 0x80 else t - 256
    if t < 0xC0:
        n, t = (t & 31, 0xD9) if t >= 0xA0 else (t & 15, 0xDC if t >= 0x90 else 0xDE)
    elif t in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[t]
    elif 0xCA <= t <= 0xD3:
        return number(">" + "fdBHIQbhiq"[t - 0xCA])
    elif 0xC4 <= t <= 0xC6 or t >= 0xD9:
        n = number({0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I",
                    0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I"}[t])
    else:
        raise ValueError("msgpack type %#x" % t)
    if t <= 0xC6:
        return read(n)
    if t <= 0xDB:
        return read(n).decode()
    if t <= 0xDD:
        return [unpack(read) for _ in range(n)]
    return {unpack(read): unpack(read) for _ in range(n)}


# --- streams and links ---


class Stream:
    def __init__(self, file):
        self.file = file

    def read(self, n):
        data = self.file.read(n)
        if len(data) != n:
            raise EOFError
        return data

    def next(self):
        """(type, record, body)"""
        record = unpack(self.read)
        body = None
        if "body" in record:
            body = unpack(self.read)
            assert isinstance(body, bytes) and len(body) == record["body"]
        return record["type"], record, body

    def hello(self, kind):
        t, r, _ = self.next()
        assert (t, r["kind"], r["version"][0]) == ("hello", kind, 2 if kind == "cast" else 1), r


class Link(Stream):
    def __init__(self, sock, kind, version=None):
        self.sock, self.lock = sock, threading.Lock()
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(sock.makefile("rb"))
        version = version or ((2, 1) if kind == "cast" else (1, 2))
        self.say("hello", kind=kind, version=list(version))

    def say(self, type_, body=None, **keys):
        data = pack({"type": type_, **keys, **({} if body is None else {"body": len(body)})})
        with self.lock:
            self.sock.sendall(data + (b"" if body is None else head(bytes, len(body))))
            if body is not None:
                self.sock.sendall(body)


def connect(address, kind, **more):
    host, port = address.rsplit(":", 1)
    return Link(socket.create_connection((host.strip("[]"), int(port)), 10), kind, **more)


# --- lsc-image(5) ---

ELEMENT = {"f32": 4, "f16": 2, "bf16": 2}


def tile_bytes(cols):
    c = -(-cols // 32) * 32
    return 16 * c + -(-c // 64) * 64


def tensor_bytes(role, dtype, rows, cols):
    if dtype != "q8":
        return rows * cols * ELEMENT[dtype]
    parts = 2 if role == "gate_up" else 1
    return parts * -(-rows // parts // 16) * tile_bytes(cols)


def quantised(data, at, rows, cols):
    c = -(-cols // 32) * 32
    for r in range(rows):
        tile = at + r // 16 * tile_bytes(cols)
        scales = [struct.unpack_from("<e", data, tile + 16 * c + 32 * b + r % 16 * 2)[0]
                  for b in range(c // 32)]
        q = [struct.unpack_from("<b", data, tile + k // 4 * 64 + r % 16 * 4 + k % 4)[0]
             for k in range(cols)]
        yield [scales[k // 32] * v for k, v in enumerate(q)]


def matrix(data, role, dtype, rows, cols, at):
    """Rows of f32 or q8."""
    if dtype == "f32":
        return [struct.unpack_from("<%df" % cols, data, at + 4 * cols * r) for r in range(rows)]
    assert dtype == "q8"
    half = tensor_bytes(role, dtype, rows, cols) // 2
    return [row for i in range(2) for row in quantised(data, at + half * i, rows // 2, cols)] \
        if role == "gate_up" else list(quantised(data, at, rows, cols))


def begins(model):
    """The units that a stage may begin with: embedding, layers, head."""
    each = 1 + model.get("experts", 0)
    return [0, *range(1, model["layers"] * each + 2, each)]


class Image:
    def __init__(self, file, data=None):  # data: the file beside it
        s = Stream(file)
        s.hello("image")
        records = []
        while not records or records[-1][0] != "end":
            records.append(s.next())
        assert not file.read(1), "bytes after the end"
        of = [r["tensors"] for t, r, _ in records if t == "tensors"]
        assert [t for t, _, _ in records[:3 + len(of)]] == ["model", "layout", *["tensors"] * len(of),
                                                             "pieces"]
        assert of and all(len(some) == 16384 for some in of[:-1]) and 0 < len(of[-1]) <= 16384
        self.model, layout = (r for _, r, _ in records[:2])
        self.layout, self.tensors = layout, sum(of, [])
        self.hashes = records[2 + len(of)][2]
        self.begins = begins(self.model)
        self.tokenizer = data and data[: layout.get("tokenizer", 0)]
        self.check_blocks()
        self.check_tensors()

    def check_blocks(self):
        layout, at, unit = self.layout, 0, 0
        align, size = layout["align"], layout["piece_bytes"]
        assert align & align - 1 == 0 and size & size - 1 == 0
        self.pieces = []  # (block, offset, bytes)
        for i, (offset, length, first, units) in enumerate(layout["blocks"]):
            assert (offset, first) == (at, unit) and length and units, "blocks leave a gap"
            at, unit = offset + length, first + units
            assert at == layout["bytes"] or at % align == 0
            self.pieces += [(i, o, min(size, at - o)) for o in range(offset, at, size)]
        assert (at, unit) == (layout["bytes"], self.begins[-1] + 1)
        assert len(self.hashes) == 16 * len(self.pieces)

    def implied(self):
        m, head = self.model, self.begins[-1]
        q, kv = m["heads"] * m["head_dim"], m["kv_heads"] * m["head_dim"]
        if not m["tied"]:
            yield "embed", 0, m["vocab"], m["hidden"]
        for u in self.begins[1:-1]:
            yield "attn_norm", u, 1, m["hidden"]
            yield "qkv", u, q + 2 * kv, m["hidden"]
            if m["qkv_bias"]:
                yield "qkv_bias", u, 1, q + 2 * kv
            if m["qk_norm"]:
                yield "q_norm", u, 1, m["head_dim"]
                yield "k_norm", u, 1, m["head_dim"]
            yield "o", u, m["hidden"], q
            yield "ffn_norm", u, 1, m["hidden"]
            if "experts" in m:
                yield "router", u, m["experts"], m["hidden"]
            ffn = m["expert_ffn" if "experts" in m else "ffn"]
            for e in range(u + 1, u + 1 + m["experts"]) if "experts" in m else [u]:
                yield "gate_up", e, 2 * ffn, m["hidden"]
                yield "down", e, m["hidden"], ffn
        yield "final_norm", head, 1, m["hidden"]
        yield "embed" if m["tied"] else "head", head, m["vocab"], m["hidden"]

    def check_tensors(self):
        at, blocks = self.layout.get("tokenizer", 0), self.layout["blocks"]
        implied = list(self.implied())
        assert len(implied) == len(self.tensors)
        for want, (role, unit, dtype, rows, cols, offset) in zip(implied, self.tensors):
            assert want == (role, unit, rows, cols), (want, role)
            assert dtype == ("f32" if rows == 1 or role == "router" else self.layout["dtype"])
            start, length = next(b[:2] for b in blocks if b[2] <= unit < b[2] + b[3])
            assert offset % 256 == 0 and offset >= max(at, start)
            at = offset + tensor_bytes(role, dtype, rows, cols)
            assert at <= start + length


def image(path):
    with open(path + "/manifest", "rb") as f:
        i = Image(f)
    assert os.path.getsize(path + "/image") == i.layout["bytes"]
    print("%d tensors, %d blocks, %d pieces, %d bytes" %
          (len(i.tensors), len(i.layout["blocks"]), len(i.pieces), i.layout["bytes"]))


class Tokenizer:
    """Of the kind that has no patterns; Python's library has no PCRE2."""

    SECTIONS = ("ends", "text", "flags", "bytes", "chars", "char_ids", "sorted", "added_first",
                "added", "merge_first", "right", "rank", "id", "stages", "patterns")

    def __init__(self, body):
        assert body[:8] == b"lsc-tok\1"
        numbers = struct.unpack_from("<9I", body, 8)
        self.kind, self.vocab, self.bos, self.unk = numbers[:4]
        assert numbers[8] == 0, "there are patterns"
        for i, name in enumerate(self.SECTIONS):
            offset, n = struct.unpack_from("<2I", body, 44 + 8 * i)
            data = body[offset:offset + n]
            if name not in ("text", "flags", "patterns"):
                data = struct.unpack("<%dI" % (n // 4), data)
            setattr(self, name, data)
        starts = (0,) + self.ends[:-1]
        self.words = [self.text[a:b] for a, b in zip(starts, self.ends)]
        self.merges = {(left, self.right[i]): (self.rank[i], self.id[i])
                       for left in range(self.vocab)
                       for i in range(self.merge_first[left], self.merge_first[left + 1])}

    def symbols(self, piece):
        chars = dict(zip(self.chars, self.char_ids))
        for c in piece:
            of_bytes = [self.bytes[b] for b in c.encode()]
            if not self.kind & 1 and ord(c) in chars:
                yield chars[ord(c)]
            elif self.kind & 5 and all(t < self.vocab for t in of_bytes):
                yield from of_bytes
            else:
                yield self.unk

    def encode(self, text):
        """Text without added tokens."""
        assert not self.kind & (16 | 32)
        text = text.replace("\u2581", " ") if self.kind & 2 else text
        if text and self.kind & (64 | 128) and not (self.kind & 256 and text[0] == " "):
            text = " " + text
        ids = list(self.symbols(text))
        while True:
            pairs = [(*self.merges[p], i) for i, p in enumerate(zip(ids, ids[1:]))
                     if p in self.merges]
            if not pairs:
                return [self.bos] * (self.bos < self.vocab) + ids
            _, made, i = min(pairs, key=lambda p: (p[0], p[2]))
            ids[i:i + 2] = [made]

    def decode(self, ids):
        words = [self.words[i] for i in ids if not self.flags[i] & (2 | 32)]
        return b"".join(words).removeprefix(b" " if self.kind & 512 else b"").decode()


def tokenize(path):
    with open(path + "/manifest", "rb") as f, open(path + "/image", "rb") as data:
        tokenizer = Tokenizer(Image(f, data.read()).tokenizer)
    text = sys.stdin.buffer.read().decode()
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text.replace("\u2581", " ")
    print(*ids)


class Decoder:
    """Runs an image of f32 or q8, slowly: for small ones."""

    def __init__(self, path):
        with open(path + "/manifest", "rb") as f:
            image = Image(f)
        with open(path + "/image", "rb") as f:
            data = f.read()
        self.model = image.model
        self.speeds = [self.speed(i) for i in range(self.model["head_dim"] // 2)]
        self.begins = image.begins
        self.units = [{} for _ in range(self.begins[-1] + 1)]
        for role, unit, dtype, rows, cols, at in image.tensors:
            self.units[unit][role] = matrix(data, role, dtype, rows, cols, at)
        last = self.units[-1]
        self.embed = self.units[0].get("embed") or last["embed"]
        self.final_norm, self.head = last["final_norm"], last.get("head") or self.embed

    def norm(self, x, weight):
        scale = 1 / math.sqrt(sum(v * v for v in x) / len(x) + self.model["norm_eps"])
        return [w * v * scale for w, v in zip(weight[0], x)]

    def speed(self, i):
        m = self.model
        s = m["rope_theta"] ** (-2 * i / m["head_dim"])
        if m.get("rope_scaling") == "linear":
            return s / m["rope_factor"]
        if m.get("rope_scaling") == "yarn":
            r = (i - m["rope_low"]) / (m["rope_high"] - m["rope_low"])
            r = min(max(r, 0), 1)
            return (1 - r) * s + r * s / m["rope_factor"]
        wave = 2 * math.pi / s
        if "rope_scaling" not in m or wave < m["rope_context"] / m["rope_high"]:
            return s
        if wave > m["rope_context"] / m["rope_low"]:
            return s / m["rope_factor"]
        b = (m["rope_context"] / wave - m["rope_low"]) / (m["rope_high"] - m["rope_low"])
        return (1 - b) * s / m["rope_factor"] + b * s

    def turn(self, head, pos):
        half, out = len(head) // 2, list(head)
        for i in range(half):
            c, s = math.cos(pos * self.speeds[i]), math.sin(pos * self.speeds[i])
            out[i] = head[i] * c - head[i + half] * s
            out[i + half] = head[i + half] * c + head[i] * s
        return [v * self.model.get("rope_attention", 1) for v in out]

    def swiglu(self, w, x):
        y = times(w["gate_up"], x)
        return times(w["down"], [g / (1 + math.exp(-g)) * u for g, u in zip(y, y[len(y) // 2:])])

    def experts(self, unit, x):
        m = self.model
        p = [math.exp(v) for v in times(self.units[unit]["router"], x)]
        chosen = sorted(range(m["experts"]), key=lambda e: (-p[e], e))[:m["experts_used"]]
        total = sum(p[e] for e in chosen) if m["norm_topk"] else sum(p)
        made = [[p[e] / total * v for v in self.swiglu(self.units[unit + 1 + e], x)] for e in chosen]
        return [sum(column) for column in zip(*made)]

    def layer(self, unit, x, past):
        m, w = self.model, self.units[unit]
        d, pos = m["head_dim"], len(past)
        y = times(w["qkv"], self.norm(x, w["attn_norm"]))
        y = [a + b for a, b in zip(y, w["qkv_bias"][0])] if m["qkv_bias"] else y
        heads = [y[i:i + d] for i in range(0, len(y), d)]
        n = m["heads"] + m["kv_heads"]
        for i in range(n):
            if m["qk_norm"]:
                heads[i] = self.norm(heads[i], w["q_norm" if i < m["heads"] else "k_norm"])
            heads[i] = self.turn(heads[i], pos)
        past.append((heads[m["heads"]:n], heads[n:]))
        if "window" in m and self.begins.index(unit) > m.get("window_first", 0):
            past = past[-m["window"]:]
        a = []
        for h in range(m["heads"]):
            of = h // (m["heads"] // m["kv_heads"])
            p = [math.exp(dot(heads[h], k[of]) / math.sqrt(d)) for k, _ in past]
            a += [sum(e * v[of][i] for e, (_, v) in zip(p, past)) / sum(p) for i in range(d)]
        x = [v + o for v, o in zip(x, times(w["o"], a))]
        y = self.norm(x, w["ffn_norm"])
        y = self.experts(unit, y) if "experts" in m else self.swiglu(w, y)
        return [v + o for v, o in zip(x, y)]

    def run(self, cache, first, last, x):
        """Units first to last: from a token or activations to activations or logits."""
        x = list(self.embed[x]) if first == 0 else x
        head = len(self.units) - 1
        for unit in self.begins[1:-1]:
            if first <= unit <= last:
                x = self.layer(unit, x, cache.setdefault(unit, []))
        if last < head:
            return x
        return times(self.head, self.norm(x, self.final_norm))


def dot(a, b):
    return sum(map(operator.mul, a, b))


def times(matrix, x):
    return [dot(row, x) for row in matrix]


def draw(logits, how, past, pos):
    """The token at pos, which follows those in past, and what a client is told of it."""
    most = max(logits)
    less = most + math.log(sum(math.exp(l - most) for l in logits))
    told = {}
    if "logprobs" in how:
        best = sorted(range(len(logits)), key=lambda i: (-logits[i], i))[: how["logprobs"]]
        told = {"top": [[i, logits[i] - less] for i in best]}
    own, penalty = logits, how.get("penalty", 1)
    if penalty != 1:
        logits = list(logits)
        for i in set(past):
            logits[i] = logits[i] / penalty if logits[i] > 0 else logits[i] * penalty
    temp, top_k, top_p, min_p = (
        how.get(k, d) for k, d in (("temp", 0), ("top_k", 0), ("top_p", 1), ("min_p", 0)))
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    token = order[0]
    if temp > 0:
        cuts = 0 < top_k < len(logits) or top_p < 1 or min_p > 0
        order = order if cuts else list(range(len(logits)))
        if top_k:
            order = order[:top_k]
        weights = [math.exp((logits[i] - logits[token]) / temp) for i in order]
        if top_p < 1:
            total, most = 0, top_p * sum(weights)
            for n, weight in enumerate(weights):
                total += weight
                if total >= most:
                    break
            weights = weights[: n + 1]
        if min_p > 0:
            weights = [w for w in weights if w >= min_p]
        left = uniform(how.get("seed", 0), pos) * sum(weights)
        for token, weight in zip(order, weights):
            left -= weight
            if left < 0:
                break
    if "logprobs" in how:
        told["logprob"] = own[token] - less
    return {"token": token, **told}


def uniform(seed, pos):
    wrap = 2**64 - 1
    z = seed + 0x9E3779B97F4A7C15 * (pos + 1) & wrap
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & wrap
    z = (z ^ z >> 27) * 0x94D049BB133111EB & wrap
    return ((z ^ z >> 31) >> 11) / 2**53


def arguments(words):
    """Ids, and how to draw: as KEY=VALUE."""
    ids = [int(w) for w in words if "=" not in w]
    pairs = (w.split("=") for w in words if "=" in w)
    return ids, {k: float(v) if "." in v else int(v) for k, v in pairs}


def run(path, n, *words):
    decoder, cache = Decoder(path), {}
    (ids, how), last, answer = arguments(words), len(decoder.units) - 1, []
    for token in ids[:-1]:
        decoder.run(cache, 0, last, token)
    past, token = ids[:-1], ids[-1]
    while len(answer) < int(n):
        past.append(token)
        token = draw(decoder.run(cache, 0, last, token), how, past, len(past))["token"]
        if token in decoder.model["eos"]:
            break
        answer.append(token)
    print(*answer)


# --- schedules ---


def receive_blocks(y, p, q, skip):
    skip = skip + [1 << 62]
    w = y
    for base in range(q - 1, -1, -1):
        if w == skip[base]:
            break
        if w > skip[base]:
            w -= skip[base]
    left = set(range(q + 1)) - {base}
    last, got = 2 * p, []

    def settle(length, start):
        nonlocal last
        for e in range(start, -1, -1):
            k = len(got)
            if k == q:
                return
            z = length + skip[e]
            if e not in left or z > p + y - skip[k] or z >= last:
                continue
            if z <= p + y - skip[k + 1]:
                settle(z, e)
            k = len(got)
            if k == q or length > p + y - skip[k + 1]:
                return
            last = z
            got.append(e)
            left.remove(e)

    settle(0, q)
    return [base if e == q else e - q for e in got]


def moves(order, x, p, b):
    """What place x of p sends: (round, place, block)."""
    if order == "chain" and x + 1 < p:
        yield from ((x + j, x + 1, j) for j in range(b))
    elif order == "sequential" and x == 0:
        yield from ((i, i // b + 1, i % b) for i in range(b * (p - 1)))
    elif order == "tree":
        for y in 2 * x + 1, 2 * x + 2:
            first = (y + 1).bit_length() - 1 + bin(y + 1).count("1") - 2
            yield from ((first + j * (1 if p == 2 else 2), y, j) for j in range(b if y < p else 0))
    elif order in ("round-optimal", "kway") and p > 1:
        q = (p - 1).bit_length()
        skip = [0] * q + [p]
        for k in range(q, 0, -1):
            skip[k - 1] = (skip[k] + 1) // 2
        to = [(x + skip[k]) % p for k in range(q)]
        v = [k if x == 0 else to[k] and receive_blocks(to[k], p, q, skip)[k] for k in range(q)]
        for i in range(b + q - 1):
            k = (i + (1 - b) % q) % q
            if to[k] and v[k] + i - k >= 0:
                yield i, to[k], min(v[k] + i - k, b - 1)


def parts(plan, b):
    """rank -> the pieces that a schedule gives it from here"""
    n, s, r = plan["ranks"], plan["sources"], plan["rank"]
    g, m = r % s, min(s, n - s)
    f = g * b // m if plan["order"] == "kway" and g < m else 0
    out = {}
    for _, place, block in moves(plan["order"], r // s, (n - g - 1) // s + 1, b):
        out.setdefault(place * s + g, set()).add((block + f) % b)
    return out


# --- casts ---


def numbers(bits):
    return {i for i in range(8 * len(bits)) if bits[i // 8] >> i % 8 & 1}


class Outlet:
    """A data link to a node that this one sends to."""

    def __init__(self, member, address):
        self.duty, self.has, self.busy = None, set(), 0
        self.link = connect(address, "cast")
        self.link.say("peer", cast=member.cast, node=member.node)
        self.link.hello("cast")
        _, have, _ = self.link.next()
        self.has |= numbers(have["bits"])

    def listen(self, member):
        while True:
            try:
                t, r, _ = self.link.next()
            except (EOFError, OSError):
                return
            with member.changed:
                if t == "got":
                    self.has.add(r["piece"])
                elif t == "lack":
                    self.has.discard(r["piece"])
                member.changed.notify_all()


class Member:
    """Sends what its plan says as soon as it is here."""

    def __init__(self):
        self.changed, self.ended = threading.Condition(), queue.Queue()
        self.here, self.outlets, self.node, self.received, self.sent = set(), {}, 0, 0, 0

    def spawn(self, fn, *args):
        def run():
            try:
                fn(*args)
            except Exception as e:
                self.ended.put("stranger: %r" % e)
        threading.Thread(target=run, daemon=True).start()

    def plan(self, plan):
        assert not plan.get("rate"), "this one cannot hold itself to a rate"
        self.node, self.first = plan["node"], plan["first"]
        part = parts(plan, len(self.image.pieces)) if "order" in plan else {}
        for gone in plan["gone"]:
            self.outlets.pop(gone, None)
        for to in self.outlets.values():
            to.duty = None
        for node, address, duty, *rank in plan["to"]:
            new = node not in self.outlets
            if new:
                self.outlets[node] = Outlet(self, address)
            outlet = self.outlets[node]
            outlet.duty, outlet.part = duty, part.get(rank[0], set()) if rank else None
            if new:
                self.spawn(outlet.listen, self)
                self.spawn(self.feed, outlet)
        with self.changed:
            self.changed.notify_all()

    def place(self, piece):
        return piece < self.first, piece

    def choose(self, outlet):
        """The next piece for it, or None."""
        able = self.here - outlet.has
        if outlet.duty == "part":
            able &= outlet.part
        elif outlet.duty == "inject":
            lacks = able
            for other in self.outlets.values():
                if other is not outlet:
                    able = able - other.has
            if lacks and not able:
                return max(lacks, key=self.place)
        elif outlet.duty is None:
            return None
        return min(able, key=self.place, default=None)

    def feed(self, outlet):
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.choose(outlet) is not None)
                piece = self.choose(outlet)
                outlet.has.add(piece)
            _, offset, length = self.image.pieces[piece]
            try:
                outlet.link.say("piece", piece=piece,
                                body=bytes(self.data[offset:offset + length]))
            except OSError:
                return  # it left; the coordinator knows
            self.sent += length


class Coordinator(Member):
    def __init__(self, path, order, *addresses):
        super().__init__()
        self.name, self.order, self.addresses = os.path.basename(path), order, addresses
        with open(path + "/manifest", "rb") as f:
            self.manifest = f.read()
        with open(path + "/image", "rb") as f:
            self.data = f.read()
        self.image, self.cast = Image(io.BytesIO(self.manifest)), os.urandom(16)
        self.here.update(range(len(self.image.pieces)))

    def run(self):
        self.spawn(self.talk)
        sys.exit(self.ended.get())

    def circle(self, nodes):
        """Node -> whom it sends to: receivers in a circle, into which we inject at one place."""
        out = {node: [[after, "all"]] for node, after in zip(nodes, nodes[1:] + nodes[:1])
               if node != after}
        return {0: [[nodes[0], "inject"]], **out}

    def plans(self, nodes):
        n, b = len(nodes) + 1, len(self.here)
        ranks = {node: rank for rank, node in enumerate([0] + nodes)}
        if self.order == "throughput":
            circle = self.circle(nodes)
            return {node: {"to": [[to, self.addresses[to - 1], duty]
                                  for to, duty in circle.get(node, [])]} for node in ranks}
        keys = {"order": self.order, "ranks": n, "sources": 1}
        return {node: {"rank": rank, **keys, "to": [
            [([0] + nodes)[to], self.addresses[([0] + nodes)[to] - 1], "part", to]
            for to in parts({"rank": rank, **keys}, b)]} for node, rank in ranks.items()}

    def talk(self):
        controls, lacking = [connect(a, "cast") for a in self.addresses], {}
        for node, link in enumerate(controls, 1):
            link.say("offer", self.manifest, cast=self.cast, name=self.name)
            link.hello("cast")
            t, r, _ = link.next()
            while t == "progress":
                t, r, _ = link.next()
            assert t == "ready", r
            if not r.get("complete"):
                lacking[node] = link
        for node, plan in self.plans(sorted(lacking)).items():
            plan = {"node": node, "first": 0, "timeout": 10, "gone": [], **plan}
            if node:
                lacking[node].say("plan", **plan)
            else:
                own = plan
        self.plan(own)
        for link in lacking.values():
            t = None
            while t != "complete":
                t, r, _ = link.next()
                assert t in ("progress", "block", "complete"), r
        for link in controls:
            link.say("end")
            t = None
            while t != "stats":
                t, r, _ = link.next()
            assert r["received"] >= 0 and r["cpu"] >= 0
            while link.file.read(4096):
                pass  # until it closes
        self.ended.put(0)


def part(path, address, *blocks):
    c = Coordinator(path, "throughput", address)
    blocks, link = {int(b) for b in blocks}, connect(address, "cast")
    link.say("offer", c.manifest, cast=c.cast, name=c.name)
    link.hello("cast")
    t = None
    while t != "ready":
        t, r, _ = link.next()
        assert t in ("progress", "ready"), r
    link.say("plan", node=1, first=0, timeout=10, to=[], gone=[])
    data = Outlet(c, address)
    for piece, (block, offset, length) in enumerate(c.image.pieces):
        if block in blocks:
            data.link.say("piece", piece=piece, body=c.data[offset:offset + length])
    while blocks:
        t, r, _ = link.next()
        assert t in ("progress", "block"), r
        blocks.discard(r.get("block"))


class Receiver(Member):
    """Takes part in one cast."""

    def __init__(self, root, version="2.1"):
        super().__init__()
        self.root, self.version = root, tuple(int(n) for n in version.split("."))
        self.planned, self.inlets = False, []
        self.listener = socket.create_server(("127.0.0.1", 0))

    def serve(self):
        print("127.0.0.1:%d" % self.listener.getsockname()[1], flush=True)
        self.spawn(self.accept)
        sys.exit(self.ended.get())

    def accept(self):
        while True:
            self.spawn(self.talk, Link(self.listener.accept()[0], "cast", self.version))

    def talk(self, link):
        link.hello("cast")
        try:
            t, r, body = link.next()
        except (EOFError, OSError):
            return  # it only looked who is here
        if t == "peer":
            assert r["cast"] == self.cast
            return self.take_pieces(link)
        if t == "want" and self.version >= (2, 1):
            return self.answer(link, r)
        if t == "want":
            return link.say("abort", code=71, why="opens with a record 'want'")
        assert t == "offer" and self.may(r)
        self.take_offer(link, r, body)
        while t != "end":
            t, r, _ = link.next()
            assert t != "abort", r["why"]
            if t == "plan":
                self.plan(r)
                self.begin()
        link.say("stats", cpu=0, received=self.received, sent=self.sent, memory=0)
        self.ended.put(0)

    def may(self, offer):
        return not offer.get("source")

    def answer(self, link, want):
        link.say("absent", why="a stranger has nothing")

    def take_offer(self, link, offer, manifest):
        self.control, self.cast = link, offer["cast"]
        self.path = os.path.join(self.root, offer["name"])
        os.mkdir(self.path)
        with open(self.path + "/manifest", "wb") as f:
            f.write(manifest)
        self.image = Image(io.BytesIO(manifest))
        self.data = bytearray(self.image.layout["bytes"])
        self.missing = [0] * len(self.image.layout["blocks"])
        for block, _, _ in self.image.pieces:
            self.missing[block] += 1
        link.say("ready", bits=b"")
        self.spawn(self.report)

    def report(self):
        while True:
            time.sleep(0.2)
            with self.changed:
                sizes = [self.image.pieces[p][2] for p in self.here]
            self.control.say("progress", pieces=len(sizes), bytes=sum(sizes), sent=[])

    def take_pieces(self, link):
        with self.changed:
            self.inlets.append(link)
            bits = bytearray(len(self.image.pieces) // 8 + 1)
            for p in self.here:
                bits[p // 8] |= 1 << p % 8
            link.say("have", bits=bytes(bits))
        while True:
            try:
                _, r, body = link.next()
            except (EOFError, OSError):
                return  # the control link tells whether the cast is over
            block, offset, length = self.image.pieces[r["piece"]]
            assert len(body) == length
            self.received += length
            with self.changed:
                if r["piece"] in self.here:
                    continue
                self.data[offset:offset + length] = body
                self.here.add(r["piece"])
                self.changed.notify_all()
                for inlet in self.inlets:
                    if inlet is not link:
                        inlet.say("got", piece=r["piece"])
                self.missing[block] -= 1
                if self.planned:
                    self.tell(block)

    def tell(self, block):
        if self.missing[block]:
            return
        self.control.say("block", block=block)
        if not any(self.missing):
            with open(self.path + "/image", "wb") as f:
                f.write(self.data)
            self.control.say("complete")

    def begin(self):
        with self.changed:
            if self.planned:
                return
            self.planned = True
            whole = [b for b, n in enumerate(self.missing) if n == 0]
            for block in whole[:-1] if not any(self.missing) else whole:
                self.control.say("block", block=block)
            if not any(self.missing):
                self.tell(whole[-1])


class Holder(Receiver):
    """Has an image, and is a source of it; its id, which is a hash, it is told."""

    def __init__(self, path, name):
        super().__init__(path)
        self.id, self.name = bytes.fromhex(name), os.path.basename(path)
        with open(path + "/manifest", "rb") as f:
            self.manifest = f.read()
        with open(path + "/image", "rb") as f:
            self.data = f.read()
        self.image = Image(io.BytesIO(self.manifest))
        self.here.update(range(len(self.image.pieces)))

    def may(self, offer):
        return offer.get("source")

    def answer(self, link, want):
        if want["name"] != self.name:
            return link.say("absent", why="another name")
        link.say("held", self.manifest if want.get("manifest") else None, id=self.id,
                 bytes=len(self.data), pieces=len(self.image.pieces), complete=True, tier="host")
        while link.file.read(4096):
            pass  # until it closes

    def take_offer(self, link, offer, manifest):
        assert manifest == self.manifest
        self.control, self.cast, self.planned = link, offer["cast"], True
        bits = bytearray(len(self.image.pieces) // 8 + 1)
        for p in self.here:
            bits[p // 8] |= 1 << p % 8
        link.say("ready", bits=bytes(bits), complete=True)
        self.spawn(self.report)


def want(address, name):
    link = connect(address, "cast")
    link.hello("cast")
    link.say("want", name=name)
    t, r, body = link.next()
    assert body is None
    if t == "absent":
        print(t, r["why"])
        return
    n = r["pieces"] if r.get("complete") else len(numbers(r.get("bits", b"")))
    print(t, r["id"].hex(), n, "of", r["pieces"], r.get("tier", "disk"))
    link = connect(address, "cast")
    link.say("want", name=name, manifest=True)
    link.hello("cast")
    t, again, body = link.next()
    assert t == "held" and again["id"] == r["id"]
    image = Image(io.BytesIO(body))
    assert (len(image.pieces), image.layout["bytes"]) == (r["pieces"], r["bytes"])


# --- a worker ---


class Worker:
    """Of one image, which is there; one run at a time."""

    def __init__(self, path):
        self.decoder, self.lock = Decoder(path), threading.Lock()
        self.clients, self.next, self.caches, self.past = {}, {}, {}, {}

    def serve(self):
        listener = socket.create_server(("127.0.0.1", 0))
        print("127.0.0.1:%d" % listener.getsockname()[1], flush=True)
        while True:
            link = Link(listener.accept()[0], "exec")
            threading.Thread(target=self.talk, args=(link,), daemon=True).start()

    def talk(self, link):
        link.hello("exec")
        while True:
            t, r, body = link.next()
            with self.lock:
                if t == "client":
                    self.clients[r["client"]] = link
                elif t == "drop":
                    self.caches.pop((r["client"], r["request"]), None)
                elif t == "ping":
                    link.say("pong")
                elif t == "fetch":
                    self.give(link, r)
                elif t == "adopt":
                    self.adopt(link, r, body)
                elif t == "run":
                    self.take_run(r, body)

    def give(self, link, r):
        cache = self.caches.get((r["client"], r["request"]), {})
        past = cache.get(self.decoder.begins[1 + r["layer"]], [])[r["pos"]:][:r["n"]]
        assert r["form"] == "f32" and r["n"] <= 8192
        keys = {k: v for k, v in r.items() if k != "type"}
        if len(past) < r["n"]:
            return link.say("pages", code=116, why="there is no such past here", **keys)
        rows = [sum(keys, []) + sum(values, []) for keys, values in past]
        link.say("pages", b"".join(struct.pack("<%df" % len(row), *row) for row in rows), **keys)

    def adopt(self, link, r, body):
        m, n = self.decoder.model, r["n"]
        cache = self.caches.pop((r["client"], r["from"]), {})
        for address, first, last in r["route"]:
            there = None
            for layer, unit in enumerate(self.decoder.begins[1:-1]):
                if not first <= unit <= last or len(cache.get(unit, [])) >= n:
                    continue
                if there is None:
                    there = connect(address, "exec")
                    there.hello("exec")
                cache[unit] = self.fetch(there, r, m, layer, n)
        self.caches[r["client"], r["request"]] = cache
        if body is not None:
            self.past[r["client"], r["request"]] = list(struct.unpack("<%dI" % n, body))
        link.say("moved", request=r["request"], pos=n, bytes=0)

    def fetch(self, there, r, m, layer, n):
        windowed = "window" in m and layer >= m.get("window_first", 0)
        first = max(0, n - m["window"] + 1) if windowed else 0
        past, d = [None] * first, m["head_dim"]
        while len(past) < n:
            asked = {"image": r["image"], "client": r["client"], "request": r["from"],
                     "layer": layer, "pos": len(past), "n": min(7, n - len(past)), "form": "f32"}
            there.say("fetch", **asked)
            t, got, body = there.next()
            assert t == "pages" and body and all(got[k] == v for k, v in asked.items()), got
            floats = struct.unpack("<%df" % (2 * asked["n"] * m["kv_heads"] * d), body)
            heads = [list(floats[i:i + d]) for i in range(0, len(floats), d)]
            for i in range(0, len(heads), 2 * m["kv_heads"]):
                past.append((heads[i:][:m["kv_heads"]], heads[i + m["kv_heads"]:][:m["kv_heads"]]))
        return past

    def take_run(self, r, body):
        n, pos, stage = r["n"], r["pos"], r.get("stage", 0)
        _, first, last = r["route"][stage]
        cache = self.caches.setdefault((r["client"], r["request"]), {})
        for past in cache.values():
            assert len(past) >= pos
            del past[pos:]
        if stage == 0:
            rows = struct.unpack("<%dI" % n, body)
        else:
            hidden = self.decoder.model["hidden"]
            rows = [struct.unpack_from("<%df" % hidden, body, 4 * hidden * i) for i in range(n)]
        out = [self.decoder.run(cache, first, last, row) for row in rows]
        if stage + 1 == len(r["route"]):
            past = self.past.setdefault((r["client"], r["request"]), [])
            past[pos:] = struct.unpack("<%dI" % n, r["ids"]) if "ids" in r else []
            token = draw(out[-1], r, past, pos + n)
            self.clients[r["client"]].say("token", request=r["request"], pos=pos + n, **token)
            return
        address = r["route"][stage + 1][0]
        if address not in self.next:
            self.next[address] = connect(address, "exec")
        body = b"".join(struct.pack("<%df" % len(x), *x) for x in out)
        del r["type"], r["body"]
        self.next[address].say("run", body, **{**r, "stage": stage + 1})


# --- a client ---


def workers(arrivals):
    """The image's id, and where the workers listen."""
    with open(arrivals, "rb") as f:
        s, addresses, t = Stream(f), [], None
        s.hello("arrivals")
        while t != "end":
            t, r, _ = s.next()
            if t == "cast":
                identity = r["id"]
            elif t == "node" and "exec" in r:
                addresses.append(r["exec"])
    return identity, addresses


def ask(arrivals, path, stages, n, *words):
    identity, addresses = workers(arrivals)
    with open(path + "/manifest", "rb") as f:
        model = Image(f).model
    client, stages, heard = os.urandom(16), int(stages), queue.Queue()
    links = [connect(a, "exec") for a in addresses[:stages]]
    units = [*begins(model), begins(model)[-1] + 1]
    cut = [units[(len(units) - 1) * i // stages] for i in range(stages + 1)]
    route = [[a, b, e - 1] for a, b, e in zip(addresses, cut, cut[1:])]

    def listen(link):
        link.hello("exec")
        while True:
            heard.put(link.next()[:2])

    for link in links:
        link.say("client", client=client)
        link.say("ping")  # whose answer says that the name is known there
        threading.Thread(target=listen, args=(link,), daemon=True).start()
    assert all(heard.get(timeout=60)[0] == "pong" for link in links)
    (ids, how), pos, answer = arguments(words), 0, []
    request, past, move = 1, list(ids), how.pop("move", None)
    while len(answer) < int(n):
        if len(answer) == move:  # to the first worker, which gets what the others have
            past_ids = struct.pack("<%dI" % pos, *past[:pos])
            links[0].say("adopt", past_ids if how.get("penalty", 1) != 1 else None, image=identity,
                         client=client, request=2, n=pos, route=route, **{"from": 1})
            t, r = heard.get(timeout=60)
            assert (t, r["request"], r["pos"]) == ("moved", 2, pos) and r["bytes"] >= 0, r
            for link in links:
                link.say("drop", client=client, request=1)
            request, route = 2, [[addresses[0], 0, units[-2]]]
        body = struct.pack("<%dI" % len(ids), *ids)
        if how.get("penalty", 1) != 1:
            how["ids"] = body
        links[0].say("run", body, image=identity, client=client, request=request, pos=pos,
                     n=len(ids), route=route, since=int(time.time() * 1e6),
                     reach=pos + len(ids), **how)
        t, r = heard.get(timeout=60)
        assert t == "token" and r["request"] == request and r["pos"] == pos + len(ids), r
        if "logprobs" in how:
            assert len(r.get("top", [])) == how["logprobs"] and r["logprob"] <= 0, r
            assert all(r["logprob"] <= p for i, p in r["top"][:1]), r
        if r["token"] in model["eos"]:
            break
        pos, ids = r["pos"], [r["token"]]
        answer += ids
        past += ids
    for link in links:
        link.say("drop", client=client, request=request)
    print(*answer)


def request(path, n, prompt, *words):
    """Asks a router that listens (lsc-stream(5), Connections): the answer's text, and what of it."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    link, heard, text = Link(sock, "requests"), [], ""
    link.hello("requests")
    how = {k: float(v) for k, v in (w.split("=") for w in words)}
    t, model, _ = link.next()
    assert t == "model" and len(model["image"]) == 16 and model["context"] > 0, model
    link.say("watch", every=0.05)
    link.say("request", id="gone", prompt=prompt)
    link.say("cancel", id="gone")
    link.say("cancel", id=12345)
    link.say("no-such-thing", body=b"xyz", some=[1, {"a": [2]}])
    link.say("request", id=7, prompt=prompt, max_tokens=int(n), **how)
    while not heard or heard[-1] not in ("done", "fail"):
        t, r, _ = link.next()
        if t == "status":
            assert r["waiting"] + r["running"] <= r["requests"] and r["queue"] > 0, r
            assert all(x["blocks"] <= model["blocks"] for x in r["nodes"]), r
            assert r["ready"] == bool(r["stages"]), r
            heard += ["status"] if "status" not in heard else []
        elif r["id"] == 7:
            heard.append(t)
            text += r["text"] if t == "token" else r["rest"] if t == "done" else ""
    assert heard[-1] == "done" and r["tokens"] == heard.count("token"), r
    order = [t for t in heard if t != "status"]
    assert order[0] == "accepted" and order[1] == "route", order
    print(text, end="")


def say(address, kind, major, *types):
    link = connect(address, kind, version=(int(major), 7))
    for t in types:
        link.say(t)
    assert link.next()[0] == "hello"
    t, r, _ = link.next()
    print(t, r["code"], r["why"])


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        Receiver(*sys.argv[2:]).serve()
    if sys.argv[1] == "hold":
        Holder(*sys.argv[2:]).serve()
    if sys.argv[1] == "work":
        Worker(sys.argv[2]).serve()
    if sys.argv[1] == "send":
        Coordinator(*sys.argv[2:]).run()
    {"image": image, "tokenize": tokenize, "run": run, "ask": ask, "request": request,
     "say": say, "want": want, "part": part}[sys.argv[1]](*sys.argv[2:])
