#!/bin/sh
# lsc-gate: the OpenAI API over a router that listens, asked by curl.
. tests/lib/tap.sh
. tests/lib/arrivals.sh
. tests/lib/service.sh
requires_feature microhttpd
requires_data models
requires_command jq
requires_command curl

expect_status 64 "no router" lsc-gate 127.0.0.1:0
expect_status 64 "no address" lsc-gate --router unix:x
expect_status 64 "others' addresses want keys" lsc-gate 0.0.0.0:0 --router unix:x
expect_one_line 'is not on this machine'
expect_status 64 "no origin" lsc-gate --cors example.org 127.0.0.1:0 --router unix:x
: >"$SCRATCH/nokeys"
expect_status 65 "a file without keys" lsc-gate 127.0.0.1:0 --router unix:x --api-key-file "$SCRATCH/nokeys"

# --- before there is anything to answer with ---

start_model
start_gate gate
expect_status 71 "an address that is taken" lsc-gate "$gate" --router unix:x
expect_one_line 'already in use'
get /health
expect_equal "no router: not healthy" "$status $(answer .status)" "503 no router"
ask /v1/completions '{"prompt":"Once"}'
expect_equal "no router: not now" "$status $(answer .error.code)" "503 no_router"
grep -qi '^retry-after: ' "$SCRATCH/headers"
ok $? "but later"
get /v1/models
expect_equal "no model" "$(answer '.data | length')" 0

start_router
up() { [ "$(curl -s "http://$gate/cluster" | jq -r .model.name)" = model ]; }
wait_for "the router comes, and is found" up
get /health
expect_equal "no node: not healthy" "$status $(answer .status)" "503 no route yet"
curl -sN -m 60 -H 'Content-Type: application/json' -d '{"prompt":"Once upon","temperature":0}' \
	"http://$gate/v1/completions" >"$SCRATCH/early" &
early=$!
waiting() { curl -s "http://$gate/metrics" | grep -qx 'lsc_gate_waiting 1'; }
wait_for "a request waits" waiting
arrivals "$image" "$exec0" all >&8
wait $early
expect_equal "and is answered when there is a node" \
	"$(jq -r '.choices[0].text' "$SCRATCH/early")" " a time, there was a little girl named Lily. She loved"
healthy() { curl -sf "http://$gate/health"; }
wait_for "which makes it healthy" healthy

# --- completions ---

get /v1/models
expect_equal "the model" "$(answer '.object + " " + .data[0].id + " " + .data[0].object')" "list model model"
get /v1/models/model
expect_equal "by its name" "$status $(answer .id)" "200 model"
get /v1/models/other
expect_equal "and no other" "$status $(answer .error.code)" "404 model_not_found"

lsc-exec run "$image" --prompt 'Once upon' -n 40 >"$SCRATCH/alone"
ask /v1/completions '{"model":"model","prompt":"Once upon","max_tokens":40,"temperature":0}'
expect_equal "a completion: status" "$status" 200
answer '.choices[0].text' | sed 's/^ //' >"$SCRATCH/text"
expect_same "has the text of one node" "$SCRATCH/text" "$SCRATCH/alone"
expect_equal "its shape" "$(answer '[.object, (.id | startswith("cmpl-")), (.created > 1e9), .model,
	.choices[0].index, .choices[0].logprobs, .choices[0].finish_reason] | tojson')" \
	'["text_completion",true,true,"model",0,null,"length"]'
expect_equal "its counts" "$(answer '.usage | tojson')" \
	'{"prompt_tokens":3,"completion_tokens":40,"total_tokens":43}'

ask /v1/completions '{"prompt":"Once upon","max_tokens":40,"temperature":0,"stream":true,
	"stream_options":{"include_usage":true}}'
grep -qi '^content-type: text/event-stream' "$SCRATCH/headers"
ok $? "a stream is one of events"
events -r 'map(.choices[]?.text) | add' | sed 's/^ //' >"$SCRATCH/text"
expect_same "with the same text" "$SCRATCH/text" "$SCRATCH/alone"
expect_equal "it ends with a reason, counts and DONE" \
	"$(events -c '[(map(.choices[]?.finish_reason) | map(values)), .[-1].usage.total_tokens,
		(.[-1].choices | length), .[0].usage]'; tail -n 2 "$SCRATCH/answer" | head -n 1)" \
	"$(printf '[["length"],43,0,null]\ndata: [DONE]')"

