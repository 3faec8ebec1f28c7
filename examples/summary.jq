# What happened in a cast and with the requests meanwhile, for people:
#
#	jq -rn --slurpfile cast cast.json --slurpfile answers answers.json \
#		--argjson again ID --arg shades ' .:-=#' -f examples/summary.jq
#
# cast.json and answers.json are what lsc-msg makes of the arrivals and what lsc-pipe writes.  Request
# 1 was asked when the cast began; request ID is the same question when every node was complete.

def columns: 50;
def seconds: . * 100 | round / 100 | tostring;
def pad($n): . + " " * ([$n - length, 0] | max);
def lead($n): " " * ([$n - length, 0] | max) + .;
def records(kind): map(select(.type == kind));
def answers(id; kind): $answers | records(kind) | map(select(.id == id));

($cast | records("cast")[0]) as $about
| ($cast | records("node") | unique_by(.node)) as $nodes
| ($cast | records("block")) as $blocks
| ($cast | records("complete")) as $complete
| ($cast | records("end")[0].seconds) as $total
| ($nodes | map(select(.role == "receiver") | .node)) as $receivers

# A node's bar: how much of the image it has at each of the columns' times.
| def shade(part):
	if part >= 1 then $shades[-1:]
	elif part == 0 then $shades[:1]
	else (($shades | length) - 2) as $n | ($shades | .[1 + (part * $n | floor):][:1]) end;
def bar($n): ($blocks | map(select(.node == $n.node) | .t)) as $times
	| if $n.role == "source" then $shades[-1:] * columns
	  else [range(1; columns + 1) | (. * $total / columns) as $t
		| shade(($times | map(select(. <= $t)) | length) / $about.blocks)] | add end;
def when($n):
	if $n.role == "source" then "source"
	else ($complete | map(select(.node == $n.node) | .t)[0]) as $t
		| if $t then "complete at " + ($t | seconds) + " s" else "not complete" end end;

# Stages of a route, in words.
def route: [.stages[] | "units \(.first)-\(.last) on node \(.node)"] | join(", ");

def line($text; $t; $more):
	"   " + ($text | pad(48)) + ($t | lead(7)) + " s" + if $more == "" then "" else "   " + $more end;

(answers(1; "token")[0]) as $first
| ($answers | records("route")
	| map(select(.stages | any(.node as $n | $receivers | index([$n]))))[0]) as $helped
| ($answers | records("route") | map(select(.stages | length > 1))[0]) as $pipeline
| ([$blocks[] | select(.node as $n | $receivers | index([$n]))] | group_by(.block)
	| if length == $about.blocks then map(map(.t) | min) | max else null end) as $covered
| ($complete | map(select(.node as $n | $receivers | index([$n])) | .t)) as $times
| ($answers | records("switch") | map(select(.to == "local"))) as $switches
| (answers($again; "token")[0].t - answers($again; "route")[0].t) as $local

| "",
  ($nodes[] | "   node \(.node | tostring | pad(2)) |" + bar(.) + "| " + when(.)),
  ("           0 s" + ($total | seconds + " s" | lead(columns - 2))),
  "",
  line("The first token of the answer came after"; $first.t | seconds; ""),
  (if $pipeline then line("the first pipeline ran after"; $pipeline.t | seconds; $pipeline | route)
   else empty end),
  (if $helped then line("a receiver was first at work after"; $helped.t | seconds; "") else empty end),
  (if $covered then line("receivers held everything between them after"; $covered | seconds; "")
   else empty end),
  (if $times != [] then line("the first of them was complete after"; $times | min | seconds; ""),
	line("and the last after"; $times | max | seconds; "") else empty end),
  ($switches[:3][] | line("request \(.id) moved to node \(.node), which runs it alone,"; .t | seconds; "")),
  "",
  "   Answer: " + (answers(1; "done")[0].text // "(none)" | gsub("\\s+"; " ")),
  "",
  "   Loading first and running then costs the copy, \($times | min | seconds) s to the first node that is whole,",
  "   and \($local | seconds) s from question to first token there (measured: the same question, again):",
  line("its first token comes after"; ($times | min) + $local | seconds;
	"\((($times | min) + $local) / $first.t | . * 10 | round / 10) times as long")
