#!/bin/sh
# A node that has an image on disk and is sent it as well: seconds until it is in memory, by lsc-tier
# load, by lsc-cast send, and by both at once, each held to the same rate.  One JSON line a way, with
# the median, and the median of what both gain over the faster of the same round.
#
#	LSC_BENCH_SHAPE=smollm2-135m  LSC_BENCH_RATE=100M  LSC_BENCH_ROUNDS=3
set -u
shape=${LSC_BENCH_SHAPE:-smollm2-135m}
rate=${LSC_BENCH_RATE:-100M}
rounds=${LSC_BENCH_ROUNDS:-3}
dir=$(mktemp -d "${LSC_SCRATCH:-${TMPDIR:-/tmp}}/together.XXXXXX") || exit 71
pids=

finish() {
	for pid in $pids; do kill "$pid" 2>/dev/null; done
	wait
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

start() { # start NAME COMMAND...: it says where it listens in $dir/NAME.at
	name=$1
	shift
	"$@" --ready-fd 9 9>"$dir/$name.at" >"$dir/$name.log" 2>&1 &
	pids="$pids $!"
	n=0
	until [ -s "$dir/$name.at" ]; do
		n=$((n + 1))
		if [ $n -gt 200 ]; then
			cat "$dir/$name.log" >&2
			exit 71
		fi
		sleep 0.05
	done
}

node() { # node NAME: a tier and who receives into it
	mkdir -p "$dir/$1"
	start "$1.tier" lsc-tier serve --dir "$dir/$1" --tier "unix:$dir/$1.sock" --host-mem 2G
	start "$1.cast" lsc-cast serve --dir "unix:$dir/$1.sock" --listen 127.0.0.1:0
}

seconds() { # seconds COMMAND...: how long it takes
	began=$(date +%s%N)
	"$@" >/dev/null || exit 1
	echo "$began $(date +%s%N)" | awk '{ printf "%.3f\n", ($2 - $1) / 1e9 }'
}

load() {
	lsc-tier load --tier "unix:$dir/both.sock" --at-most "$rate/s" m
}

send() { # send NAME: to that node
	lsc-cast send "$dir/m" --quiet --to "$(cat "$dir/$1.cast.at")" --max-rate "$rate"
}

both() { # which begin at the same time
	load &
	send both || exit 1
	wait $!
}

forget() {
	lsc-tier evict --quiet --tier "unix:$dir/both.sock" m
	sync
	dd if="$dir/both/m/image" iflag=nocache count=0 2>/dev/null
}

median() { sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

lsc-shard pack --quiet --dummy "$shape" --blocks 32 "$dir/m" || exit 71
bytes=$(stat -c %s "$dir/m/image")
mkdir "$dir/both"
cp -r "$dir/m" "$dir/both/m"
node both
for round in $(seq "$rounds"); do
	d=$(seconds load) || exit 1
	forget
	node "sent$round" # one that has never had it
	c=$(seconds send "sent$round") || exit 1
	b=$(seconds both) || exit 1
	forget
	echo "$d $c $b" >>"$dir/seconds"
done
for way in 1:disk 2:cast 3:both; do
	gain=
	[ "${way#*:}" = both ] && gain=$(awk '{ print ($1 < $2 ? $1 : $2) / $3 }' "$dir/seconds" | median)
	printf '{"name":"together","way":"%s","bytes":%s,"rate":"%s","rounds":%s,"seconds":%s%s}\n' \
		"${way#*:}" "$bytes" "$rate" "$rounds" \
		"$(awk -v k="${way%:*}" '{ print $k }' "$dir/seconds" | median)" "${gain:+,\"gain\":$gain}"
done
