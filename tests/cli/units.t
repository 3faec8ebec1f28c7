#!/bin/sh
# The units in examples/: systemd takes them as they are, and they run what there is.
. tests/lib/tap.sh
requires_command systemd-analyze

# Beside each other, with programs where this tree's are.
units=$SCRATCH/units
mkdir "$units"
for unit in examples/*.service examples/*.timer; do
	name=$(basename "$unit")
	sed "s|/usr/local/bin/lsc-|$(command -v lsc | sed 's|/lsc$||')/lsc-|" "$unit" >"$units/$name"
done
systemd-analyze verify "$units/lsc-tier.service" >"$SCRATCH/out" 2>&1 ||
	! grep -q 'Failed to \(initialize\|create\) manager' "$SCRATCH/out" ||
	skip_all 'systemd-analyze does not run here'
for unit in "$units"/*; do
	# It complains in words, and of units of this machine, too.
	SYSTEMD_UNIT_PATH=$units: systemd-analyze verify "$unit" >"$SCRATCH/out" 2>&1
	grep -F "$units" "$SCRATCH/out" >"$SCRATCH/complaints"
	[ ! -s "$SCRATCH/complaints" ]
	ok $? "$(basename "$unit") is right"
	note <"$SCRATCH/complaints"
done
systemd-analyze calendar "$(sed -n 's/^OnCalendar=//p' examples/lsc-tier-prewarm.timer)" >"$SCRATCH/out" 2>&1
ok $? 'there is such a time'

# What they run has the options that they give it.
for unit in examples/*.service examples/prewarm.cron; do
	sed -n 's/^ExecStart=[^ ]*lsc-tier //p; s/^[0-9].* lsc-tier //p' "$unit" | while read -r command rest; do
		lsc-tier "$command" --dump-options 2>/dev/null | cut -f1 >"$SCRATCH/options"
		for word in $rest; do
			case $word in
			--*) grep -qx -- "${word#--}" "$SCRATCH/options" || echo "$unit: lsc-tier $command has no $word" ;;
			esac
		done
	done
done >"$SCRATCH/complaints"
[ ! -s "$SCRATCH/complaints" ]
ok $? 'lsc-tier knows their options'
note <"$SCRATCH/complaints"
done_testing
