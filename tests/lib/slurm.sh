# Sourced behind tap.sh: a Slurm of two nodes, lsc1 and lsc2, on this machine: munged, slurmctld and
# two slurmd of its own, in a mount namespace where the nodes' names are addresses of loopback.  The
# test runs in there.

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
