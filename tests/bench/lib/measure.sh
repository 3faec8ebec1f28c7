# shellcheck shell=sh
# One cast in the emulated cluster, and lines about what was measured; sourced by tests/bench/cast.sh.
#
# Sources are nodes 0 to K - 1 and receivers those after them, so that a node has one number, here
# and in the arrival records.

: "${work:?}" "${bench:?}"
sources=1
receivers=
took=    # seconds from the command's start to its exit
began=   # the start, seconds since 1970
name=    # of the image that was cast last
plain=   # seconds of the plain flow: T1
also=

from_to() { # from_to FIRST LAST: numbers
	seq "$1" "$2" | paste -sd ' '
}

# begin_cast IMAGE NODE...: to these; $sender
begin_cast() {
	name=$(basename "$1")
	cast_image=$1
	shift
	receivers=$#
	set -- "$cast_image" --to "$(endpoints "$@")"
	# shellcheck disable=SC2046
	[ "$sources" -eq 1 ] || set -- "$@" --sources "$(endpoints $(from_to 1 $((sources - 1))))"
	began=$(now)
	# shellcheck disable=SC2086
	on 0 lsc-cast send ${plain_links:+--insecure} "$@" ${LSC_BENCH_OPTIONS:-} >"$work/cast.rec" 2>"$work/cast.err" &
	sender=$!
}

end_cast() {
	wait "$sender" # what its status should say is checked by whole()
	took=$(since "$began")
	lsc-msg to-json <"$work/cast.rec" 2>/dev/null |
		jq -rs --argjson began "$began" -f tests/bench/lib/arrivals.jq >"$work/arrived"
}

cast() { # cast IMAGE NODE...
	begin_cast "$@"
	end_cast
}

arrived() { # arrived WORD [NODE]: the time in that record, or nothing
	sed -n "s/^$1${2:+ $2} //p" "$work/arrived"
}

completed() { # completed NODE...: when the last of them was, or nothing if one was not
	for node_now; do arrived complete "$node_now"; done |
		awk -v n=$# '$1 > t { t = $1 } END { if (NR == n) print t }'
}

whole() { # whole NODE...: they hold what was cast
	for node_now; do
		cmp -s "$cast_image/image" "$files/n$node_now/$name/image" || return
	done
}

# stock IMAGE NODE...: they have it
stock() {
	stock=$1
	shift
	for node_now; do
		stocked=$files/n$node_now/$(basename "$stock")
		[ ! -e "$stocked" ] || continue
		mkdir -p "$files/n$node_now"
		cp -rl "$stock" "$stocked" 2>/dev/null || {
			rm -rf "$stocked"
			cp -r "$stock" "$stocked" && sync "$stocked"/*
		}
	done
}

# --- lines of JSON ---

# line CASE WHAT SECONDS OVER TARGET [KEY VALUE]...: a ratio, and what it should be at most ("null"
# where nothing is promised); further keys have numbers.
line() {
	line_case=$1 line_what=$2 line_seconds=$3 line_over=$4 line_target=$5
	shift 5
	more='{}'
	while [ $# -ge 2 ]; do
		more=$(jq -cn --argjson a "$more" --arg k "$1" --argjson v "$2" '$a + {($k): $v}')
		shift 2
	done
	jq -cn --arg name "$bench" --arg case "$line_case" --arg what "$line_what" \
		--argjson receivers "$receivers" --argjson sources "$sources" --argjson bytes "$bytes" \
		--arg rate "${mbit}mbit" --arg where "$(stat -f -c %T "$files")" \
		--argjson seconds "$line_seconds" --argjson over "$line_over" \
		--argjson ratio "$(over "$line_seconds" "$line_over")" \
		--argjson target "$line_target" --argjson plain "$plain" --argjson more "$more" \
		'{$name, $case, $what, $receivers, $sources, $bytes, $rate, $where, $seconds,
			over_seconds: $over, $ratio, $target, plain_seconds: $plain} + $more'
}

missed() { # missed CASE WHAT skipped|failed WHY
	jq -cn --arg name "$bench" --arg case "$1" --arg what "$2" --arg how "$3" --arg why "$4" \
		--argjson bytes "$bytes" --arg rate "${mbit}mbit" \
		'{$name, $case, $what, $bytes, $rate, ($how): $why}'
}

# result CASE WHAT SECONDS OVER TARGET NODE...: a line, if these nodes have all they should have;
# $also are more of its keys and values.
result() {
	result_case=$1 result_what=$2 result_seconds=$3 result_over=$4 result_target=$5
	shift 5
	if [ -n "$result_seconds" ] && whole "$@"; then
		# shellcheck disable=SC2086
		line "$result_case" "$result_what" "$result_seconds" "$result_over" "$result_target" $also
	else
		missed "$result_case" "$result_what" failed "$(tail -n 1 "$work/cast.err" | grep . || echo incomplete)"
	fi
}
