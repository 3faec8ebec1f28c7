# lsc - one Makefile for everything; `make help` lists the targets.
#
#	make -j2			build into bin/
#	make check			the tests of every day
#	make SAN=address,undefined	a sanitizer build, beside the normal one (SAN=thread too)
#	make CC=clang DEV=1		another compiler; DEV=1 turns warnings into errors
#
# WITH_TLS=auto, yes or no: links encrypted by OpenSSL, libssl-dev.
# WITH_CURL=auto, yes or no: lsc-replay's HTTP by libcurl, libcurl4-openssl-dev.
# WITH_MICROHTTPD=auto, yes or no: lsc-gate's HTTP by libmicrohttpd, libmicrohttpd-dev.
# WITH_RDMA=auto, yes or no: links over RDMA by libibverbs and librdmacm, librdmacm-dev.
# WITH_URING=auto, yes or no: a disk read by io_uring, liburing-dev.
# WITH_CUDA=auto, yes or no: a plugin that computes on NVIDIA's GPUs, by CUDA's nvcc in CUDA_HOME.
# CFLAGS, LDFLAGS and CC are the user's; config.mk (ignored by git) may set them.
-include config.mk

PREFIX	 ?= /usr/local
BINDIR	 ?= $(PREFIX)/bin
LIBDIR	 ?= $(PREFIX)/lib
MANDIR	 ?= $(PREFIX)/share/man
BASHDIR	 ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR	 ?= $(PREFIX)/share/zsh/site-functions
FISHDIR	 ?= $(PREFIX)/share/fish/vendor_completions.d
CC	 ?= cc
CFLAGS	 ?= -O2 -g
CPPFLAGS ?=
LDFLAGS	 ?=
SAN	 ?=
DEV	 ?=
V	 ?=
WITH_TLS  ?= auto
WITH_CURL ?= auto
WITH_MICROHTTPD ?= auto
WITH_RDMA ?= auto
WITH_URING ?= auto
WITH_CUDA ?= auto
CUDA_HOME ?= /usr/local/cuda
CUDA_ARCHS ?= 80 90
ifneq ($(filter clang%,$(CC)),)
CXX	 := $(patsubst clang%,clang++%,$(CC))
endif

comma := ,
variant	:= $(or $(subst $(comma),-,$(SAN)),$(if $(filter clang%,$(CC)),clang,release))
B	:= build/$(variant)
# Only the plain variant lands in bin/; the others run from their own folder.
BIN	:= $(if $(filter release,$(variant)),bin,$(B)/bin)

LSC_CFLAGS := -std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Ilib -Itests/lib -Wall -Wextra -Wshadow \
	-Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla -fno-math-errno -pthread \
	-fPIC -fvisibility=hidden -DLSC_PLUGIN_DIR='"$(LIBDIR)/lsc"'
LSC_CXXFLAGS := -std=c++17 -D_GNU_SOURCE -Ilib -Wall -Wextra -Wno-unknown-pragmas -Wno-pass-failed -pthread -fPIC \
	-fvisibility=hidden -fno-strict-aliasing -ffp-contract=off
LSC_LDFLAGS := -pthread -Wl,--as-needed
LSC_LIBS := -lmsgpackc -lxxhash -ljansson -lpcre2-8 -lm
ifneq ($(DEV),)
LSC_CFLAGS += -Werror
LSC_CXXFLAGS += -Werror
endif
ifneq ($(SAN),)
LSC_CFLAGS += -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
LSC_CXXFLAGS += -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
LSC_LDFLAGS += -fsanitize=$(SAN)
endif

