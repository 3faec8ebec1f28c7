#!/bin/sh
# The Makefile: what a change of flags rebuilds, and what is built without which compiler.
. tests/lib/tap.sh
unset MAKEFLAGS MFLAGS MAKELEVEL
mkdir -p "$SCRATCH/cuda/bin"
printf '#!/bin/sh\n' >"$SCRATCH/cuda/bin/nvcc"
chmod +x "$SCRATCH/cuda/bin/nvcc"
build() { # build OPTION...: beside what is built here
	make --no-print-directory B="$SCRATCH/b" V= SAN= DEV= CC=cc CXX=cc CFLAGS=-O0 LDFLAGS= WITH_CUDA=auto \
		CUDA_HOME="$SCRATCH/cuda" CUDA_ARCHS=80 "$@"
}

# --- stamps of flags ---

c=$SCRATCH/b/flags cuda=$SCRATCH/b/flags-cuda
stamps() { # stamps OPTION...: which of both a build with these makes anew
	rm -f "$SCRATCH/b/before"
	touch -d '1 minute ago' "$c" "$cuda" 2>/dev/null
	touch -d '30 seconds ago' "$SCRATCH/b/before" 2>/dev/null
	build "$@" "$c" "$cuda" >/dev/null
	changed=
	for stamp in "$c" "$cuda"; do
		[ -z "$(find "$stamp" -newer "$SCRATCH/b/before")" ] || changed="$changed ${stamp##*/}"
	done
	build "$c" "$cuda" >/dev/null
	echo "$changed"
}
mkdir -p "$SCRATCH/b"
stamps >/dev/null
expect_equal "the same flags" "$(stamps)" ''
expect_equal "other architectures" "$(stamps CUDA_ARCHS='80 90')" ' flags-cuda'
expect_equal "another nvcc" "$(stamps NVCC=/none/nvcc)" ' flags-cuda'
expect_equal "another C++ compiler" "$(stamps CXX=c99)" ' flags-cuda'
expect_equal "flags of C++" "$(stamps LSC_CXXFLAGS=-O3)" ' flags-cuda'
expect_equal "flags of C" "$(stamps CFLAGS=-O1)" ' flags'

# --- a plugin takes nvcc and a C++ compiler ---

expect_equal "both are there" "$(build -n all | grep -c 'LINK.*lsc-cuda')" 1
expect_equal "no C++ compiler" "$(build -n all CXX=none-such | grep -c 'LINK.*lsc-cuda')" 0
expect_status 2 "which is said to whoever insists" build -n all CXX=none-such WITH_CUDA=yes
expect_one_line "WITH_CUDA=yes, and there is no C++ compiler (none-such)"

# --- and so does the emulated device, which is missed by name ---

mkdir -p "$SCRATCH/none/gpu"
LSC_BUILD="$SCRATCH/none" tests/run gpu >"$SCRATCH/out"
expect_equal "what is not emulated is told" "$(tail -n 2 "$SCRATCH/out")" \
	"skipped: gpu, in the emulation: no C++ compiler here
0 passed, 0 failed, 1 skipped"
done_testing
