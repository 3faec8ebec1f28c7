# Lines of the modes of one k, from those of scaleout.jq.
#
# What the nodes that have the model give by themselves is measured where nobody else takes requests
# yet: in kway-load, from 2 seconds after the burst began until the first node is complete.  A rate is
# that of one second.
def rate($from; $to): .bin_s as $b | (.out[($from / $b | ceil):($to / $b | floor)]) as $o
	| if ($o | length) == 0 then null else ($o | add) / (($o | length) * $b) end;
def passes($least): . as $l | first(range(10; $l.out | length)
	| select(($l.out[. - 10:.] | add) >= $least) | . * $l.bin_s) // null;
(map(select(.mode == "kway-load")) | first) as $base
| (if $base then ($base | rate(2; .first_complete_s)) else null end) as $own
| .[0].texts as $texts
| .[]
| . + {
	sources_tokens_s: $own,
	texts: (if .texts == $texts then "same" else "differ" end),
	peak_tokens_s: ([range(10; .out | length) as $i | .out[$i - 10:$i] | add] | max)
} + (if .mode == "kway" and $own then
	(.last_complete_s - .cast_from_s) as $took
	| passes(1.5 * $own) as $at
	| {cast_s: $took, passes_s: $at, passes_share: (if $at then ($at - .cast_from_s) / $took else null end),
		second_quarter_tokens_s: rate(.cast_from_s + $took / 4; .cast_from_s + $took / 2)}
	else {cast_s: (if .last_complete_s then .last_complete_s - .cast_from_s else null end)} end)
+ (if .mode == "kway" and $base then {ttft_p90_ratio: (.ttft_p90_s / $base.ttft_p90_s)} else {} end)