# Optional parts: auto takes what is there, yes insists on it, no does without.
header_is_there = $(shell printf '$(hash)include <$(1)>\n' | $(CC) $(CPPFLAGS) -E - >/dev/null 2>&1 && echo yes)
hash := \#
have_tls := $(if $(filter no,$(WITH_TLS)),,$(call header_is_there,openssl/ssl.h))
ifneq ($(have_tls),)
LSC_CFLAGS += -DLSC_HAVE_TLS
LSC_LIBS += -lssl -lcrypto
else ifeq ($(WITH_TLS),yes)
$(error WITH_TLS=yes, and openssl/ssl.h is not there (libssl-dev))
endif
have_curl := $(if $(filter no,$(WITH_CURL)),,$(call header_is_there,curl/curl.h))
ifneq ($(have_curl),)
LSC_CFLAGS += -DLSC_HAVE_CURL
else ifeq ($(WITH_CURL),yes)
$(error WITH_CURL=yes, and curl/curl.h is not there (libcurl4-openssl-dev))
endif
have_microhttpd := $(if $(filter no,$(WITH_MICROHTTPD)),,$(call header_is_there,microhttpd.h))
ifneq ($(have_microhttpd),)
LSC_CFLAGS += -DLSC_HAVE_MICROHTTPD
else ifeq ($(WITH_MICROHTTPD),yes)
$(error WITH_MICROHTTPD=yes, and microhttpd.h is not there (libmicrohttpd-dev))
endif
have_rdma := $(if $(filter no,$(WITH_RDMA)),,$(call header_is_there,rdma/rdma_cma.h))
ifneq ($(have_rdma),)
LSC_CFLAGS += -DLSC_HAVE_RDMA
LSC_LIBS += -lrdmacm -libverbs
else ifeq ($(WITH_RDMA),yes)
$(error WITH_RDMA=yes, and rdma/rdma_cma.h is not there (librdmacm-dev))
endif
have_uring := $(if $(filter no,$(WITH_URING)),,$(call header_is_there,liburing.h))
ifneq ($(have_uring),)
LSC_CFLAGS += -DLSC_HAVE_URING
LSC_LIBS += -luring
else ifeq ($(WITH_URING),yes)
$(error WITH_URING=yes, and liburing.h is not there (liburing-dev))
endif
# The plugin is built with the plain variant alone: nvcc knows no sanitizers.  It is no compiler
# without one of C++ for the host.
have_cxx := $(shell command -v $(CXX) 2>/dev/null)
NVCC := $(firstword $(wildcard $(CUDA_HOME)/bin/nvcc) $(shell command -v nvcc 2>/dev/null))
have_cuda := $(if $(filter no,$(WITH_CUDA)),,$(if $(SAN),,$(if $(have_cxx),$(NVCC))))
ifneq ($(have_cuda),)
LSC_CFLAGS += -DLSC_HAVE_CUDA
else ifeq ($(WITH_CUDA)$(SAN),yes)
$(error WITH_CUDA=yes, and there is no $(if $(NVCC),C++ compiler ($(CXX)),nvcc in $(CUDA_HOME)/bin))
endif
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2);)

