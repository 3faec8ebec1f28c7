#!/bin/sh
# Writes the completions of every tool from the tools' own option tables:
#
#	completions/generate.sh DIR	-> DIR/bash/lsc DIR/zsh/_lsc DIR/fish/lsc*.fish
#
# The tools must be on PATH.  Their --dump-options says either "command<tab>summary" for each
# subcommand or "name<tab>letter<tab>argument<tab>help" for each option ("-" for none).
set -u
cd "$(dirname "$0")/.." || exit 71
dir=${1:?usage: completions/generate.sh DIR}
mkdir -p "$dir/bash" "$dir/zsh" "$dir/fish" || exit 74
tab=$(printf '\t')

# One table of everything: C tool command summary, O tool command name letter argument help.
dump_options() { # dump_options TOOL COMMAND
	tool=$1 command=$2
	options=$("$tool" "$command" --dump-options) || exit
	printf '%s\n' "$options" | sed "s/^/O$tab$tool$tab$command$tab/"
}

table() {
	for source in tools/*.c tools/*.sh; do
		tool=$(basename "${source%.*}")
		top=$("$tool" --dump-options) || exit
		if printf '%s\n' "$top" | awk -F '\t' 'NF != 2 { exit 1 }'; then
			printf '%s\n' "$top" | sed "s/^/C$tab$tool$tab/"
			for command in $(printf '%s\n' "$top" | cut -f1); do
				dump_options "$tool" "$command"
			done
		else
			printf '%s\n' "$top" | sed "s/^/O$tab$tool$tab-$tab/"
		fi
	done
}

tool_names() { cut -f2 "$1" | uniq | tr '\n' ' ' | sed 's/ $//'; }

bash_completion() {
	awk -F '\t' '
	$2 != last { last = $2; tools[++n] = $2 }
	$1 == "C" { commands[$2] = commands[$2] " " $3 }
	$1 == "O" {
		key = $2 ($3 == "-" ? "" : " " $3)
		if (!(key in words)) keys[++k] = key
		words[key] = words[key] " --" $4 ($6 == "-" ? "" : "=")
	}
	END {
		print "# Completions of the lsc tools; written by completions/generate.sh."
		print "_lsc_words() {\n\tcase $1 in"
		for (i = 1; i <= n; i++)
			if (tools[i] in commands)
				printf "\t%s) echo \"%s\" ;;\n", tools[i], substr(commands[tools[i]], 2)
		for (i = 1; i <= k; i++)
			printf "\t\"%s\") echo \"%s\" ;;\n", keys[i], substr(words[keys[i]], 2)
		printf "\tesac\n}\n_lsc_tools=\""
		for (i = 1; i <= n; i++)
			if (tools[i] != "lsc")
				printf "%s ", substr(tools[i], 5)
		print "help\"\n"
	}' "$1"
	cat <<'END'
_lsc() {
	local cur=$2 tool=${1##*/} at=1 words
	COMPREPLY=()
	if [[ $tool == lsc ]]; then
		if ((COMP_CWORD == 1)) && [[ $cur != -* ]]; then
			COMPREPLY=($(compgen -W "$_lsc_tools" -- "$cur"))
			return
		fi
		if [[ ${COMP_WORDS[1]} == help ]]; then
			((COMP_CWORD == 2)) && COMPREPLY=($(compgen -W "${_lsc_tools%help}" -- "$cur"))
			return
		fi
		if ((COMP_CWORD > 1)) && [[ ${COMP_WORDS[1]} != -* ]]; then
			tool=lsc-${COMP_WORDS[1]}
			at=2
		fi
	fi
	words=$(_lsc_words "$tool")
	if [[ -n $words && $words != --* ]]; then
		if ((COMP_CWORD == at)); then
			COMPREPLY=($(compgen -W "$words" -- "$cur"))
			return
		fi
		words=$(_lsc_words "$tool ${COMP_WORDS[at]}")
	fi
	[[ $cur == -* ]] || return
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
	[[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
}
END
	echo "complete -o default -F _lsc $(tool_names "$1")"
}