# The next turn: what was answered is a part of the prompt.
next=$(jq -cn --rawfile text "$SCRATCH/alone" \
	'{prompt: ("Once upon " + ($text | rtrimstr("\n")) + " They"), max_tokens: 20, temperature: 0}')
lsc-exec run "$image" --prompt "$(echo "$next" | jq -r .prompt)" -n 20 >"$SCRATCH/next"
ask /v1/completions "$next"
answer '.choices[0].text' | sed 's/^ //' >"$SCRATCH/text"
expect_same "a prompt that goes on from an answer has the text of one node" "$SCRATCH/text" "$SCRATCH/next"
ok "$(answer '.usage | if .prompt_tokens_details.cached_tokens >= 32 and
	.prompt_tokens_details.cached_tokens < .prompt_tokens then 0 else 1 end')" \
	"and most of it need not be computed: $(answer '.usage | tojson')"

ask /v1/completions '{"prompt":"Once upon","max_tokens":40,"temperature":0,"echo":true,"stop":["girl","xyz"]}'
expect_equal "echo and stop" "$(answer '.choices[0].text + "|" + .choices[0].finish_reason')" \
	"Once upon a time, there was a little |stop"
ask /v1/completions '{"prompt":"Once upon","max_tokens":40,"temperature":0,"stop":"little","stream":true}'
expect_equal "no part of a stop string gets into a stream" \
	"$(events -r 'map(.choices[].text) | add')" " a time, there was a "
ask /v1/completions '{"prompt":["Once upon",[1,403]],"max_tokens":3,"n":2,"seed":7}'
expect_equal "several prompts, several answers each" \
	"$(answer '[(.choices | map(.index)), .usage.prompt_tokens, .usage.completion_tokens] | tojson')" \
	'[[0,1,2,3],5,12]'
cp "$SCRATCH/answer" "$SCRATCH/first"
ask /v1/completions '{"prompt":["Once upon",[1,403]],"max_tokens":3,"n":2,"seed":7}'
expect_equal "the same seed, the same answers" "$(answer '.choices | tojson')" \
	"$(jq -r '.choices | tojson' "$SCRATCH/first")"
ask /v1/completions '{"prompt":"Once upon","max_tokens":2,"temperature":0,"logprobs":2}'
expect_equal "probabilities" "$(answer '.choices[0].logprobs | [(.tokens | tojson),
	(.token_logprobs | length), (.top_logprobs | map(length)), .text_offset] | tojson')" \
	'["[\" a\",\" time\"]",2,[2,2],[0,2]]'
ask /v1/completions '{"prompt":"Once","max_tokens":2,"temperature":1.5,"top_p":0.9,"top_k":20,
	"min_p":0.01,"repetition_penalty":1.1,"seed":-5,"user":"me","stop":null,"presence_penalty":0.0,
	"logit_bias":{},"suffix":null}'
expect_equal "all that is known, and what changes nothing" "$status" 200

# --- chats ---

ask /v1/chat/completions '{"messages":[{"role":"developer","content":"Be kind."},
	{"role":"user","content":[{"type":"text","text":"Hi"},{"type":"text","text":" there"}]}],
	"max_completion_tokens":4,"temperature":0}'
expect_equal "a chat" "$status $(answer '[.object, .choices[0].message.role,
	(.choices[0].message.content | length > 0), .choices[0].finish_reason] | tojson')" \
	'200 ["chat.completion","assistant",true,"length"]'
content=$(answer '.choices[0].message.content')
ask /v1/chat/completions '{"messages":[{"role":"system","content":"Be kind."},
	{"role":"user","content":"Hi there"}],"max_tokens":4,"temperature":0,"stream":true,"n":2}'
