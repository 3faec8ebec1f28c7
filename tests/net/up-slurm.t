#!/bin/sh
# examples/slurm.sbatch in a real Slurm of two nodes: a job that asks, and one that serves.
. tests/lib/tap.sh
. tests/lib/service.sh
requires_feature microhttpd
requires_command jq curl setsid flock
requires_data models/stories260K-fp32
. tests/lib/slurm.sh

start_model # with a format of chats
lsc-shard verify "$image" >/dev/null
export LSC_DIR="$SCRATCH/n" LSC_LISTEN=127.0.0.1:0 TMPDIR="$SCRATCH"
left() { ps -eo pid,args | grep -E "[l]sc-(gate|pipe|cast|exec|node|launch) .*($SCRATCH/n/|lsc-job)"; }
nothing_left() { [ -z "$(left)" ] && [ -z "$(squeue -h)" ]; }
job() { sbatch --parsable --output="$SCRATCH/job.out" "$TOP/examples/slurm.sbatch" "$@"; }

expect_status 0 'a job that asks' sbatch -W --output="$SCRATCH/job.out" "$TOP/examples/slurm.sbatch" \
	"$image" 'Who was there?'
grep -q '^asking http://127.0.0.1:' "$SCRATCH/job.out" &&
	tail -n 1 "$SCRATCH/job.out" | grep -q '[a-z]'
ok $? 'has an answer'
[ "$tap_failed" -eq 0 ] || note <"$SCRATCH/job.out"
for node in lsc1 lsc2; do
	expect_same "$node has the image" "$SCRATCH/n/$node/model/image" "$image/image"
done
until_ok nothing_left
ok $? 'and leaves nothing'
left | note

id=$(job "$image")
serves() { grep -q '^http://127.0.0.1:' "$SCRATCH/job.out"; }
until_ok serves
ok $? 'one that serves says where'
[ "$tap_failed" -eq 0 ] || note <"$SCRATCH/job.out"
expect_status 0 'its nodes are up' lsc-top --once "$(grep '^http' "$SCRATCH/job.out")"
scancel --batch --signal=TERM "$id"
until_ok nothing_left
ok $? 'a signal ends all of it'
grep -q "^lsc-up: ends by a signal" "$SCRATCH/job.out"
ok $? 'in good order'
[ "$tap_failed" -eq 0 ] || note <"$SCRATCH/job.out"

id=$(job "$image")
until_ok serves
scancel "$id"
until_ok nothing_left
ok $? 'and so does a job that is cancelled'
left | note
done_testing
