#!/bin/sh
# lsc-cast send --launch srun, with a real Slurm of two nodes on this machine: munged, slurmctld and two
# slurmd of its own, in a mount namespace where the nodes' names are addresses of loopback.
. tests/lib/tap.sh
. tests/lib/slurm.sh

# Without TLS there are no keys, and casts are launched with --insecure.
lsc --features | grep -qx 'tls yes' && open= || open=--insecure
lsc-shard pack --dummy smollm2-135m --layers 2 "$SCRATCH/image.lsc"
cast=$TOP/${LSC_BIN:-bin}/lsc-cast
size=$(wc -c <"$SCRATCH/image.lsc/image")
fresh() {
	rm -rf "$SCRATCH/n"
	mkdir -p "$SCRATCH/n/lsc1" "$SCRATCH/n/lsc2"
}
whole() {
	for node in lsc1 lsc2; do
		expect_same "$node has the image" "$SCRATCH/n/$node/image.lsc/image" \
			"$SCRATCH/image.lsc/image"
	done
}
left() { ps -eo args | grep -c "^[^ ]*lsc-cast serve --exit-with-stdin.*$SCRATCH"; }
nothing_left() { [ "$(left)" -eq 0 ] && [ -z "$(squeue -h)" ]; }
under_way() { [ -d "$SCRATCH/n/lsc1/image.lsc.part" ] && [ -d "$SCRATCH/n/lsc2/image.lsc.part" ]; }

fresh
expect_status 0 'srun, with a job of its own' lsc-cast send -v "$SCRATCH/image.lsc" $open --to 'lsc[1-2]' \
	--launch srun --program "$cast" --dir "$SCRATCH/n/{}"
whole
until_ok nothing_left
ok $? 'nothing is left of it'

fresh
cat >"$SCRATCH/job" <<END
#!/bin/sh
#SBATCH --nodes=2 --output=$SCRATCH/job.out
$cast send $SCRATCH/image.lsc $open --to slurm: --launch srun --program $cast --dir '$SCRATCH/n/{}'
echo "status \$?"
END
expect_status 0 'inside of a job' sbatch -W "$SCRATCH/job"
grep -qax 'status 0' "$SCRATCH/job.out"
ok $? 'to all of its nodes'
[ "$tap_failed" -eq 0 ] || tail -n 5 "$SCRATCH/job.out" | note
whole

fresh
expect_status 69 'a node that Slurm does not know' lsc-cast send "$SCRATCH/image.lsc" $open --to 'lsc[1-3]' \
	--launch srun --program "$cast" --dir "$SCRATCH/n/{}"
grep -q 'lsc3: not launched: srun: error: ' "$SCRATCH/err"
ok $? "srun's words are the reason"

rmdir "$SCRATCH/n/lsc2"
expect_status 69 'a node without the folder' lsc-cast send "$SCRATCH/image.lsc" $open --to 'lsc[1-2]' \
	--launch srun --program "$cast" --dir "$SCRATCH/n/{}" --launch-timeout 3s
expect_same 'the other has the image' "$SCRATCH/n/lsc1/image.lsc/image" "$SCRATCH/image.lsc/image"
grep -q "lsc2: not launched: .*cannot serve '$SCRATCH/n/lsc2': No such file" "$SCRATCH/err"
ok $? 'and why it has none is told'
[ "$tap_failed" -eq 0 ] || note <"$SCRATCH/err"

fresh
lsc-cast send "$SCRATCH/image.lsc" $open --to 'lsc[1-2]' --launch srun --program "$cast" \
	--dir "$SCRATCH/n/{}" --max-rate $((size / 20)) >/dev/null 2>&1 &
pid=$!
until_ok under_way
if [ -z "$open" ]; then
	ps -eo args | grep "^[^ ]*lsc-cast serve --exit-with-stdin.*$SCRATCH" >"$SCRATCH/serving"
	expect_equal 'both were given a key on standard input' \
		"$(grep -c -e ' --key-file -$' "$SCRATCH/serving")" 2
fi
kill -KILL $pid
wait $pid 2>/dev/null
until_ok nothing_left
ok $? 'SIGKILL leaves no receiver and no job'
done_testing