expect_equal "a streamed one, twice" "$(events -c '[.[0].choices[0].delta.role,
	(map(.choices[] | select(.index == 0).delta.content // "") | add),
	(map(.choices[] | select(.index == 1).delta.content // "") | add),
	(map(.choices[].finish_reason | values))]')" \
	"$(jq -nc --arg c "$content" '["assistant",$c,$c,["length","length"]]')"
ask /v1/chat/completions '{"messages":[{"role":"user","content":"Hi"}],"max_tokens":2,
	"logprobs":true,"top_logprobs":1,"temperature":0}'
expect_equal "with probabilities" "$(answer '.choices[0] | [(.logprobs.content | length),
	(.logprobs.content | map(.token) | add) == .message.content,
	(.logprobs.content[0].top_logprobs[0] | keys)] | tojson')" \
	'[2,true,["bytes","logprob","token"]]'

# --- what is refused ---

refused() { # refused PATH BODY STATUS PARAM CODE
	ask "$1" "$2"
	expect_equal "$(printf '%.60s' "$2") is refused" \
		"$status $(answer '"\(.error.param) \(.error.code) \(.error.message | length > 0)"')" "$3 $4 $5 true"
}
C=/v1/completions
H=/v1/chat/completions
refused $C '{"prompt":"a","presence_penalty":0.5}' 400 presence_penalty unsupported_parameter
refused $C '{"prompt":"a","suffix":"b"}' 400 suffix unsupported_parameter
refused $C '{"prompt":"a","best_of":3}' 400 best_of unsupported_parameter
refused $C '{"prompt":"a","logit_bias":{"5":1}}' 400 logit_bias unsupported_parameter
refused $C '{"prompt":"a","no_such_thing":1}' 400 no_such_thing unknown_parameter
refused $C '{"prompt":"a","messages":[]}' 400 messages unknown_parameter
refused $C '{"prompt":"a","max_tokens":0}' 400 max_tokens invalid_value
refused $C '{"prompt":"a","temperature":-1}' 400 temperature invalid_value
refused $C '{"prompt":"a","n":17}' 400 n invalid_value
refused $C '{"prompt":"a","stop":[""]}' 400 stop invalid_value
refused $C '{"prompt":"a","stream":1}' 400 stream invalid_value
refused $C '{"prompt":"a","stream_options":{}}' 400 stream_options invalid_value
refused $C '{"prompt":[]}' 400 prompt invalid_value
refused $C '{}' 400 prompt missing_required_parameter
refused $C '{"prompt":"a","model":"gpt-4"}' 404 model model_not_found
refused $C '{"prompt":"a"' 400 null invalid_json
refused $C '[]' 400 null invalid_json
refused $C '{"prompt":[9999]}' 400 null invalid_value
refused $C "{\"prompt\":\"$(printf 'word %.0s' $(seq 600))\"}" 400 prompt context_length_exceeded
refused $C "{\"stream\":true,\"prompt\":\"$(printf 'word %.0s' $(seq 600))\"}" 400 prompt context_length_exceeded
refused $H '{"prompt":"a"}' 400 prompt unknown_parameter
refused $H '{}' 400 messages missing_required_parameter
refused $H '{"messages":[{"role":"tool","content":"a"}]}' 400 'messages[0].role' unsupported_value
refused $H '{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}' 400 'messages[0].content' unsupported_value
refused $H '{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function"}]}' 400 tools unsupported_parameter
refused $H '{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_object"}}' 400 response_format unsupported_parameter
refused $H '{"messages":[{"role":"user","content":"a"}],"top_logprobs":2}' 400 top_logprobs invalid_value
get /v1/nothing
expect_equal "no such page" "$status $(answer .error.code)" "404 not_found"
get /v1/completions
expect_equal "no such method" "$status $(answer .error.code)" "405 method_not_allowed"
grep -qi '^allow: POST' "$SCRATCH/headers"
ok $? "but another one"
get $C -H 'Content-Type: text/plain' -d '{"prompt":"a"}'
expect_equal "no JSON by its type" "$status" 415
get /health -H 'Host: evil.example'
expect_equal "a name that is not this machine's" "$status $(answer .error.code)" "403 wrong_host"
get /health -H 'Access-Control-Request-Method: POST' -H 'Origin: https://a.example' -X OPTIONS
expect_equal "no other origins" "$status $(grep -ci access-control "$SCRATCH/headers")" "204 0"

done_testing
