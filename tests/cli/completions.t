#!/bin/sh
# What a person gets for a tab, in the shells that are here.
. tests/lib/tap.sh
completions/generate.sh "$SCRATCH/c" >"$SCRATCH/out" 2>&1
ok $? 'completions are generated'

# tab WORD...: what bash offers for the last word
cat >"$SCRATCH/tab" <<'END'
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_lsc "$1" "${!#}" "${COMP_WORDS[COMP_CWORD-1]}"
echo "${COMPREPLY[*]}"
END
tab() { bash "$SCRATCH/tab" "$SCRATCH/c/bash/lsc" "$@"; }

if command -v bash >/dev/null; then
	expect_equal 'bash: tools' "$(tab lsc ms)" msg
	expect_equal 'bash: help on tools' "$(tab lsc help ms)" msg
	expect_equal 'bash: commands' "$(tab lsc-msg '')" 'to-json from-json'
	expect_equal 'bash: commands by way of lsc' "$(tab lsc msg from)" from-json
	expect_equal 'bash: options of a command' "$(tab lsc-msg from-json --he)" '--hello= --help'
	expect_equal 'bash: by way of lsc' "$(tab lsc msg from-json --hell)" '--hello='
	expect_equal 'bash: of this command only' "$(tab lsc-msg to-json --hell)" ''
	expect_equal 'bash: files are left to the shell' "$(tab lsc-msg to-json fi)" ''
	expect_equal 'bash: options of lsc' "$(tab lsc --feat)" --features
else
	skip 'no bash here'
fi

if command -v fish >/dev/null; then
	offers() {
		HOME=$SCRATCH fish --no-config -c "
			set -p fish_complete_path '$SCRATCH/c/fish'
			complete --do-complete '$1'" 2>/dev/null | cut -f1 | sort | tr '\n' ' '
	}
	expect_equal 'fish: commands' "$(offers 'lsc-msg to')" 'to-json '
	expect_equal 'fish: options' "$(offers 'lsc-msg from-json --hell')" '--hello '
	expect_equal 'fish: by way of lsc' "$(offers 'lsc msg from')" 'from-json '
else
	skip 'no fish here'
fi

if command -v zsh >/dev/null; then
	cat >"$SCRATCH/tab.zsh" <<-'END'
		zmodload zsh/zpty
		zpty z zsh -f -i
		zpty -w z "PS1=; fpath=($1/zsh \$fpath); autoload -U compinit; compinit -D -u; cd $1; echo rea''dy"
		zpty -r z all '*ready*'
		zpty -w -n z "$2"$'\t'
		sleep 0.7
		zpty -w -n z $'\x15exit\n'
		while zpty -r z line; do print -r -- $line; done
	END
	types() { zsh -f "$SCRATCH/tab.zsh" "$SCRATCH/c" "$1" 2>/dev/null | tr -d '\r\000-\037'; }
	types 'lsc-msg from-json --hell' | grep -q -e '--hello'
	ok $? 'zsh: options'
	types 'lsc msg from' | grep -q 'from-json'
	ok $? 'zsh: commands by way of lsc'
else
	skip 'no zsh here'
fi
done_testing
