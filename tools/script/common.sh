# What the tools that are scripts have in common.  Each has an options() that prints its table, as
# --dump-options does ("name<tab>letter<tab>argument<tab>help", "-" for none), a usage line, a word
# about itself, and take_option NAME VALUE and take_argument WORD.
tool=${0##*/}
here=${0%/*}
[ "$here" = "$0" ] || PATH=$(cd "$here" && pwd):$PATH
level=1 # 0: errors alone, 1: notices too, 2: more
tab=$(printf '\t')

die() { # die STATUS WORD...
	die_status=$1
	shift
	echo "$tool: $*" >&2
	exit "$die_status"
}

warn() { echo "$tool: warning: $*" >&2; }
say() { [ $level -lt 1 ] || echo "$tool: $*" >&2; }
misused() { die 64 "$*; '$tool --help' lists the options"; }

all_options() {
	options
	cat <<-END
		verbose	v	-	Say more
		quiet	q	-	Say errors only
		version	V	-	Print the version and exit
		features	-	-	Print what is built in and exit
		help	-	-	Print this help and exit
	END
}

help() {
	printf 'Usage: %s\n%s\n\n' "$usage" "$about"
	all_options | awk -F '\t' '{
		line = sprintf("  %s--%s%s", $2 == "-" ? "    " : "-" $2 ", ", $1, $3 == "-" ? "" : "=" $3)
		n = split($4, words, " ")
		if (length(line) > 27) {
			print line
			line = ""
		}
		line = sprintf("%-29s%s", line, words[1])
		for (i = 2; i <= n; i++)
			if (length(line) + 1 + length(words[i]) > 79) {
				print line
				line = sprintf("%-29s%s", "", words[i])
			} else {
				line = line " " words[i]
			}
		print line
	}'
}

# Those that every tool has, and those of the tool itself.
take_any() { # take_any NAME VALUE
	case $1 in
	verbose) level=2 ;;
	quiet) level=0 ;;
	version)
		lsc --version | sed "s/^lsc/$tool/"
		exit
		;;
	features) exec lsc --features ;;
	help)
		help
		exit
		;;
	*) take_option "$1" "$2" ;;
	esac
}

# The row of the option that a word names, by its long name or its letter.
find_option() { # find_option --NAME|-LETTER: $option and $argument
	row=$(all_options | awk -F '\t' -v word="$1" \
		'word == "--" $1 || word == "-" $2 { print $1 "\t" $3 }')
	[ -n "$row" ] || misused "unrecognized option '$1'"
	option=${row%"$tab"*} argument=${row#*"$tab"}
}

parse() { # parse ARGUMENT...
	while [ $# -gt 0 ]; do
		word=$1
		shift
		case $word in
		--dump-options)
			all_options
			exit
			;;
		--)
			for word; do take_argument "$word"; done
			return
			;;
		--*=*)
			find_option "${word%%=*}"
			[ "$argument" != - ] || misused "option '${word%%=*}' doesn't allow an argument"
			take_any "$option" "${word#*=}"
			;;
		--*)
			find_option "$word"
			if [ "$argument" = - ]; then
				take_any "$option" ''
			else
				[ $# -gt 0 ] || misused "option '$word' requires an argument"
				take_any "$option" "$1"
				shift
			fi
			;;
		-?*)
			# -fN node1 and -fNnode1 are -f -N node1.
			rest=${word#-?}
			find_option "${word%"$rest"}"
			if [ "$argument" = - ]; then
				[ -z "$rest" ] || set -- "-$rest" "$@"
				take_any "$option" ''
			elif [ -n "$rest" ]; then
				take_any "$option" "$rest"
			else
				[ $# -gt 0 ] || misused "option '$word' requires an argument"
				take_any "$option" "$1"
				shift
			fi
			;;
		*) take_argument "$word" ;;
		esac
	done
}

check_name() { # check_name NAME: it becomes a folder's
	case $1 in
	'' | .* | -* | *[!A-Za-z0-9._-]*)
		misused "'$1' is no name: want letters, digits, '.', '_' and '-'"
		;;
	esac
}

# --- what runs: a folder for each name, in $states ---

states=${LSC_STATE_DIR:-${XDG_RUNTIME_DIR:+$XDG_RUNTIME_DIR/lsc}}
states=${states:-/tmp/lsc-$(id -u)}
# /tmp is everybody's: what others put there is not believed.
check_states() {
	if [ -L "$states" ] || [ ! -O "$states" ]; then
		die 74 "'$states' is not ours"
	fi
}

boot=$(cat /proc/sys/kernel/random/boot_id)

# What tells a process from a later one with the same number.
identity() { # identity PID: $identity, "" where there is no such process, or it has ended
	identity=
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
	# shellcheck disable=SC2086
	set -- ${stat##*) }
	[ "$1" = Z ] || identity=$boot.${20}
}

is_alive() { # is_alive PID IDENTITY
	identity "$1"
	[ -n "$identity" ] && [ "$identity" = "$2" ]
}

# The lines "ROLE PID IDENTITY" of what was started there and has not ended, in that order.
running() { # running FOLDER
	[ ! -f "$1/pids" ] || while read -r role pid id; do
		! is_alive "$pid" "$id" || echo "$role $pid $id"
	done <"$1/pids"
}
