# shellcheck shell=sh
# Casts in which nodes are not alike: by their links, by what they have, by whether they live.
# Sourced by tests/bench/cast.sh.

: "${work:?}" "${n:?}" "${image:?}" "${tuned:?}" "${mixed:?}" "${changed:?}" "${layers:?}"
: "${unequal:?}"

# --- unequal: links of other rates ---

case_unequal() {
	for part in $unequal; do "unequal_$part"; done
}

unequal_slow() {
	for slow in ${LSC_BENCH_SLOW:-$(from_to 1 "$n")}; do repeat one_slow "$slow"; done
}

unequal_mixed() {
	for count in $mixed; do repeat mixed_rates "$count"; done
}

unequal_source() {
	repeat source_rate $((mbit * 4)) 'source 4 times as fast' 1
	repeat source_rate $((mbit / 4)) 'source at 1/4' 4
}

others() { # others NODE: receivers but this
	from_to 1 "$n" | tr ' ' '\n' | grep -vx "$1" | paste -sd ' '
}

one_slow() { # one_slow NODE
	reference 2 1 "$n"
	sources=1
	links $((mbit / 4)) "$1"
	# shellcheck disable=SC2046
	{
		serve $(from_to 1 "$n")
		cast "$image" $(from_to 1 "$n")
		what="receiver $1 of $n at 1/4"
		result unequal "$what: the others, over all alike" "$(completed $(others "$1"))" \
			"$alike" 1.05 $(others "$1")
		result unequal "$what: it, over 4 T1" "$(completed "$1")" "$(product "$plain" 4)" 1.1 "$1"
	}
	links "$mbit" "$1"
	forget "$name"
}

# Every third receiver's link is a quarter, half, whole, the worst order for a chain; each might take
# 4 T1, 2 T1, T1.
mixed_rates() { # mixed_rates N
	sources=1
	for node in $(from_to 1 "$1"); do links $((mbit >> 2 - (node - 1) % 3)) "$node"; done
	# shellcheck disable=SC2046
	{
		serve $(from_to 1 "$1")
		cast "$image" $(from_to 1 "$1")
	}
	for node in $(from_to 1 "$1"); do
		part=$((4 >> (node - 1) % 3))
		result unequal "$1 receivers of mixed rates: receiver $node, at 1/$part, over $part T1" \
			"$(completed "$node")" "$(product "$plain" $part)" 1.1 "$node"
		links "$mbit" "$node"
	done
	forget "$name"
}

source_rate() { # source_rate MBIT WHAT TIMES: which T1 is multiplied by
	sources=1
	links "$1" 0
	# shellcheck disable=SC2046
	{
		serve $(from_to 1 "$n")
		cast "$image" $(from_to 1 "$n")
		result unequal "$2, $(several "$n")$([ "$3" -eq 1 ] || echo ", over $3 T1")" "$took" \
			"$(product "$plain" "$3")" 1.05 $(from_to 1 "$n")
	}
	links "$mbit" 0
	forget "$name"
}

# --- partial: receivers that have something already ---

case_partial() {
	repeat half_there "$n"
	[ -d "$tuned" ] || pack "$tuned" "$layers" "$changed"
	repeat fine_tuned
}

half_there() { # half_there NODE: it got half of the image in a cast that was ended
	sources=1
	# shellcheck disable=SC2046
	serve $(from_to 1 "$n")
	begin_cast "$image" "$1"
	sleep "$(over "$plain" 2)"
	kill -TERM "$sender"
	end_cast
	# shellcheck disable=SC2046
	cast "$image" $(from_to 1 "$n")
	what="receiver $1 of $n has half"
	also="had_share $(arrived had "$1")"
	# shellcheck disable=SC2046
	{
		result partial "$what: all complete" "$(completed $(from_to 1 "$n"))" "$plain" 1.05 \
			$(from_to 1 "$n")
		result partial "$what: it" "$(completed "$1")" "$plain" null "$1"
	}
	also=
	forget "$name"
}

fine_tuned() { # all receivers have the model from which it was made
	sources=1
	# shellcheck disable=SC2046
	{
		stock "$image" $(from_to 1 "$n")
		serve $(from_to 1 "$n")
		cast "$tuned" $(from_to 1 "$n")
		result partial "$(several "$n") of a fine-tune, $changed of $layers layers changed" "$took" \
			"$plain" null $(from_to 1 "$n")
	}
	forget "$(basename "$image")"
	forget "$name"
}

# --- faults: half-way, a node dies or is cut off ---

case_faults() {
	for node in $(printf '%s\n' 1 $(((n + 1) / 2)) "$n" | sort -nu); do
		repeat fault "$node" kill "receiver $node of $n killed"
	done
	repeat fault $(((n + 1) / 2)) cut "receiver $(((n + 1) / 2)) of $n cut off"
	repeat source_killed
}

# A cast to nodes FIRST to LAST that NODE leaves half-way: those that live on, over the time of a
# cast without a fault and 2 seconds.
leave() { # leave NODE kill|cut WHAT TARGET FIRST LAST
	reference 1 "$sources" $(($6 - $5 + 1))
	# shellcheck disable=SC2046
	{
		serve $(from_to 1 "$6")
		begin_cast "$image" $(from_to "$5" "$6")
	}
	sleep "$(over "$alike" 2)"
	if [ "$2" = kill ]; then end_server "$1" KILL; else cluster cut "$1"; fi
	end_cast
	[ "$2" = kill ] || cluster mend "$1"
	# shellcheck disable=SC2046
	result faults "$3: the others, over no fault + 2 s" "$took" \
		"$(awk -v a="$alike" 'BEGIN { print a + 2 }')" "$4" \
		$(from_to "$5" "$6" | tr ' ' '\n' | grep -vx "$1")
	end_servers
	forget "$name"
}

fault() { # fault NODE kill|cut WHAT
	sources=1
	leave "$1" "$2" "$3" "$([ "$2" = kill ] && echo 1 || echo null)" 1 "$n"
}

source_killed() {
	sources=2
	reference 1 2 "$n" # before the cast that the source is stocked for
	stock "$image" 1
	leave 1 kill "one of 2 sources of $(several "$n") killed" 1 2 $((n + 1))
}
