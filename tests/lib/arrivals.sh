# Arrivals of casts that never were: who holds which blocks is for the test to say.
#
# arrivals IMAGE WORKERS BLOCKS...: records for as many receivers as there are lists of blocks
# ("0,5"); WORKERS are the addresses of their stage workers.  A list "all" is a complete node.
arrivals() {
	arrivals_id=$(lsc-shard ls --json "$1" | jq -r .id | sed 's/../\\x&/g')
	arrivals_id=$(env printf "$arrivals_id" | base64)
	arrivals_workers=$2
	shift 2
	{
		echo '{"type":"hello","kind":"arrivals","version":[1,0]}'
		echo "{\"type\":\"cast\",\"t\":0.0,\"nodes\":$#,\"id\":{\"\$bin\":\"$arrivals_id\"}}"
		arrivals_node=0
		for worker in $arrivals_workers; do
			[ $# -gt 0 ] || break
			arrivals_of $arrivals_node "$worker" "$1"
			arrivals_node=$((arrivals_node + 1))
			shift
		done
		echo '{"type":"end","t":0.0,"seconds":0.0}'
	} | lsc-msg from-json
}

arrivals_of() { # arrivals_of NODE WORKER BLOCKS
	echo "{\"type\":\"node\",\"t\":0.0,\"node\":$1,\"name\":\"n$1\",\"role\":\"receiver\",\"exec\":\"$2\"}"
	if [ "$3" = all ]; then
		echo "{\"type\":\"complete\",\"t\":0.0,\"node\":$1}"
		return
	fi
	for block in $(echo "$3" | tr , ' '); do
		echo "{\"type\":\"block\",\"t\":0.0,\"node\":$1,\"block\":$block}"
	done
}
