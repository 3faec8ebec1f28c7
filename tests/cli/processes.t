#!/bin/sh
# tests/lib/processes.py, by which the soak test judges: what is flat, and what is not.
. tests/lib/tap.sh
requires_command python3

# series NAME PID SECONDS RSS RISE FDS LATER-FDS: a process that grows by RISE kB each second
series() {
	awk -v name="$1" -v pid="$2" -v n="$3" -v rss="$4" -v rise="$5" -v fds="$6" -v later="$7" 'BEGIN {
		for (t = 0; t < n; t++)
			printf "%d\t%d\t%s\t%d\t%d\t%d\t1\n", t, pid, name, rss + rise * t, rss / 2 + rise * t,
				t < 60 ? fds : later
	}' >>"$SCRATCH/table"
}
judge() {
	python3 tests/lib/processes.py judge "$SCRATCH/table" 60 "$@" >"$SCRATCH/out" 2>"$SCRATCH/err"
	sed -n 's/^not flat: \([^:]*\): \([a-z]*\).*/\1 \2/p' "$SCRATCH/out"
}
: >"$SCRATCH/table"
series lsc-gate 1 180 9000 0 200 60
series 'lsc-exec a' 2 180 90000 5 10 14
series 'lsc-exec b' 3 80 9000 900 10 90
expect_equal "no growth, a little, and no long life" "$(judge)" ""
grep -q '^1 others lived for less than 90 s' "$SCRATCH/out"
ok $? "which is said"
series lsc-pipe 4 180 9000 20 10 10
expect_equal "growth is told, and which" "$(judge)" "lsc-pipe (4) rss
lsc-pipe (4) anonymous"
expect_equal "but where memory is not asked for" "$(judge --no-memory)" ""
series lsc-gate 5 180 9000 0 10 15
expect_equal "descriptors are" "$(judge --no-memory)" "lsc-gate (5) descriptors"

: >"$SCRATCH/table"
lsc-exec serve --dir "$SCRATCH" --listen 127.0.0.1:0 2>"$SCRATCH/err" &
ended_at_exit $!
exec=$!
python3 tests/lib/processes.py watch $$ "$SCRATCH/table" &
watch=$!
ended_at_exit $watch
seen() { grep -q "	$exec	lsc-exec $(basename "$SCRATCH")	" "$SCRATCH/table"; }
n=0
while ! seen && [ $n -lt 100 ]; do
	sleep 0.1
	n=$((n + 1))
done
seen
ok $? "a process is seen, by what it serves"
expect_equal "and asked for" "$(python3 tests/lib/processes.py now $exec | awk '{ print NF, ($1 > 1000), ($2 > 3), $3 }')" \
	"3 1 1 $(ls "/proc/$exec/task" | wc -l)"
kill $watch
wait $watch
expect_equal "watching ends by a signal" $? 0
done_testing
