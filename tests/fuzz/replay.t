#!/bin/sh
# Every fuzz target over its corpus, over what is bad for any reader, and over damaged copies of its
# corpus: it must end, and well.  `make fuzz` looks for new inputs; this holds the old ones.
. tests/lib/tap.sh

bad=$SCRATCH/bad
mkdir -p "$bad"
: >"$bad/empty"
printf '\0' >"$bad/zero"
head -c 4096 /dev/zero >"$bad/zeros"
head -c 4096 /dev/zero | tr '\0' '\377' >"$bad/ones"
head -c 4096 /dev/zero | tr '\0' '[' >"$bad/brackets"
head -c 4096 /dev/zero | tr '\0' '\221' >"$bad/nested"
printf '\337\377\377\377\377' >"$bad/huge-map"
printf '{"a":1e999,"\\ud800":"\\u0000"}' >"$bad/json"
awk 'BEGIN { srand(7); for (i = 0; i < 4096; i++) printf "%c", int(rand() * 127) + 1 }' >"$bad/noise"

# Each of a corpus cut short at several lengths, and with a byte changed.
damage() {
	n=0
	for file in "$1"/*; do
		[ -f "$file" ] || continue
		size=$(wc -c <"$file")
		[ "$size" -le 65536 ] || continue
		for cut in 1 2 4 8; do
			head -c $((size - size / cut - (cut == 8))) "$file" >"$2/$n.$cut" 2>/dev/null
		done
		{
			head -c $((size / 3)) "$file"
			printf '\377'
			tail -c +$((size / 3 + 2)) "$file"
		} >"$2/$n.byte"
		n=$((n + 1))
		[ $n -lt 40 ] || break
	done
}

for program in "$LSC_BUILD"/fuzz/*; do
	[ -x "$program" ] && [ -f "$program" ] || continue
	name=$(basename "$program")
	damaged=$SCRATCH/$name
	mkdir "$damaged"
	damage "tests/fuzz/corpus/$name" "$damaged"
	find "$bad" "$damaged" "tests/fuzz/corpus/$name" -type f 2>/dev/null >"$SCRATCH/files"
	xargs "$program" <"$SCRATCH/files" >"$SCRATCH/out" 2>&1
	status=$?
	ok $status "$name: $(wc -l <"$SCRATCH/files") inputs"
	[ $status -eq 0 ] || tail -n 20 "$SCRATCH/out" | note
done
[ "$tap_count" -gt 0 ] || skip_all "no fuzz targets built"
done_testing
