# Sourced behind tap.sh: an sshd on loopback, and an ssh that goes to it first on PATH.

# An sshd of our own, for this user, with keys of its own.
start_sshd() {
	command -v sshd >/dev/null 2>&1 && command -v ssh-keygen >/dev/null 2>&1 || return
	[ "$(id -u)" -ne 0 ] || mkdir -p /run/sshd
	ssh-keygen -q -t ed25519 -N '' -f "$SCRATCH/host_key" &&
		ssh-keygen -q -t ed25519 -N '' -f "$SCRATCH/user_key" || return
	echo "lsc-test $(cat "$SCRATCH/host_key.pub")" >"$SCRATCH/known_hosts"
	for try in 1 2 3 4 5; do
		ssh_port=$((10000 + ($$ * 7 + try * 1111) % 20000))
		cat >"$SCRATCH/sshd_config" <<-END
			ListenAddress 127.0.0.1:$ssh_port
			ListenAddress 127.0.0.2:$ssh_port
			HostKey $SCRATCH/host_key
			AuthorizedKeysFile $SCRATCH/user_key.pub
			PidFile none
			StrictModes no
			UsePAM no
			PasswordAuthentication no
			PermitRootLogin prohibit-password
			MaxStartups 100
		END
		sshd=$(command -v sshd)
		"$sshd" -D -e -f "$SCRATCH/sshd_config" 2>"$SCRATCH/sshd.log" &
		sshd_pid=$!
		i=0
		while kill -0 $sshd_pid 2>/dev/null && [ $i -lt 50 ]; do
			grep -q 'Server listening on 127.0.0.1' "$SCRATCH/sshd.log" &&
				ended_at_exit $sshd_pid && break 2
			sleep 0.1
			i=$((i + 1))
		done
		wait $sshd_pid
		sshd_pid=
	done
	[ -n "$sshd_pid" ] || return
	cat >"$SCRATCH/ssh_config" <<-END
		Host *
			Port $ssh_port
			HostKeyAlias lsc-test
			IdentityFile $SCRATCH/user_key
			IdentitiesOnly yes
			UserKnownHostsFile $SCRATCH/known_hosts
			GlobalKnownHostsFile /dev/null
	END
	mkdir "$SCRATCH/bin"
	printf '#!/bin/sh\nexec %s -F %s "$@"\n' "$(command -v ssh)" "$SCRATCH/ssh_config" \
		>"$SCRATCH/bin/ssh"
	chmod +x "$SCRATCH/bin/ssh"
	PATH=$SCRATCH/bin:$PATH
	ssh -oBatchMode=yes 127.0.0.1 true 2>"$SCRATCH/err"
}
