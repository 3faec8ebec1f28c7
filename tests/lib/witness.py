#!/usr/bin/env python3
"""Clients of a gate who know what must come: each answer is held against one node's.

    tests/lib/witness.py HOST:PORT QUESTIONS [OPTION...]

QUESTIONS has a JSON object a line: path and body of a request, and text, number of tokens and reason
of the end of its answer.  Each is asked as a stream and at once, with and without probabilities, which name
every token.  In the end a line on standard output counts what was asked and what went wrong; each
thing wrong is a line before it.

    --clients N     so many at once, each with its own connections (1)
    --each N        each of them asks N times; by default every question in all four ways
    --until FILE    they go on until FILE is there
    --begun FILE    FILE is written when the first stream of each client has some of its answer
    --leave N       the last N clients leave within the answer to their first question, as a stream
"""
import argparse
import http.client
import json
import os
import sys
import threading

parser = argparse.ArgumentParser()
parser.add_argument("address")
parser.add_argument("questions")
parser.add_argument("--clients", type=int, default=1)
parser.add_argument("--each", type=int)
parser.add_argument("--until")
parser.add_argument("--begun")
parser.add_argument("--leave", type=int, default=0)
options = parser.parse_args()

SOME = 3  # events with text
lock = threading.Lock()
counts = {"asked": 0, "tokens": 0, "left": 0, "wrong": 0}
begun = set()


def wrong(question, how, why):
    with lock:
        counts["wrong"] += 1
        if counts["wrong"] <= 20:
            print(f"{how} {json.dumps(question['body'])}: {why}", flush=True)


def begin(client):
    """A client's first answer is on its way."""
    with lock:
        begun.add(client)
        if options.begun and len(begun) == options.clients and not os.path.exists(options.begun):
            open(options.begun + ".new", "w").close()
            os.rename(options.begun + ".new", options.begun)


def text_of(choice):
    if "text" in choice:
        return choice["text"]
    return (choice.get("delta") or choice.get("message") or {}).get("content") or ""


def tokens_of(choice):
    """What its probabilities name, token by token; None without any."""
    logs = choice.get("logprobs")
    if not logs:
        return None
    return logs["tokens"] if "tokens" in logs else [token["token"] for token in logs["content"]]


class Answer:
    def __init__(self):
        self.text, self.tokens, self.usage, self.reasons, self.events = "", [], None, [], 0

    def add(self, part):
        for choice in part["choices"]:
            self.text += text_of(choice)
            self.events += bool(text_of(choice))
            self.tokens += tokens_of(choice) or []
            if choice["finish_reason"]:
                self.reasons.append(choice["finish_reason"])
        self.usage = part.get("usage") or self.usage


def read_stream(response, client, leaves):
    """The answer, whole; None where its client left; ValueError."""
    answer, done = Answer(), False
    for line in response:
        line = line.decode().rstrip("\n")
        if not line or line.startswith(":"):
            continue
        if not line.startswith("data: ") or done:
            raise ValueError(f"a line {line[:200]!r}")
        if line == "data: [DONE]":
            done = True
            continue
        event = json.loads(line[6:])
        if "error" in event:
            raise ValueError(f"an error {event['error']}")
        answer.add(event)
        if answer.events == SOME:
            begin(client)
            if leaves:
                return None
    if not done:
        raise ValueError("it ends without [DONE]")
    return answer


def judge(question, answer, logs):
    """What is wrong with an answer, or None."""
    text, n = answer.text, question["tokens"]
    if text == " " + question["text"]:  # lsc-exec leaves out what some tokenizers put before a text
        text = text[1:]
    if text != question["text"]:
        at = len(os.path.commonprefix([text, question["text"]]))
        return f"from character {at} on: {text[at:at + 60]!r}, want {question['text'][at:at + 60]!r}"
    if answer.usage is None or answer.usage["completion_tokens"] != n:
        return f"usage {answer.usage}, want {n} tokens"
    if logs and len(answer.tokens) != n:
        return f"{len(answer.tokens)} tokens named, want {n}"
    if answer.reasons != [question["reason"]]:
        return f"reasons {answer.reasons}, want {question['reason']}"
    return None


def ask(client, connection, question, stream, logs, leaves):
    """False: its connection is of no more use."""
    how = ("stream" if stream else "at once") + (", named" if logs else "")
    body = dict(question["body"], stream=stream)
    if stream:
        body["stream_options"] = {"include_usage": True}
    if logs:
        body["logprobs"] = True if "messages" in body else 1
    with lock:
        counts["asked"] += 1
    try:
        connection.request("POST", question["path"], json.dumps(body), {"Content-Type": "application/json"})
        if not stream:
            begin(client)
        response = connection.getresponse()
        if response.status != 200:
            raise ValueError(f"status {response.status}: {response.read()[:200]!r}")
        if stream:
            answer = read_stream(response, client, leaves)
        else:
            answer = Answer()
            answer.add(json.loads(response.read()))
        if answer is None:
            with lock:
                counts["left"] += 1
            return False
        why = judge(question, answer, logs)
        with lock:
            counts["tokens"] += question["tokens"]
        if why:
            wrong(question, how, why)
        return True
    except (OSError, ValueError, KeyError, http.client.HTTPException) as e:
        wrong(question, how, f"{type(e).__name__} {e}")
        return False
    finally:
        begin(client)


def run(client, questions):
    host, port = options.address.rsplit(":", 1)
    leaves = client >= options.clients - options.leave
    # Each begins elsewhere, and with another way to ask.
    turns = [(q, kind) for kind in range(4) for q in questions]
    turns = turns[client % len(turns):] + turns[:client % len(turns)]
    if options.leave:
        turns = [(turns[0][0], 2 * (client % 2))]
    each = 1 if options.leave else options.each or len(turns)
    connection, done = None, 0
    while True:
        question, kind = turns[done % len(turns)]
        if connection is None:
            connection = http.client.HTTPConnection(host, int(port), timeout=120)
        if not ask(client, connection, question, kind % 2 == 0, kind >= 2, leaves):
            connection.close()
            connection = None
        done += 1
        if os.path.exists(options.until) if options.until else done >= each:
            break
    if connection:
        connection.close()


questions = [json.loads(line) for line in open(options.questions)]
threads = [threading.Thread(target=run, args=(i, questions)) for i in range(options.clients)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(counts))
sys.exit(counts["wrong"] > 0)
