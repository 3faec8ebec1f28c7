#!/bin/sh
# lsc-cast send --launch srun, with a real Slurm of two nodes on this machine: munged, slurmctld and two
# slurmd of its own, in a mount namespace where the nodes' names are addresses of loopback.
. tests/lib/tap.sh
PATH=$PATH:/usr/sbin:/sbin
requires_command munged slurmctld slurmd srun sbatch scontrol unshare

if [ -z "${LSC_IN_NAMESPACE:-}" ]; then
	[ "$(id -u)" -eq 0 ] || skip_all 'Slurm needs root' root
	unshare -m true 2>/dev/null || skip_all 'mount namespaces are not allowed here' mountns
	rm -rf "${tap_own_scratch:-/nonexistent}"
	trap - EXIT
	exec unshare -m env LSC_IN_NAMESPACE=1 "$0"
fi

printf '127.0.0.1 localhost\n127.0.0.1 lsc1\n127.0.0.2 lsc2\n' >"$SCRATCH/hosts"
mount --bind "$SCRATCH/hosts" /etc/hosts 2>/dev/null || skip_all 'cannot bind /etc/hosts' mountns

base=$((10000 + $$ * 4 % 20000))
export SLURM_CONF="$SCRATCH/slurm.conf"
mkdir "$SCRATCH/run" "$SCRATCH/state" "$SCRATCH/spool"
head -c 1024 /dev/urandom >"$SCRATCH/munge.key"
chmod 600 "$SCRATCH/munge.key"
cat >"$SLURM_CONF" <<END
ClusterName=lsc
SlurmctldHost=localhost
SlurmctldPort=$base
AuthType=auth/munge
AuthInfo=socket=$SCRATCH/run/munge
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$SCRATCH/state
SlurmdSpoolDir=$SCRATCH/spool/%n
SlurmctldPidFile=$SCRATCH/run/slurmctld.pid
SlurmdPidFile=$SCRATCH/run/slurmd.%n.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/builtin
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
InactiveLimit=0
KillWait=1
NodeName=lsc1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((base + 1)) CPUs=1 State=UNKNOWN
NodeName=lsc2 NodeHostname=localhost NodeAddr=127.0.0.2 Port=$((base + 2)) CPUs=1 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
END

daemon() { # daemon LOG COMMAND...
	log=$SCRATCH/$1.log
	shift
	"$@" >"$log" 2>&1 &
	ended_at_exit $!
}

until_ok() { # until_ok COMMAND...: for 10 s at most
	tries=0
	until "$@" 2>/dev/null; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || return
		sleep 0.1
	done
}

idle() { [ "$(sinfo -h -t idle -o %D)" = 2 ]; }

# munged will not have its files in a folder that others may write to, as /tmp is, without --force.
daemon munged munged --force -F --key-file="$SCRATCH/munge.key" --socket="$SCRATCH/run/munge" \
	--pid-file="$SCRATCH/run/munged.pid" --log-file="$SCRATCH/munge.log" \
	--seed-file="$SCRATCH/munge.seed"
until_ok [ -S "$SCRATCH/run/munge" ] || skip_all 'munged does not start' slurm
daemon slurmctld slurmctld -D -i
daemon slurmd1 slurmd -D -N lsc1
daemon slurmd2 slurmd -D -N lsc2
until_ok idle || skip_all "Slurm does not start: $(tail -n 1 "$SCRATCH/slurmctld.log")" slurm

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