zsh_completion() {
	echo "#compdef $(tool_names "$1")"
	awk -F '\t' '
	function quoted(text) {
		gsub(/\\/, "\\\\", text); gsub(/\[/, "\\[", text); gsub(/\]/, "\\]", text)
		gsub(/:/, "\\:", text); gsub(q, q "\\" q q, text)
		return text
	}
	function spec(  doc, arg, eq) {
		doc = "[" quoted($7) "]"
		arg = $6 == "-" ? "" : ":" quoted($6) ":_files"
		eq = $6 == "-" ? "" : "="
		if ($5 == "-")
			return "\t\t" q "--" $4 eq doc arg q " \\\n"
		return "\t\t" q "(-" $5 " --" $4 ")" q "{-" $5 (eq ? "+" : "") ",--" $4 eq "}" q doc arg q \
			" \\\n"
	}
	BEGIN { q = sprintf("%c", 39) }
	$2 != last { last = $2; tools[++n] = $2 }
	$1 == "C" { commands[$2] = commands[$2] "\t\t" q $3 ":" quoted($4) q "\n" }
	$1 == "O" {
		key = $2 ($3 == "-" ? "" : " " $3)
		if (!(key in specs)) keys[++k] = key
		specs[key] = specs[key] spec()
	}
	END {
		print "# Completions of the lsc tools; written by completions/generate.sh.\n"
		print "_lsc_options() {\n\tcase $1 in"
		for (i = 1; i <= k; i++)
			printf "\t\"%s\")\n\t\t_arguments -S \\\n%s\t\t\"*:file:_files\"\n\t\t;;\n", \
				keys[i], specs[keys[i]]
		print "\tesac\n}\n\n_lsc_commands() {\n\tlocal -a commands\n\tcase $1 in"
		for (i = 1; i <= n; i++)
			if (tools[i] in commands)
				printf "\t%s) commands=(\n%s\t\t) ;;\n", tools[i], commands[tools[i]]
		print "\t*) return 1 ;;\n\tesac"
		print "\tif ((CURRENT == 2)); then\n\t\t_describe command commands\n\tfi\n}\n"
		printf "_lsc_tools=("
		for (i = 1; i <= n; i++)
			if (tools[i] != "lsc")
				printf "%s ", substr(tools[i], 5)
		print "help)\n"
	}' "$1"
	cat <<'END'
_lsc_tool() {
	if _lsc_commands $1; then
		((CURRENT == 2)) && return
		local command=$words[2]
		shift words
		((CURRENT--))
		_lsc_options "$1 $command"
	else
		_lsc_options $1
	fi
}

_lsc() {
	if [[ $service != lsc ]]; then
		_lsc_tool $service
	elif ((CURRENT == 2)) && [[ $words[2] != -* ]]; then
		compadd -a _lsc_tools
	elif ((CURRENT == 2)); then
		_lsc_options lsc
	elif [[ $words[2] == help ]]; then
		((CURRENT == 3)) && compadd -a _lsc_tools
	else
		local tool=lsc-$words[2]
		shift words
		((CURRENT--))
		_lsc_tool $tool
	fi
}

_lsc "$@"
END
}

fish_completion() { # one file a tool
	awk -F '\t' -v dir="$2" '
	function quoted(text) {
		gsub(/\\/, "\\\\", text); gsub(q, "\\" q, text)
		return q text q
	}
	function option(to, program, condition) {
		printf "complete -c %s%s -l %s%s%s -d %s\n", program, \
			condition == "" ? "" : " -n " quoted(condition), $4, \
			$5 == "-" ? "" : " -s " $5, $6 == "-" ? "" : " -r", quoted($7) >to
	}
	BEGIN {
		q = sprintf("%c", 39)
		all = dir "/lsc.fish"
	}
	$2 != last {
		last = $2
		own = dir "/" $2 ".fish"
		short = $2 == "lsc" ? "help" : substr($2, 5)
		print "# Completions of " $2 "; written by completions/generate.sh." >own
		printf "complete -c lsc -n __fish_use_subcommand -f -a %s\n", short >all
	}
	$1 == "C" {
		printf "complete -c %s -n __fish_use_subcommand -f -a %s -d %s\n", $2, $3, quoted($4) >own
		printf "complete -c lsc -n %s -f -a %s -d %s\n", \
			quoted("__fish_seen_subcommand_from " short), $3, quoted($4) >all
	}
	$1 == "O" {
		seen = $3 == "-" ? "" : "__fish_seen_subcommand_from " $3
		option(own, $2, $2 == "lsc" ? "__fish_use_subcommand" : seen)
		if ($2 != "lsc")
			option(all, "lsc", "__fish_seen_subcommand_from " short \
				(seen == "" ? "" : "; and " seen))
	}' "$1"
}

work=$(mktemp "${TMPDIR:-/tmp}/lsc-completions.XXXXXX") || exit 71
trap 'rm -f "$work"' EXIT
table >"$work" || exit
bash_completion "$work" >"$dir/bash/lsc" && zsh_completion "$work" >"$dir/zsh/_lsc" &&
	fish_completion "$work" "$dir/fish"
