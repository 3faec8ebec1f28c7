# When what arrived in a cast, as lines of words, from its arrival records:
#
#	jq -rs --argjson began SECONDS -f arrivals.jq
#
#	covered T	the receivers held every block between them
#	arrived T	the last of them had its last block
#	complete NODE T	a receiver had the image, on disk and under its name
#	had NODE SHARE	of the image, before the cast
#
# Times count from $began, in seconds since 1970: the start of the command, not that of its records.
def records(kind): map(select(.type == kind));

(records("cast")[0] // empty) as $about
| ($about | if .clock then .clock - .t - $began else 0 end) as $ahead
| def seconds: . + $ahead | . * 1000 | round | . / 1000;
  (records("node") | map(select(.role == "receiver").node) | unique) as $receivers
| (records("block") | map(select(.node as $n | $receivers | index([$n])))) as $blocks
| ($blocks | group_by(.block) | select(length == $about.blocks)
	| "covered \(map(map(.t) | min) | max | seconds)"),
  ($blocks | select(length > 0) | "arrived \(map(.t) | max | seconds)"),
  (records("complete")[] | "complete \(.node) \(.t | seconds)"),
  (records("node")[] | select(.pieces) | "had \(.node) \(.pieces / $about.pieces)")
