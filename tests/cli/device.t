#!/bin/sh
# lsc-exec --device: what cannot be used is said in one line, and auto does without.
. tests/lib/tap.sh
# The device is looked for before the image, so there is none.
expect_status 64 "a device that is none" lsc-exec run --device gpu nothing.lsc
expect_one_line "cpu, cuda, cuda:N and auto"
expect_status 64 "a number that is none" lsc-exec run --device cuda:x nothing.lsc
expect_one_line "cuda:x"

mkdir "$SCRATCH/none" "$SCRATCH/wrong"
export LSC_PLUGIN_DIR="$SCRATCH/none"
expect_status 69 "no plugin" lsc-exec run --device cuda nothing.lsc
expect_one_line "no 'lsc-cuda.so' in '$SCRATCH/none'"
expect_status 69 "nor for a worker" lsc-exec serve --device cuda:1 --dir "$SCRATCH"
expect_one_line "no 'lsc-cuda.so'"
echo 'not a library' >"$SCRATCH/wrong/lsc-cuda.so"
LSC_PLUGIN_DIR="$SCRATCH/wrong"
expect_status 69 "a plugin that is no library" lsc-exec run --device cuda nothing.lsc
expect_one_line "lsc-cuda.so"

lsc-exec run -v --device auto nothing.lsc >/dev/null 2>"$SCRATCH/err" </dev/null
grep -q 'computing on the CPU: cuda: ' "$SCRATCH/err"
ok $? "auto says at -v why it computes on the CPU"
lsc-exec run --device auto nothing.lsc >/dev/null 2>"$SCRATCH/err" </dev/null
! grep -q cuda "$SCRATCH/err"
ok $? "and nothing otherwise"

# --- the plugin itself ---

unset LSC_PLUGIN_DIR
if lsc --features | grep -qx 'cuda yes'; then
	ldd "$(dirname "$(command -v lsc-exec)")/lsc-cuda.so" >"$SCRATCH/ldd"
	! grep -q 'libcuda\.so\|libcudart' "$SCRATCH/ldd"
	ok $? "the plugin loads where no driver is"
	! ldd "$(command -v lsc-exec)" | grep -q 'cuda\|cublas'
	ok $? "the program has nothing of CUDA in it"
	if lsc-exec run --device cuda "$SCRATCH/missing" 2>"$SCRATCH/err"; then :; fi
	if grep -q "no image" "$SCRATCH/err"; then
		skip "there is a GPU: its absence cannot be tried"
	else
		expect_status 69 "no GPU" lsc-exec run --device cuda nothing.lsc
		expect_one_line "cuda: "
	fi
else
	skip "cuda is not built in"
fi
done_testing