cuda_src := $(sort $(wildcard lib/cuda/*.c))
cu_src	 := $(sort $(wildcard lib/cuda/*.cu))
lib_src	 := $(filter-out $(cuda_src),$(sort $(wildcard lib/*/*.c)))
tool_src := $(sort $(wildcard tools/*.c))
part_src := $(sort $(wildcard tools/*/*.c))
script_src := $(sort $(wildcard tools/*.sh))
unit_src := $(sort $(wildcard tests/unit/*.c))
fuzz_src := $(sort $(wildcard tests/fuzz/*.c))
bench_src := $(sort $(wildcard tests/bench/*.c))
lib_obj	 := $(lib_src:%.c=$(B)/%.o)
tools	 := $(tool_src:tools/%.c=$(BIN)/%) $(script_src:tools/%.sh=$(BIN)/%)
units	 := $(unit_src:tests/unit/%.c=$(B)/unit/%)
fuzzers	 := $(fuzz_src:tests/fuzz/%.c=$(B)/fuzz/%)
benches	 := $(bench_src:tests/bench/%.c=$(B)/bench/%)
plugin	 := $(if $(have_cuda),$(BIN)/lsc-cuda.so)
gpu_src	 := $(sort $(wildcard tests/gpu/*.c))
gpu_emulated := $(if $(have_cxx),$(gpu_src:tests/gpu/%.c=$(B)/gpu/%-emulated))
gpu_real := $(if $(have_cuda),$(gpu_src:tests/gpu/%.c=$(B)/gpu/%))
benches	 += $(if $(have_cuda),$(B)/bench/gpu)

## all: build every tool into bin/ (the default)
all: $(tools) $(plugin)

## test-programs: build the unit tests as well
test-programs: all $(units) $(fuzzers) $(gpu_emulated) $(gpu_real) $(B)/bad_read.so

# A tool is tools/lsc-NAME.c and what is in tools/NAME/.
parts_of = $(patsubst %.c,$(B)/%.o,$(filter tools/$(1:lsc-%=%)/%,$(part_src)))

# What one tool alone is linked with.
$(BIN)/lsc-replay: TOOL_LIBS = $(if $(have_curl),-lcurl)
$(BIN)/lsc-gate: TOOL_LIBS = $(if $(have_microhttpd),-lmicrohttpd)
$(B)/tools/gate/home.o: tools/gate/home.html

# A tool may be a script, too; what scripts have in common stands where they say so.
$(script_src:tools/%.sh=$(BIN)/%): $(BIN)/%: tools/%.sh tools/script/common.sh
	$(call say,SH,$@)mkdir -p $(@D) && sed -e '/^# @COMMON@$$/r tools/script/common.sh' \
		-e '/^# @COMMON@$$/d' $< >$@.new && chmod +x $@.new && mv $@.new $@

.SECONDEXPANSION:
$(BIN)/%: $(B)/tools/%.o $$(call parts_of,$$*) $(B)/liblsc.a
	$(call say,LINK,$@)mkdir -p $(@D) && \
		$(CC) $(LSC_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LSC_LIBS) $(TOOL_LIBS)

$(B)/unit/%: $(B)/tests/unit/%.o $(B)/liblsc.a
	$(call say,LINK,$@)mkdir -p $(@D) && $(CC) $(LSC_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LSC_LIBS)

# A fuzz target is LLVMFuzzerTestOneInput(); tests/lib/fuzz_main.c runs it over files, so that
# `make check` replays the corpus with any compiler.  tests/lib/fuzz links libFuzzer instead.
$(B)/fuzz/%: $(B)/tests/fuzz/%.o $(B)/tests/lib/fuzz_main.o $(B)/liblsc.a
	$(call say,LINK,$@)mkdir -p $(@D) && $(CC) $(LSC_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LSC_LIBS)

# For tests to LD_PRELOAD: without sanitizers, which want to come first.
$(B)/bad_read.so: tests/lib/bad_read.c
	$(call say,LINK,$@)mkdir -p $(@D) && $(CC) $(filter-out -fsanitize=%,$(LSC_CFLAGS)) $(CPPFLAGS) \
		$(CFLAGS) -shared $(LDFLAGS) -o $@ $<

$(B)/libfuzzer/%: $(B)/tests/fuzz/%.o $(B)/liblsc.a
	$(call say,LINK,$@)mkdir -p $(@D) && \
		$(CC) $(LSC_LDFLAGS) -fsanitize=fuzzer $(LDFLAGS) -o $@ $^ $(LSC_LIBS)

$(B)/bench/%: $(B)/tests/bench/%.o $(B)/liblsc.a
	$(call say,LINK,$@)mkdir -p $(@D) && $(CC) $(LSC_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LSC_LIBS)

# The plugin has its own copy of what it needs of liblsc.a, and exports one name.
cuda_flags = $(LSC_CFLAGS) -I$(CUDA_HOME)/include
cuda_obj = $(cuda_src:lib/cuda/%.c=$(B)/cuda/%.o) $(cu_src:lib/cuda/%.cu=$(B)/cuda/%.cu.o)
cuda_link = $(NVCC) -cudart static -Xcompiler=-pthread -L$(CUDA_HOME)/lib64 \
	-Xlinker=-rpath=$(CUDA_HOME)/lib64,--as-needed
cuda_code := $(foreach a,$(CUDA_ARCHS),-gencode=arch=compute_$(a)$(comma)code=sm_$(a)) \
	-gencode=arch=compute_$(lastword $(CUDA_ARCHS))$(comma)code=compute_$(lastword $(CUDA_ARCHS))

$(BIN)/lsc-cuda.so: $(cuda_obj) $(B)/liblsc.a
	$(call say,LINK,$@)mkdir -p $(@D) && $(cuda_link) -shared -Xlinker=--exclude-libs=ALL,-z,defs \
		-o $@ $^ -lcublas $(LSC_LIBS)

$(B)/cuda/%.o: lib/cuda/%.c $(B)/flags $(B)/flags-cuda
	$(call say,CC,$<)mkdir -p $(@D) && \
		$(CC) $(cuda_flags) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(B)/cuda/%.cu.o: lib/cuda/%.cu $(B)/flags $(B)/flags-cuda
	$(call say,NVCC,$<)mkdir -p $(@D) && $(NVCC) -std=c++17 -O3 -Ilib $(cuda_code) \
		-Xcompiler=-fPIC,-fvisibility=hidden,-Wall -MMD -MP -MF $(@:.o=.d) -c -o $@ $<

$(B)/gpu/%: $(B)/cuda/test-%.o $(cuda_obj) $(B)/liblsc.a
	$(call say,LINK,$@)mkdir -p $(@D) && $(cuda_link) -o $@ $^ -lcublas $(LSC_LIBS)

$(B)/bench/gpu: $(B)/cuda/bench-gpu.o $(cuda_obj) $(B)/liblsc.a
	$(call say,LINK,$@)mkdir -p $(@D) && $(cuda_link) -o $@ $^ -lcublas $(LSC_LIBS)

$(B)/cuda/bench-%.o: tests/bench/cuda/%.c $(B)/flags $(B)/flags-cuda
	$(call say,CC,$<)mkdir -p $(@D) && \
		$(CC) $(cuda_flags) -Itests/gpu $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(B)/cuda/test-%.o: tests/gpu/%.c $(B)/flags $(B)/flags-cuda
	$(call say,CC,$<)mkdir -p $(@D) && \
		$(CC) $(cuda_flags) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# The same kernels, calls and tests over a device that tests/gpu/emulated makes of the CPU.
E := $(B)/emulated
emulated_flags = -Itests/gpu/emulated -DLSC_EMULATED
emulated_obj := $(E)/emulate.o $(cuda_src:lib/cuda/%.c=$(E)/%.o) $(cu_src:lib/cuda/%.cu=$(E)/%.cu.o)

$(B)/gpu/%-emulated: $(E)/test-%.o $(emulated_obj) $(B)/liblsc.a
	$(call say,LINK,$@)mkdir -p $(@D) && $(CXX) $(LSC_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LSC_LIBS)

# The benchmark's logic; its figures mean nothing here.
$(E)/bench-gpu: $(E)/bench/gpu.o $(emulated_obj) $(B)/liblsc.a
	$(call say,LINK,$@)mkdir -p $(@D) && $(CXX) $(LSC_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LSC_LIBS)

$(E)/bench/%.o: tests/bench/cuda/%.c $(B)/flags
	$(call say,CC,$<)mkdir -p $(@D) && \
		$(CC) $(emulated_flags) -Itests/gpu $(LSC_CFLAGS) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(E)/test-%.o: tests/gpu/%.c $(B)/flags
	$(call say,CC,$<)mkdir -p $(@D) && \
		$(CC) $(emulated_flags) $(LSC_CFLAGS) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(E)/%.o: lib/cuda/%.c $(B)/flags
	$(call say,CC,$<)mkdir -p $(@D) && \
		$(CC) $(emulated_flags) $(LSC_CFLAGS) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(E)/%.cu.o: lib/cuda/%.cu $(B)/flags $(B)/flags-cuda
	$(call say,CXX,$<)mkdir -p $(@D) && $(CXX) -x c++ $(emulated_flags) $(LSC_CXXFLAGS) \
		$(CPPFLAGS) $(CFLAGS) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<

$(E)/emulate.o: tests/gpu/emulated/emulate.cpp $(B)/flags $(B)/flags-cuda
	$(call say,CXX,$<)mkdir -p $(@D) && $(CXX) $(emulated_flags) $(LSC_CXXFLAGS) \
		$(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(B)/liblsc.a: $(lib_obj)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^

$(B)/%.o: %.c $(B)/flags
	$(call say,CC,$<)mkdir -p $(@D) && \
		$(CC) $(LSC_CFLAGS) $(CPPFLAGS) $(CFLAGS) $(LSC_EXEC_CFLAGS) -MMD -MP -c -o $@ $<

# Execution fuses multiply and add where it says so and nowhere else, so that all nodes agree; its
# kernels are where the time goes and get -O3 whatever the rest has.  With sanitizers compilers take
# minutes for that, or to follow variables for the debugger, and seconds for this.
$(B)/lib/exec/%.o: LSC_EXEC_CFLAGS = -ffp-contract=off
$(B)/lib/exec/kernels_%.o: LSC_EXEC_CFLAGS = -ffp-contract=off $(if $(SAN),-O1 -fno-var-tracking,-O3)

# Change only when the flags do, and so rebuild what they touch.
$(B)/flags: flags = $(CC) $(LSC_CFLAGS) $(CPPFLAGS) $(CFLAGS) $(LSC_LDFLAGS) $(LDFLAGS)
$(B)/flags-cuda: flags = $(CXX) $(LSC_CXXFLAGS) $(NVCC) $(cuda_code) $(CUDA_HOME)
$(B)/flags $(B)/flags-cuda: FORCE
	@mkdir -p $(@D) && echo '$(flags)' >$@.new && \
	if cmp -s $@ $@.new; then rm $@.new; else mv $@.new $@; fi

## check: run the tests of every day (installs what they need from Debian if it is missing)
check: deps
	$(Q)$(MAKE) --no-print-directory check-run

check-run: test-programs check-layers check-man check-cli
	$(Q)LSC_BIN=$(BIN) LSC_BUILD=$(B) tests/run unit gpu fuzz cli net examples

## check-san: the same under ASan+UBSan, and the threaded parts under TSan
check-san: deps
	$(Q)$(MAKE) --no-print-directory SAN=address,undefined san-run
	$(Q)$(MAKE) --no-print-directory SAN=thread tsan-run

san-run: test-programs
	$(Q)LSC_BIN=$(BIN) LSC_BUILD=$(B) tests/run unit gpu fuzz cli net

tsan-run: test-programs
	$(Q)LSC_BIN=$(BIN) LSC_BUILD=$(B) LSC_TEST_ONLY=tests/lib/tsan.list tests/run unit net

## check-all: check and check-san, and what takes minutes (fuzzing, the soak test)
check-all: check check-san fuzz fuzz-http soak

## check-layers: hold includes to the table in lib/README.md
check-layers:
	$(Q)tests/lib/check-layers

## check-man: lint the man pages
check-man:
	$(Q)tests/lib/check-man

## check-cli: hold --help, man pages and completions to the same options
check-cli: all
	$(Q)PATH="$(CURDIR)/$(BIN):$$PATH" tests/lib/check-cli

## check-rdma: tests of RDMA on a device of its own, in a virtual machine, or on LSC_TEST_RDMA=ADDRESS
check-rdma: rdma-deps
	$(Q)$(MAKE) --no-print-directory rdma-run

rdma-deps:
	$(Q)tests/lib/deps rdma

rdma-run: test-programs
	$(Q)LSC_BIN=$(BIN) LSC_BUILD=$(B) tests/rdma/check

## fuzz: fuzz every reader for FUZZ_SECONDS each (clang)
FUZZ_SECONDS ?= 20
fuzz:
	$(Q)tests/lib/fuzz $(FUZZ_SECONDS)

## fuzz-http: malformed HTTP to lsc-gate for HTTP_SECONDS, 300, under ASan and UBSan
HTTP_SECONDS ?= 300
fuzz-http:
	$(Q)$(MAKE) --no-print-directory SAN=address,undefined fuzz-http-run

fuzz-http-run: all
	$(Q)LSC_BIN=$(BIN) LSC_BUILD=$(B) LSC_FUZZ_SECONDS=$(HTTP_SECONDS) tests/net/gate-fuzz.t

## soak: an hour of requests in three minutes, while nodes come, die and leave (SAN= for leaks)
soak: all
	$(Q)LSC_BIN=$(BIN) LSC_BUILD=$(B) tests/soak/soak.t

## bench: run the benchmarks; one JSON line a run
bench: all $(benches)
	$(Q)LSC_BIN=$(BIN) LSC_BUILD=$(B) tests/bench/run

## completions: generate build/completions from the tools' option tables
completions: all
	$(Q)PATH="$(CURDIR)/$(BIN):$$PATH" completions/generate.sh build/completions

## deps: install missing Debian packages (does nothing when all are there)
deps:
	$(Q)tests/lib/deps

## figures: draw the pictures in docs/ afresh
figures: all
	mkdir -p docs
	$(BIN)/lsc-plan --nodes=8 --pieces=16 --order=round-optimal,chain,tree --svg >docs/rounds.svg
	$(BIN)/lsc-plan --nodes=10 --sources=2 --pieces=16 --order=kway --svg >docs/kway.svg

## install: programs, man pages and completions under DESTDIR and PREFIX
install: all completions
	install -d $(DESTDIR)$(BINDIR) $(addprefix $(DESTDIR)$(MANDIR)/,man1 man5 man7) \
		$(addprefix $(DESTDIR),$(BASHDIR) $(ZSHDIR) $(FISHDIR))
	install -m 755 $(tools) $(DESTDIR)$(BINDIR)
	[ -z "$(plugin)" ] || install -d $(DESTDIR)$(LIBDIR)/lsc
	[ -z "$(plugin)" ] || install -m 644 $(plugin) $(DESTDIR)$(LIBDIR)/lsc
	for s in 1 5 7; do install -m 644 man/*.$$s $(DESTDIR)$(MANDIR)/man$$s || exit 1; done
	install -m 644 build/completions/bash/lsc $(DESTDIR)$(BASHDIR)
	cd $(DESTDIR)$(BASHDIR) && for t in $(filter-out lsc,$(notdir $(tools))); do \
		ln -sf lsc $$t || exit 1; done
	install -m 644 build/completions/zsh/_lsc $(DESTDIR)$(ZSHDIR)
	install -m 644 build/completions/fish/*.fish $(DESTDIR)$(FISHDIR)

## uninstall: remove what install put there
uninstall:
	rm -f $(DESTDIR)$(LIBDIR)/lsc/lsc-cuda.so
	rmdir $(DESTDIR)$(LIBDIR)/lsc 2>/dev/null || :
	rm -f $(addprefix $(DESTDIR)$(BINDIR)/,$(notdir $(tools))) \
		$(foreach s,1 5 7,$(addprefix $(DESTDIR)$(MANDIR)/man$(s)/,$(notdir $(wildcard man/*.$(s))))) \
		$(addprefix $(DESTDIR)$(BASHDIR)/,$(notdir $(tools))) $(DESTDIR)$(ZSHDIR)/_lsc \
		$(patsubst %,$(DESTDIR)$(FISHDIR)/%.fish,$(notdir $(tools)))

## format: let clang-format have its way
format:
	clang-format -i $(lib_src) $(cuda_src) $(cu_src) $(gpu_src) $(tool_src) $(part_src) $(unit_src) $(fuzz_src) $(bench_src) \
		$(wildcard lib/*/*.h lib/*/*.cuh tests/gpu/*.h tests/gpu/*/*.h tests/gpu/*/*.cpp tools/*/*.h tests/lib/*.[ch] tests/bench/*/*.c)

## clean: remove what was built
clean:
	rm -rf build bin/lsc-cuda.so $(patsubst tools/%.c,bin/%,$(tool_src)) \
		$(patsubst tools/%.sh,bin/%,$(script_src))

## help: list the targets
help:
	@sed -n 's/^## //p' Makefile

.PHONY: all test-programs check check-run check-san san-run tsan-run check-all check-layers \
	check-man check-cli check-rdma rdma-deps rdma-run fuzz fuzz-http fuzz-http-run soak bench completions figures deps install uninstall format clean help FORCE
.SECONDARY:
-include $(shell [ -d $(B) ] && find $(B) -name '*.d')
