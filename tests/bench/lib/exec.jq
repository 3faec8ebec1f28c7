# From the lines of tests/bench/lib/exec-round.sh, ratios, and what each should be.  The best of the
# rounds counts, for ours and for peers, and the better way where a peer has two: what else goes on on
# a machine makes things slower and never faster.
def distinct(f): reduce (.[] | f) as $x ([]; if index([$x]) then . else . + [$x] end);
def pick($name; $who; $threads; $batch):
	map(select(.name == $name and .who == $who and .threads == $threads
		and ($batch == null or .batch == $batch)));
def best($key; $most): map(.[$key]) | if $most then max else min end;
def line($case; $what; $unit; $ours; $than; $theirs; $ratio; $target; $better):
	{name: "exec", $case, $what, $unit, value: $ours, over: $than, over_value: $theirs, $ratio,
		$target, $better};
def against($case; $what; $ours; $theirs; $than; $target):
	if $ours == [] or $theirs == [] then empty
	else ($ours | best("tokens_s"; true)) as $a | ($theirs | best("tokens_s"; true)) as $b
		| line($case; $what; "tokens/s"; $a; $than; $b; $a / $b; $target; "more") end;

distinct({model, format})[] as $of
| map(select(.model == $of.model and .format == $of.format)) as $all
| $all | distinct(.threads)[] as $threads
| "\($of.model) \($of.format), \($threads) thread\(if $threads == 1 then "" else "s" end)" as $case
| ($all | pick("run-generate"; "lsc"; $threads; 1)) as $one
| (	(["llama.cpp", 1.1, 1.0], ["transformers", 1.1, 1.0]) as [$peer, $generate, $prompt]
	| ($all | distinct(.batch) | map(select(. != null)) | sort)[] as $batch
	| against($case; "generate, batch \($batch)"; $all | pick("run-generate"; "lsc"; $threads; $batch);
		$all | pick("run-generate"; $peer; $threads; $batch); $peer;
		if $batch == 1 then $generate else null end)),
  (	("llama.cpp", "transformers") as $peer
	| against($case; "prompt"; $all | pick("run-prompt"; "lsc"; $threads; null);
		$all | pick("run-prompt"; $peer; $threads; null); $peer; 1.0)),
  (	($all | pick("run-generate"; "lsc"; $threads; 16)) as $many
	| against($case; "generate, batch 16"; $many; $one; "batch 1";
		if $of.model == "smollm2-135m" then 5 else null end)),
  ($one | select(. != []) | best("weights_gb_s"; true) as $a
	| ($all | pick("run-reading"; "lsc"; $threads; null) | best("gb_s"; true)) as $b
	| line($case; "weights read while generating"; "GB/s"; $a; "reading alone"; $b; $a / $b;
		if $of.model == "smollm2-135m" then null else 0.85 end; "more")),
  (	($all | pick("run-start"; "lsc"; $threads; null)) as $ours
	| ($all | pick("run-start"; "llama.cpp"; $threads; null)) as $theirs
	| select($ours != [])
	| (select($theirs != []) | ($ours | best("ms"; false)) as $a | ($theirs | best("ms"; false)) as $b
		| line($case; "from exec to the first token"; "ms"; $a; "llama.cpp"; $b; $a / $b; 0.5; "less")),
	  (($ours | map(.anonymous_kb) | max / 1024) as $a
		| line($case; "memory beside the image"; "MiB"; $a; "100 MB"; 95.37; $a / 95.37; 1; "less")),
	  (select($theirs != []) | ($theirs | best("anonymous_kb"; false) / 1024) as $b
		| line($case; "the same of llama.cpp"; "MiB"; $b; "100 MB"; 95.37; $b / 95.37; null; "less")))
