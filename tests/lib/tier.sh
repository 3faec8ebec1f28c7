# Tests of a tier: small models, and things that become true.  Sourced behind tap.sh.

model() { # model NAME [TUNED]...
	name=$1
	shift
	python3 tests/lib/toy_model.py "$SCRATCH/$name.hf" llama3 14 "$@"
	lsc-shard pack --dtype f32 --blocks 16 --piece 4096 "$SCRATCH/$name.hf" \
		"$SCRATCH/$name.lsc" 2>/dev/null
}

within() { # within NAME COMMAND...: it is true in 10 s
	name=$1
	shift
	i=0
	until "$@" 2>/dev/null || [ $i -ge 100 ]; do
		sleep 0.1
		i=$((i + 1))
	done
	[ $i -lt 100 ]
	ok $? "$name"
}
