#!/bin/sh
# lsc-gate answers the official Python client of the OpenAI API as it is.
#
# LSC_TEST_PYTHON names a Python that has the library openai.
. tests/lib/tap.sh
. tests/lib/arrivals.sh
. tests/lib/service.sh
requires_feature microhttpd
requires_data models
requires_command jq
requires_command curl
python=${LSC_TEST_PYTHON:-python3}
"$python" -c 'import openai' 2>/dev/null || skip_all "no openai library for $python" openai

start_model
start_router --queue 1
printf 'sk-test-key\n' >"$SCRATCH/keys"
chmod 600 "$SCRATCH/keys"
start_gate gate --api-key-file "$SCRATCH/keys" --queue 1
wait_for "the gate is there" curl -sf -H 'Authorization: Bearer sk-test-key' "http://$gate/v1/models/model"

cat >"$SCRATCH/client.py" <<'END'
import asyncio, subprocess, sys
import openai

base, image = sys.argv[1:]
client = openai.OpenAI(base_url=base, api_key="sk-test-key", max_retries=0)
ask = dict(model="model", temperature=0)
hi = [{"role": "user", "content": "Hi"}]


def ok(good, name):
    print(("ok " if good else "not ok ") + name, flush=True)


def raises(kind, name, call, check=lambda e: True):
    try:
        call()
        ok(False, name)
    except kind as e:
        if not check(e):
            print("#", repr(e))
        ok(check(e), name)


if sys.stdin.readline() == "empty\n":  # no node yet: one may wait, and does
    async def wait():
        slow = openai.AsyncOpenAI(base_url=base, api_key="sk-test-key", max_retries=0)
        task = asyncio.create_task(slow.completions.create(prompt="Once", timeout=60, **ask))
        await asyncio.sleep(0.5)
        try:
            await slow.completions.create(prompt="Once", timeout=5, **ask)
            ok(False, "too many: RateLimitError")
        except openai.RateLimitError as e:
            ok(e.code == "queue_full" and e.response.headers["retry-after"] == "1",
               "too many: RateLimitError, with a time to come again")
        task.cancel()
    raises(openai.InternalServerError, "a service without nodes is not healthy",
           lambda: client.get("/../health", cast_to=object), lambda e: e.status_code == 503)
    asyncio.run(wait())
    raises(openai.APITimeoutError, "a client's patience ends",
           lambda: client.completions.create(prompt="Once", timeout=0.5, **ask))
    print("fill", flush=True)
    sys.stdin.readline()

ok([m.id for m in client.models.list()] == ["model"], "models.list")
ok(client.models.retrieve("model").object == "model", "models.retrieve")
raises(openai.NotFoundError, "a model that is not: NotFoundError", lambda: client.models.retrieve("x"))

one = client.completions.create(prompt="Once upon", max_tokens=20, **ask)
ok(one.choices[0].text == " a time, there was a little girl named Lily. She loved to play out"
   and one.usage.total_tokens == 23 and one.choices[0].finish_reason == "length", "a completion")
parts = list(client.completions.create(prompt="Once upon", max_tokens=20, stream=True, **ask))
ok("".join(p.choices[0].text for p in parts) == one.choices[0].text, "streamed, the same")
two = client.completions.create(prompt=["Once", "There"], n=2, max_tokens=3, logprobs=2, **ask)
ok(len(two.choices) == 4 and len(two.choices[3].logprobs.top_logprobs[0]) == 2, "several, with probabilities")
echo = client.completions.create(prompt="Once upon", max_tokens=20, echo=True, stop=["girl"], **ask)
ok(echo.choices[0].text == "Once upon a time, there was a little " and
   echo.choices[0].finish_reason == "stop", "echo and stop")

chat = client.chat.completions.create(messages=hi, max_completion_tokens=8, seed=3, n=2, **ask)
text = chat.choices[0].message.content
ok(chat.choices[0].message.role == "assistant" and chat.choices[1].message.content == text
   and chat.object == "chat.completion" and chat.usage.completion_tokens == 16, "a chat")
stream = client.chat.completions.create(messages=hi, max_completion_tokens=8, stream=True,
                                        stream_options={"include_usage": True}, **ask)
events = list(stream)
ok("".join(e.choices[0].delta.content or "" for e in events if e.choices) == text and
   events[0].choices[0].delta.role == "assistant" and events[-1].usage.completion_tokens == 8 and
   events[-2].choices[0].finish_reason == "length", "streamed, the same, with usage")
with client.chat.completions.stream(messages=hi, max_completion_tokens=8, stop=text[-1], **ask) as s:
    final = s.get_final_completion()  # which raises where it ends by its length
ok(final.choices[0].message.content == text.split(text[-1])[0], "the client's own gathering of a stream")
logs = client.chat.completions.create(messages=hi, max_tokens=2, logprobs=True, top_logprobs=3, **ask)
ok(len(logs.choices[0].logprobs.content[1].top_logprobs) == 3, "a chat with probabilities")
more = client.chat.completions.create(messages=hi, max_tokens=2, extra_body={"top_k": 5, "min_p": 0.1,
                                      "repetition_penalty": 1.1}, **ask)
ok(more.choices[0].finish_reason == "length", "what is no part of the API")

raises(openai.BadRequestError, "what is not done: BadRequestError",
       lambda: client.completions.create(prompt="a", frequency_penalty=1, **ask),
       lambda e: e.param == "frequency_penalty" and e.code == "unsupported_parameter")
raises(openai.BadRequestError, "too long: BadRequestError",
       lambda: client.chat.completions.create(messages=[{"role": "user", "content": "word " * 600}],
                                              stream=True, **ask),
       lambda e: e.code == "context_length_exceeded")
raises(openai.AuthenticationError, "a wrong key: AuthenticationError",
       lambda: client.with_options(api_key="sk-other").models.list())


async def many():
    crowd = openai.AsyncOpenAI(base_url=base, api_key="sk-test-key", max_retries=20)

    async def one(i):
        text = ""
        async for e in await crowd.completions.create(prompt="Once upon", max_tokens=20, stream=True, **ask):
            text += e.choices[0].text
        return text

    texts = await asyncio.gather(*(one(i) for i in range(16)))
    ok(set(texts) == {parts_text}, "many at once, who come again when they are told to")

parts_text = one.choices[0].text
asyncio.run(many())
END
mkfifo "$SCRATCH/talk"
exec 7<>"$SCRATCH/talk"
echo empty >&7
timeout 120 "$python" "$SCRATCH/client.py" "http://$gate/v1" "$image" <&7 >"$SCRATCH/said" 2>"$SCRATCH/err" &
client=$!
ended_at_exit $client
wait_for "it is asked before there is a node" grep -qx fill "$SCRATCH/said"
arrivals "$image" "$exec0" all >&8
wait_for "there is one" curl -sf "http://$gate/health"
echo full >&7
wait $client
expect_equal "the client ends well" $? 0
note <"$SCRATCH/err"
while read -r line; do
	case $line in
	ok*) ok 0 "${line#ok }" ;;
	'not ok'*) ok 1 "${line#not ok }" ;;
	'#'*) echo "$line" ;;
	esac
done <"$SCRATCH/said"
done_testing
