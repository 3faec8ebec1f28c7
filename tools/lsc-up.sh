#!/bin/sh
# lsc-up - one command from an image to a service: nodes, a cast to them, a router and a gate
#
# Each is a tool of its own, in a session of its own, which writes to a file ROLE.log in the
# folder of this service; lsc-down ends them, by the file pids there.  Where anything fails before
# the gate answers, all that was started is ended again by the same way.
set -u
usage='lsc-up [OPTION...] IMAGE --nodes NODES'
about='Bring up nodes, a cast of IMAGE to them, a router and a gate.'
options() {
	cat <<-END
		api-key-file	-	FILE	Answer those who have a key of FILE alone
		dir	d	DIR	Where images lie at launched nodes; {} is the node's host (default ~/.cache/lsc/nodes/{})
		exec	x	HOST:PORT	Execute here as well; nodes reach HOST (default: this machine's address, if its name has one)
		foreground	f	-	Stay, and end all when one of them ends or a signal comes
		insecure	-	-	Use other machines' addresses without a key
		keep-going	k	-	Go without nodes that cannot be launched
		key-file	-	FILE	Encrypt links with this key (default: one that is drawn)
		launch	-	HOW	Start nodes by ssh (default), srun, or a command
		launch-timeout	-	TIME	Give nodes up that take longer to start (default 60s)
		listen	l	HOST:PORT	Where the gate listens (default 127.0.0.1:8080)
		max-rate	r	RATE	Bytes a second a node may send: 25M, 200mbit
		model	-	NAME	Name the model so to clients (default: as the image)
		name	N	NAME	What this service is called here (default: default)
		no-exec	-	-	Send from here, and execute at the nodes alone
		nodes	t	NODES	The nodes: node[01-08],@FILE,slurm:; those with a port run already
		program	-	PATH	lsc-node at launched nodes (default lsc-node)
		sources	s	NODES	Other nodes that have the image and send it too
		state	-	DIR	Where what runs is kept
		threads	-	N	Compute with N threads at launched nodes
		timeout	-	SECONDS	Give up where no request has a route by then (default 600)
		wait	w	-	Return when all nodes have all of the image
	END
}
# @COMMON@

image= nodes= sources= name=default listen=127.0.0.1:8080 how=ssh program=lsc-node dir=
key= insecure= api_keys= exec_at= no_exec= foreground= keep_going= wait_all= model= max_rate=
threads= launch_timeout=60s timeout_s=600

absolute() { # absolute PATH
	case $1 in
	/*) echo "$1" ;;
	*) echo "$PWD/$1" ;;
	esac
}

take_option() {
	case $1 in
	api-key-file) api_keys=$(absolute "$2") ;;
	dir) dir=$2 ;;
	exec) exec_at=$2 ;;
	foreground) foreground=1 ;;
	insecure) insecure=--insecure ;;
	keep-going) keep_going=--keep-going ;;
	key-file) key=$(absolute "$2") ;;
	launch) how=$2 ;;
	launch-timeout) launch_timeout=$2 ;;
	listen) listen=$2 ;;
	max-rate) max_rate=$2 ;;
	model) model=$2 ;;
	name)
		check_name "$2"
		name=$2
		;;
	no-exec) no_exec=1 ;;
	nodes) nodes="${nodes:+$nodes,}$2" ;;
	program) program=$2 ;;
	sources) sources="${sources:+$sources,}$2" ;;
	state) states=$(absolute "$2") ;;
	threads) threads=$2 ;;
	timeout)
		case ${2%s} in
		'' | *[!0-9]*) misused "'$2' is not a number of seconds" ;;
		esac
		timeout_s=${2%s}
		;;
	wait) wait_all=1 ;;
	esac
}

take_argument() {
	[ -z "$image" ] || misused 'one image at a time'
	image=$1
}

parse "$@"
[ -n "$image" ] || misused 'missing IMAGE'
[ -n "$nodes" ] || misused '--nodes is missing'
[ -z "$key" ] || [ -z "$insecure" ] || misused '--key-file and --insecure exclude each other'
state=$states/$name

# --- what is there before anything runs ---

last_words() { # last_words FILE: the last line, without the name in front
	tail -n 1 "$1" 2>/dev/null | sed 's/^lsc-[a-z]*\( [a-z]*\)\{0,1\}: //'
}

# Which nodes are to be launched, and whether all are addresses of this machine.
look_at_nodes() {
	list=$(lsc-launch --to "$nodes" --dry-run 2>&1) || die $? "--nodes: ${list#lsc-launch: }"
	nodes=$(printf '%s\n' "$list" | cut -f 1 | paste -sd , -)
	launched=$(printf '%s\n' "$list" | grep -c "${tab}launch\$")
	there=$(printf '%s\n' "$list" | grep -c "${tab}runs\$")
	elsewhere=$(printf '%s\n' "$list" | grep -cvE "^(127\.|localhost[:$tab]|\[::1\]|unix:)")
}

# Whoever has this folder is up: it is made while a lock is held.
claim() {
	(umask 077 && mkdir -p "$states") || exit 74
	check_states
	exec 9>"$states/.lock" || exit 74
	flock 9
	if [ -e "$state" ]; then
		read -r pid id 2>/dev/null <"$state/up" || pid=0 id=
		if [ -n "$(running "$state")" ] || is_alive "$pid" "$id"; then
			die 75 "'$name' is up already; 'lsc down $name' ends it"
		fi
		rm -rf "$state"
	fi
	(umask 077 && mkdir "$state" "$state/served") || exit 74
	identity $$
	echo "$$ $identity" >"$state/up"
	: >"$state/pids"
	exec 9>&-
}

# --- how it ends where it fails ---

# The programs say why in their logs, of which the folder is gone.
end_all() {
	trap '' INT TERM HUP
	trap - EXIT
	[ $level -lt 2 ] || tail -n 5 "$state"/*.log >&2
	rm -f "$state/up"
	lsc-down -q --state "$states" "$name"
}

fail() { # fail STATUS WORD...
	fail_status=$1
	shift
	echo "$tool: $*" >&2
	end_all
	exit "$fail_status"
}

# A signal that comes while something is started waits until that is written down.
starting= pending=
stopped() { # stopped NUMBER: by a signal
	if [ -n "$starting" ]; then
		pending=$1
		return
	fi
	if [ -n "$foreground" ] && [ -n "$is_up" ]; then
		say 'ends by a signal'
		end_all
		exit 0
	fi
	fail $((128 + $1)) 'interrupted; what was started is ended'
}

# --- the parts ---

start() { # start ROLE COMMAND...: its address comes to ROLE.ready
	role=$1
	shift
	starting=1
	setsid "$@" </dev/null >"$state/$role.out" 2>"$state/$role.log" 3>"$state/$role.ready" &
	pid=$!
	identity $pid
	echo "$role $pid $identity" >>"$state/pids"
	eval "${role}_pid=$pid ${role}_id=$identity"
	starting=
	[ -z "$pending" ] || stopped "$pending"
}

runs() { # runs ROLE
	eval "is_alive \"\$${1}_pid\" \"\$${1}_id\""
}

# The one that ended says why; its status is ours.
has_failed() { # has_failed ROLE WHAT
	eval "wait \"\$${1}_pid\""
	status=$?
	[ $status -ne 0 ] || status=74
	why=$(last_words "$state/$1.log")
	fail $status "$2${why:-ended with status $status}"
}

await() { # await ROLE WHAT: $address
	until [ -s "$state/$1.ready" ]; do
		runs "$1" || [ -s "$state/$1.ready" ] || has_failed "$1" "$2"
		sleep 0.05
	done
	read -r address <"$state/$1.ready"
}

start_gate() {
	set -- "$listen" --router "unix:$state/router.sock" --ready-fd 3 $insecure
	[ -z "$api_keys" ] || set -- "$@" --api-key-file "$api_keys"
	[ -z "$model" ] || set -- "$@" --model "$model"
	start gate lsc-gate "$@"
	await gate 'gate: '
	url=http://$address
	# Whoever listens everywhere is reached here, too.
	case $url in
	http://0.0.0.0:*) url=http://127.0.0.1:${url##*:} ;;
	"http://[::]:"*) url="http://[::1]:${url##*:}" ;;
	esac
	echo "$url" >"$state/url"
	echo "$api_keys" >"$state/api-key-file"
}

# An address of this machine that others may reach, if its own name says one.
own_address() {
	if [ "$elsewhere" -eq 0 ]; then
		echo 127.0.0.1:0
	else
		getent ahostsv4 "$(uname -n)" | awk '$1 !~ /^127\./ { print $1 ":0"; exit }'
	fi
}

# It executes what lies in a folder: one with this image alone, so that nothing else is there.
start_worker() {
	[ -n "$exec_at" ] || exec_at=$(own_address)
	[ -n "$exec_at" ] || {
		say "this machine sends and does not execute: --exec HOST:PORT says where nodes reach it"
		return 0
	}
	ln -s "$(absolute "$image")" "$state/served/${image_name}"
	# shellcheck disable=SC2086
	start worker lsc-exec serve --dir "$state/served" --listen "$exec_at" --ready-fd 3 $insecure
	await worker 'worker: '
	exec_at=$address
}

# At a node, its folder is made first; where none is named it is one of the user's.
at_node='dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/lsc/nodes/$2}; shift 2
	mkdir -p "$dir" && exec "$@" --dir "$dir"'

start_nodes() {
	set -- sh -c "$at_node" lsc-node "$dir" {} "$program" --host {} --listen '{any}:0' \
		--exec '{any}:0' --exit-with-stdin --ready-fd 1
	[ -z "$threads" ] || set -- "$@" --threads "$threads"
	if [ -n "$insecure" ]; then
		input=/dev/null
		set -- "$@" --insecure
	else
		input=$LSC_KEY_FILE
		set -- "$@" --key-file -
	fi
	[ "$launched" -eq 1 ] && some="1 node" || some="$launched nodes"
	say "starting $some by $how"
	start launch lsc-launch -v --to "$nodes" --launch "$how" --launch-timeout "$launch_timeout" \
		--input "$input" --ready-fd 3 $keep_going -- "$@"
	until [ -s "$state/launch.ready" ]; do
		runs launch || [ -s "$state/launch.ready" ] || nodes_failed
		sleep 0.05
	done
	read -r nodes <"$state/launch.ready"
	sed -n 's/^lsc-launch: \(warning: .*: not launched: \)/\1/p' "$state/launch.log" |
		while read -r line; do say "$line"; done
}

nodes_failed() {
	n=$(grep -c '^lsc-launch: warning: .*: not launched: ' "$state/launch.log")
	[ "$n" -gt 0 ] || has_failed launch 'nodes: '
	wait "$launch_pid"
	status=$?
	first=$(sed -n 's/^lsc-launch: warning: \(.*: not launched: .*\)/\1/p' "$state/launch.log" |
		head -n 1)
	[ "$n" -eq 1 ] || first="$first (and $((n - 1)) more nodes)"
	fail $status "$first"
}

start_cast() {
	mkfifo "$state/arrivals"
	set -- "$image" --to "$nodes" $insecure
	[ -z "$sources" ] || set -- "$@" --sources "$sources"
	[ -z "$exec_at" ] || set -- "$@" --exec "$exec_at"
	[ -z "$max_rate" ] || set -- "$@" --max-rate "$max_rate"
	start cast sh -c 'exec lsc-cast send "$@" >"$0"' "$state/arrivals" "$@"
	start router lsc-pipe "$image" --arrivals "$state/arrivals" --listen "unix:$state/router.sock" \
		--ready-fd 3 $insecure
	await router 'router: '
}

shown=0
show_cast() { # what it has said since the last time
	[ $level -gt 0 ] || return 0
	lines=$(wc -l <"$state/cast.log")
	[ "$lines" -le $shown ] || sed -n "$((shown + 1)),${lines}s/^lsc-cast send: /$tool: /p" \
		"$state/cast.log" >&2
	shown=$lines
}

cast_status= # once it has ended
look_at_cast() {
	show_cast
	[ -z "$cast_status" ] && ! runs cast || return 0
	wait "$cast_pid"
	cast_status=$?
	show_cast
}

# Requests have a route, as somebody sees it who asks.
await_route() {
	waited=0
	until lsc-top --wait --timeout 300ms "$url" 2>"$state/top.log"; do
		look_at_cast
		for role in gate router ${launch_pid:+launch} ${worker_pid:+worker}; do
			runs "$role" || has_failed "$role" "$role: "
		done
		# One that reached some nodes has ended with 1.
		[ "${cast_status:-0}" -le 1 ] || fail "$cast_status" "cast: $(last_words "$state/cast.log")"
		waited=$((waited + 1))
		[ $waited -lt $((timeout_s * 3)) ] ||
			fail 75 "no request has a route after $timeout_s s: $(last_words "$state/top.log")"
	done
	look_at_cast
}

# --- the whole ---

is_up=
worker_pid= launch_pid=
image=${image%/}
image_name=${image##*/}
words=$(lsc-shard ls "$image" 2>&1 >/dev/null) || die $? "${words#lsc-shard ls: }"
[ -z "$api_keys" ] || [ -r "$api_keys" ] || die 74 "cannot read '$api_keys'"
look_at_nodes
[ "$launched" -eq 0 ] || [ "$there" -eq 0 ] || [ -n "$key$insecure${LSC_KEY_FILE:-}" ] ||
	die 64 "nodes that are launched and nodes that run already: give --key-file, the key of" \
		"these, or --insecure"
claim
trap 'stopped 1' HUP
trap 'stopped 2' INT
trap 'stopped 15' TERM
trap 'end_all' EXIT

if [ -n "$insecure" ]; then
	unset LSC_KEY_FILE
elif [ -n "$key" ]; then
	LSC_KEY_FILE=$key
elif [ "$launched" -gt 0 ] && [ -z "${LSC_KEY_FILE:-}" ]; then
	lsc-cast keygen -q "$state/key" || fail $? 'no key for nodes that are launched, without --insecure'
	LSC_KEY_FILE=$state/key
fi
[ -z "${LSC_KEY_FILE:-}" ] || export LSC_KEY_FILE

start_gate
if [ -n "$no_exec" ]; then
	exec_at=
else
	start_worker
fi
[ "$launched" -eq 0 ] || start_nodes
start_cast
await_route
is_up=1
trap '' PIPE
echo "$url" || fail 74 'cannot write the address'

# Nodes that lack something are told of by the cast's status.
[ -z "$wait_all" ] || until [ -n "$cast_status" ]; do
	look_at_cast
	runs gate || has_failed gate 'gate: '
	runs router || has_failed router 'router: '
	sleep 0.1
done

while [ -n "$foreground" ]; do
	look_at_cast
	for role in gate router ${launch_pid:+launch}; do
		runs "$role" || has_failed "$role" "$role: "
	done
	sleep 1 &
	wait $!
done

trap - EXIT
rm -f "$state/up"
[ -z "$wait_all" ] || [ "$cast_status" -eq 0 ] || exit 1
exit 0
