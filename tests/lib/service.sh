# A service to ask: a node, a router and a gate, on a small model.  Sourced behind tap.sh.

wait_for() { # wait_for NAME COMMAND...: a test: that it succeeds within 20 s
	wait_name=$1
	shift
	wait_n=0
	while ! "$@" >/dev/null 2>&1; do
		sleep 0.05
		wait_n=$((wait_n + 1))
		[ $wait_n -lt 400 ] || break
	done
	[ $wait_n -lt 400 ]
	ok $? "$wait_name"
}

# Packs the model at $SCRATCH/zero/model, with a chat format, and starts a worker: $exec0.
start_model() {
	mkdir "$SCRATCH/zero"
	cp -r "$DATA/models/stories260K-fp32" "$SCRATCH/source"
	chmod -R u+w "$SCRATCH/source"
	jq '. + {chat_template: "<|im_start|>"}' "$DATA/models/stories260K-fp32/tokenizer_config.json" \
		>"$SCRATCH/source/tokenizer_config.json"
	image=$SCRATCH/zero/model
	lsc-shard pack --dtype f32 "$SCRATCH/source" "$image"
	start_server exec0 lsc-exec serve --dir "$SCRATCH/zero" --listen 127.0.0.1:0
}

# start_router [OPTION...]: it listens at $SCRATCH/pipe.sock, and its arrivals come from fd 8
start_router() {
	[ -p "$SCRATCH/arrivals" ] || mkfifo "$SCRATCH/arrivals"
	exec 8<>"$SCRATCH/arrivals"
	start_server router sh -c 'exec lsc-pipe "$@" <&8' sh --listen "unix:$SCRATCH/pipe.sock" \
		--timeout 60s "$image" "$@"
}

# start_gate VARIABLE [OPTION...]: its address in $VARIABLE
start_gate() {
	gate_var=$1
	shift
	start_server "$gate_var" lsc-gate 127.0.0.1:0 --router "unix:$SCRATCH/pipe.sock" "$@"
}

# ask PATH BODY [CURL-OPTION...]: the answer in $SCRATCH/answer, its headers in $SCRATCH/headers,
# the status in $status
ask() {
	ask_path=$1 ask_body=$2
	shift 2
	printf '%s' "$ask_body" >"$SCRATCH/body"
	status=$(curl -sN -m 60 -o "$SCRATCH/answer" -D "$SCRATCH/headers" -w '%{http_code}' \
		-H 'Content-Type: application/json' --data-binary "@$SCRATCH/body" "$@" \
		"http://$gate$ask_path")
}

# get PATH [CURL-OPTION...]
get() {
	get_path=$1
	shift
	status=$(curl -s -m 60 -o "$SCRATCH/answer" -D "$SCRATCH/headers" -w '%{http_code}' "$@" \
		"http://$gate$get_path")
}

answer() { jq -r "$1" "$SCRATCH/answer"; }

# The data of a stream's events, but for its end, as one JSON array.
events() { sed -n 's/^data: //p' "$SCRATCH/answer" | grep -v '^\[DONE\]$' | jq -s "$@"; }
