# TAP for shell tests; sourced first: `. tests/lib/tap.sh`
#
# A test runs from the top of the tree with the programs on PATH and $SCRATCH, an empty folder of
# its own.  Processes started with start_node (or registered with ended_at_exit) are ended when the
# test ends, by pid.

set -u
TOP=$(pwd)
PATH="$TOP/${LSC_BIN:-bin}:$PATH"
DATA=${LSC_TEST_DATA:-$TOP/../shared/data}
SCRATCH=${LSC_SCRATCH:-$(mktemp -d "${TMPDIR:-/tmp}/lsc-test.XXXXXX")}
[ -n "${LSC_SCRATCH:-}" ] || tap_own_scratch=$SCRATCH
export PATH
tap_count=0
tap_failed=0
tap_pids=
tap_hooks=

tap_end() {
	for hook in $tap_hooks; do "$hook"; done
	for pid in $tap_pids; do kill "$pid" 2>/dev/null; done
	for pid in $tap_pids; do wait "$pid" 2>/dev/null; done
	[ -z "${tap_own_scratch:-}" ] || rm -rf "$tap_own_scratch"
}
trap tap_end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

ended_at_exit() { tap_pids="$tap_pids $1"; }
call_at_exit() { tap_hooks="$tap_hooks $1"; }

ok() { # ok STATUS NAME
	tap_count=$((tap_count + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $tap_count - $2"
	else
		tap_failed=$((tap_failed + 1))
		echo "not ok $tap_count - $2"
	fi
}

note() { sed 's/^/# /'; }

skip() { # skip REASON: one test
	tap_count=$((tap_count + 1))
	echo "ok $tap_count # SKIP $1"
}

skip_all() { # skip_all REASON [WHAT]: the whole file
	for want in ${LSC_TEST_REQUIRE:-}; do
		if [ "$want" = "${2:-}" ]; then
			echo "not ok 1 - required: $1"
			echo "1..1"
			exit 1
		fi
	done
	echo "1..0 # SKIP $1"
	exit 0
}

requires_data() { # requires_data PATH...
	for path; do
		[ -e "$DATA/$path" ] || skip_all "no test data $path" data
	done
}

requires_command() {
	for cmd; do
		command -v "$cmd" >/dev/null 2>&1 || skip_all "no $cmd here" "$cmd"
	done
}

requires_feature() { # requires_feature tcp|rdma|cuda
	lsc --features | grep -qx "$1 yes" || skip_all "$1 is not built in" "$1"
}

requires_namespaces() {
	ip netns add lsc-probe-$$ 2>/dev/null && ip netns exec lsc-probe-$$ true 2>/dev/null
	tap_probe=$?
	ip netns del lsc-probe-$$ 2>/dev/null
	[ $tap_probe -eq 0 ] || skip_all "network namespaces are not allowed here" netns
}

# expect_status STATUS NAME COMMAND...: output goes to $SCRATCH/out and $SCRATCH/err
expect_status() {
	tap_want=$1 tap_name=$2
	shift 2
	"$@" >"$SCRATCH/out" 2>"$SCRATCH/err"
	tap_got=$?
	if [ "$tap_got" -eq "$tap_want" ]; then
		ok 0 "$tap_name"
	else
		ok 1 "$tap_name"
		echo "status $tap_got, want $tap_want: $*" | note
		tail -n 5 "$SCRATCH/err" | note
	fi
}

# After expect_status: one line on stderr that contains TEXT.
expect_one_line() {
	if [ "$(wc -l <"$SCRATCH/err")" -eq 1 ] && grep -qF -- "$1" "$SCRATCH/err"; then
		ok 0 "one line: $1"
	else
		ok 1 "one line: $1"
		note <"$SCRATCH/err"
	fi
}

expect_same() { # expect_same NAME FILE FILE
	if cmp -s "$2" "$3"; then
		ok 0 "$1"
	else
		ok 1 "$1"
		diff "$2" "$3" 2>&1 | head -n 8 | note
	fi
}

expect_equal() { # expect_equal NAME GOT WANT
	if [ "$2" = "$3" ]; then
		ok 0 "$1"
	else
		ok 1 "$1"
		printf 'got:  %s\nwant: %s\n' "$2" "$3" | note
	fi
}

# start_server VARIABLE COMMAND...: starts COMMAND --ready-fd 3, waits for its address, sets
# VARIABLE to it (and VARIABLE_pid); ended when the test ends.
start_server() {
	tap_var=$1
	shift
	mkfifo "$SCRATCH/ready.$tap_var"
	"$@" --ready-fd 3 3>"$SCRATCH/ready.$tap_var" 2>"$SCRATCH/log.$tap_var" \
		>"$SCRATCH/out.$tap_var" &
	eval "${tap_var}_pid=$!"
	ended_at_exit $!
	read -r tap_address <"$SCRATCH/ready.$tap_var" || {
		echo "Bail out! $1 did not start: $(tail -n 1 "$SCRATCH/log.$tap_var")"
		exit 1
	}
	rm -f "$SCRATCH/ready.$tap_var"
	eval "$tap_var=\$tap_address"
}

# start_node NAME: a receiving node in $SCRATCH/NAME; its address in $NAME
start_node() {
	mkdir -p "$SCRATCH/$1"
	start_server "$1" lsc-cast serve --dir "$SCRATCH/$1" --listen 127.0.0.1:0
}

done_testing() {
	echo "1..$tap_count"
	[ "$tap_failed" -eq 0 ]
	exit
}
