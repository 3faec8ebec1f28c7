# What happened in a cast and with the requests meanwhile, for people:
#
#	jq -rn --slurpfile cast cast.json --slurpfile answers answers.json \
#		--argjson again ID --arg shades ' .:-=#' -f examples/summary.jq
#
# cast.json and answers.json are what lsc-msg makes of the arrivals and what lsc-pipe writes.  Request
# 1 was asked when the cast began; request ID is the same question when every node was complete.

def columns: 50;
def pad($n): . + " " * ([$n - length, 0] | max);
def lead($n): " " * ([$n - length, 0] | max) + .;
def seconds: . * 100 | round | "\(. / 100 | floor)." + (. % 100 + 100 | tostring[1:]);
# Lines of at most $n characters, of a text.
def wrap($n): reduce (splits("\\s+")) as $word ([""];
	if .[-1] == "" then .[-1] = $word
	elif (.[-1] + $word | length) < $n then .[-1] += " " + $word
	else . + [$word] end);
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
def route: "units " + ([.stages[]
	| "\(.first)" + (if .first == .last then "" else "-\(.last)" end) + " on node \(.node)"]
	| join(", "));

def line($text; $t): "   " + ($text | pad(54)) + ($t | seconds | lead(7)) + " s";

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
  (if $pipeline then line("A pipeline of several nodes first ran after"; $pipeline.t),
	"      " + ($pipeline | route) else empty end),
  (if $helped and $helped.t != $pipeline.t then line("a receiver was first at work after"; $helped.t)
   else empty end),
  line("the first token of the answer came after"; $first.t),
  (if $covered then line("the receivers held everything between them after"; $covered) else empty end),
  (if $times != [] then line("the first of them was complete after"; $times | min),
	line("and the last after"; $times | max) else empty end),
  ($switches[:3][] | line("request \(.id) moved to node \(.node), which runs it alone, after"; .t)),
  "",
  ("Answer: " + (answers(1; "done")[0].text // "(none)") | wrap(76)[] | "   " + .),
  "",
  "   To load first and then run takes \($times | min | seconds) s until the first node has it all, and",
  "   \($local | seconds) s from question to first token there (measured: the same question, again):",
  line("that first token comes after"; ($times | min) + $local)
	+ ", \((($times | min) + $local) / $first.t | . * 10 | round / 10) times as late"
