#!/bin/sh
# lsc-down - ends what lsc-up brought up: the gate first, which lets those who ask have their
# answers, then who answers them
set -u
usage='lsc-down [OPTION...] [NAME]'
about="End what 'lsc up' brought up under NAME (default: default)."
options() {
	cat <<-END
		drain-timeout	-	SECONDS	Let requests be answered for so many seconds at most (default 20)
		dry-run	n	-	Say what runs and end nothing; status 1 where nothing does
		state	-	DIR	Where what runs is kept
	END
}
# @COMMON@

name=
drain_s=20
dry_run=
take_option() {
	case $1 in
	drain-timeout)
		case ${2%s} in
		'' | *[!0-9]*) misused "'$2' is not a number of seconds" ;;
		esac
		drain_s=${2%s}
		;;
	dry-run) dry_run=1 ;;
	state) states=$2 ;;
	esac
}

take_argument() {
	[ -z "$name" ] || misused 'one name at a time'
	check_name "$1"
	name=$1
}

parse "$@"
name=${name:-default}
state=$states/$name
[ ! -e "$states" ] || check_states

word_for() { # word_for ROLE: what people call it
	case $1 in
	launch) echo nodes ;;
	*) echo "$1" ;;
	esac
}

list() { # list LINE...: their roles
	running "$state" | while read -r role pid id; do word_for "$role"; done | paste -sd , - |
		sed 's/,/, /g'
}

if [ -n "$dry_run" ]; then
	found=$(list)
	[ -n "$found" ] || {
		say "nothing of '$name' is running"
		exit 1
	}
	echo "$found"
	exit 0
fi

# Whether it ended within so many tenths of a second.
ends_within() { # ends_within TENTHS PID IDENTITY
	tenths=$1
	while is_alive "$2" "$3"; do
		[ "$tenths" -gt 0 ] || return 1
		sleep 0.1
		tenths=$((tenths - 1))
	done
}

late=
# A gate or worker that gets the signal twice does not wait for its requests any more.
end() { # end SECONDS ROLE PID IDENTITY
	kill -TERM "$3" 2>/dev/null
	ends_within $(($1 * 10)) "$3" "$4" && return
	kill -TERM "$3" 2>/dev/null
	ends_within 20 "$3" "$4" && return
	kill -KILL "$3" 2>/dev/null
	late="$late $(word_for "$2")"
	ends_within 50 "$3" "$4" || die 71 "$2, process $3, cannot be killed"
}

if [ ! -d "$state" ]; then
	say "'$name' is not up"
	exit 0
fi

# An lsc-up that is still there ends the others itself.
if [ -f "$state/up" ]; then
	read -r pid id <"$state/up"
	if is_alive "$pid" "$id"; then
		kill -TERM "$pid"
		ends_within $((drain_s * 10 + 600)) "$pid" "$id" ||
			die 75 "lsc-up, process $pid, does not end"
		[ -d "$state" ] || {
			say "'$name' ended"
			exit 0
		}
	fi
fi

ended=$(list)
for role in gate router cast worker launch; do
	# Programs at nodes, which end when launch does, have 20 s for what they still compute.
	case $role in
	gate | worker) seconds=$drain_s ;;
	launch) seconds=35 ;;
	*) seconds=5 ;;
	esac
	line=$(running "$state" | grep "^$role ")
	# shellcheck disable=SC2086
	[ -z "$line" ] || end "$seconds" $line
done
rm -rf "$state"
if [ -n "$late" ]; then
	die 75 "'$name':$late did not end in time, and was killed"
fi
say "'$name' ended: ${ended:-nothing was running}"
