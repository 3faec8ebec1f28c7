#!/bin/sh
# The dispatcher: which program it becomes, what it lists, what it says when there is none.
. tests/lib/tap.sh

mkdir "$SCRATCH/path" "$SCRATCH/path/lsc-dir" "$SCRATCH/man"
cat >"$SCRATCH/path/lsc-own" <<'END'
#!/bin/sh
echo "own:$(basename "$0"):$*"
exit 42
END
cat >"$SCRATCH/man/man" <<'END'
#!/bin/sh
echo "man:$*"
END
chmod +x "$SCRATCH/path/lsc-own" "$SCRATCH/man/man"
PATH=$PATH:$SCRATCH/path

expect_status 42 'a tool on PATH ends with its own status' lsc own a '' '--b c'
expect_equal 'it gets its name and arguments as they were' "$(cat "$SCRATCH/out")" \
	'own:lsc-own:a  --b c'
expect_status 127 'no such tool' lsc nosuchtool --help
expect_one_line "no tool 'lsc-nosuchtool'"
expect_status 126 'a tool that cannot be run' lsc dir
expect_one_line "cannot run 'lsc-dir'"
for bad in ../lsc own/x "$(printf '%0300d' 0)"; do
	expect_status 64 'what cannot be a name' lsc "$bad"
	expect_one_line 'is not the name of a tool'
done
expect_status 64 'no tool at all' lsc
expect_one_line 'missing tool'
expect_status 64 'an option before its tool' lsc -v own

expect_status 0 'help lists tools' lsc help
for source in tools/lsc-*.c tools/lsc-*.sh; do
	name=$(basename "${source%.*}")
	grep -qE "^  ${name#lsc-} +[a-z]" "$SCRATCH/out"
	ok $? "with a line on ${name#lsc-}"
done
expect_equal 'and others on PATH, but no folder' "$(grep '^Also on PATH:' "$SCRATCH/out")" \
	'Also on PATH: own'

PATH=$SCRATCH/man:$PATH
if [ "${LSC_BIN:-bin}" = bin ]; then
	case $(lsc help lsc) in
	man:*lsc.[17]) ok 0 'help lsc shows its page' ;;
	*) ok 1 'help lsc shows its page' ;;
	esac
else
	skip 'the pages lie beside bin/ alone'
fi
expect_equal 'help of a tool without a page in the tree asks man' "$(lsc help own)" 'man:lsc-own'
lsc --features | grep -qx 'tcp yes'
ok $? 'features name tcp'
done_testing
