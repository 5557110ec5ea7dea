# Builds all of tensord; `make help` says what can be typed. One build directory for each configuration, so that a
# sanitizer build and the plain one do not disturb each other. No step but the installing of missing packages
# (tests/deps.sh, skipped by DEPS=0) uses the network.
# SPDX-License-Identifier: Apache-2.0

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
SHELL := /bin/bash

# ---- what can be set on the command line ----

PREFIX ?= /usr/local
DESTDIR ?=
SAN ?=
WERROR ?= 0
DEPS ?= 1
ONLY ?=
JSON ?=
TEXT ?=
T ?= 60
N ?=
SEED ?=
PYTHON ?= /usr/bin/python3
FUZZER ?=
CFLAGS ?= $(if $(SAN),-O1,-O2) -g
ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin CXX),default)
CXX := $(if $(findstring clang,$(CC)),clang++,g++)
endif
# Where make gpu-check finds the libraries missing that the daemon is made of, it takes what make gpu-pack brought along.
PACK := build/gpu.tar.gz
CARRIED := $(if $(filter gpu-check,$(MAKECMDGOALS)),$(if $(shell pkg-config --exists libuv openblas zlib cmocka \
    2>/dev/null || echo lacking),$(wildcard $(PACK))))
# Its time counts from here.
export GPU_CHECK_STARTED := $(if $(filter gpu-check,$(MAKECMDGOALS)),$(shell date +%s))
NVCC ?= $(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard /usr/local/cuda/bin/nvcc))
# Products are cuBLAS's, which stands beside nvcc or among the system's libraries, and so do the headers of cuSOLVER, which
# the plug-in loads when it needs it.
CUDA_HEADERS = $(dir $(firstword $(wildcard $(dir $(realpath $(NVCC)))../include/cublasLt.h /usr/include/cublasLt.h)))
CUBLAS := $(if $(NVCC),$(wildcard $(CUDA_HEADERS)cusolverDn.h))
CUDA ?= $(if $(SAN),0,$(if $(CUBLAS),1,0))
# Where the toolkit has its libraries; those of a distribution's own lie where the linker looks anyway.
CUDA_LIBS = $(firstword $(realpath $(addprefix $(dir $(realpath $(NVCC)))../,lib64 lib)))
# The generations of GPU that code is made for; a later one compiles the last one's PTX for itself.
# With a carried build only the one that is here is meant, and time is short.
ARCHS ?= $(filter $(patsubst compute_%,%,$(shell $(NVCC) --list-gpu-arch)),$(or $(if $(CARRIED),$(shell \
    nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d .)),80 90 100))

empty :=
space := $(empty) $(empty)
comma := ,
CONFIG ?= $(subst $(space),-,$(strip $(if $(filter gcc cc,$(CC)),,$(notdir $(CC))) \
    $(if $(SAN),$(subst $(comma),-,$(SAN)),plain) $(if $(filter 1,$(WERROR)),werror)))
B := build/$(CONFIG)

ifeq ($(MAKELEVEL)$(filter -j% --jobserver%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif

# One word and a name for each step; V=1 shows the command.
Q := $(if $(V),,@)
say = @$(if $(V)$(findstring s,$(firstword -$(MAKEFLAGS))),:,printf '%-5s%s\n' $(1) '$(2)')

# ---- packages: their flags are kept in a file that is made after what is missing was installed; make then reads
# itself again. A warm build asks pkg-config once. ----

PACKAGES_MK := $(B)/packages.mk
ifneq ($(if $(CARRIED),,$(or $(if $(MAKECMDGOALS),,all),$(filter-out clean help help-op deps format,$(MAKECMDGOALS)))),)
# Once only: what cannot be installed is still missing when make has read itself again.
ifeq ($(MAKE_RESTARTS)$(shell pkg-config --exists libuv openblas libwebsockets zlib cmocka 2>/dev/null && \
    test -e "$$(pkg-config --variable=libdir libwebsockets)/libwebsockets-evlib_uv.so" && echo there),)
$(PACKAGES_MK): FORCE
endif
include $(PACKAGES_MK)
endif

$(PACKAGES_MK): tests/deps.sh
	@mkdir -p $(@D)
	@[ $(DEPS) = 0 ] || tests/deps.sh
	@tests/deps.sh --flags >$@.new && mv $@.new $@

# ---- flags ----

WARNINGS := -Wall -Wextra $(if $(filter 1,$(WERROR)),-Werror)
# Rows of a table overwrite the table's default on purpose.
WARNINGS += $(if $(findstring clang,$(CC)),-Wno-initializer-overrides,-Wno-override-init)
SANITIZE := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
# A request finds the caches full of the kernel's code: a call by way of the PLT waits for one more line.
BASE := -std=gnu11 $(CFLAGS) $(WARNINGS) $(SANITIZE) -pthread -fno-plt -D_GNU_SOURCE -I.
# What goes into the client library exports nothing but what is marked.
LIBRARY := -fPIC -fvisibility=hidden
# Bits must not depend on whether a compiler contracts a*b+c.
KERNEL := -ffp-contract=off
FLOOR := $(KERNEL) $(if $(SAN),-O1,-O3) -fno-math-errno -fno-trapping-math
# What we are compared with shall be as good as the compiler makes it; it runs where it was built.
BARE := $(if $(SAN),,-O3 -march=native -fno-math-errno -fno-trapping-math)
ISA_sse2 :=
ISA_avx2 := -mavx2 -mfma
ISA_avx512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mprefer-vector-width=512
ISA_generic :=
ISAS := $(if $(filter x86_64,$(shell uname -m)),sse2 avx2 avx512,generic)

DAEMON_LIBS := $(UV_LIBS) $(MSGPACK_LIBS) $(BLAS_LIBS) -lm -pthread -ldl
CLIENT_LIBS := $(Z_LIBS) -lm -pthread
TEST_LIBS = $(CMOCKA_LIBS) $(DAEMON_LIBS) $(Z_LIBS)
# The path of one request crosses a dozen files: products are optimised as a whole, which takes 2 % off a round trip. What
# only has to be right is linked without, from the same objects.
WHOLE := $(if $(SAN)$(findstring clang,$(CC)),,-flto=auto -ffat-lto-objects)
LINK_QUICK = $(CC) $(CFLAGS) $(SANITIZE) $(LDFLAGS) $(if $(WHOLE),-fno-lto) -Wl,--as-needed
LINK = $(CC) $(CFLAGS) $(WHOLE) -fno-plt $(SANITIZE) $(LDFLAGS) -Wl,--as-needed

# ---- sources ----

PROTOCOL := $(filter-out protocol/gen.c,$(wildcard protocol/*.c))
CLIENT := $(wildcard client/*.c)
CLI := $(wildcard client/cli/*.c)
EXAMPLES := $(wildcard client/examples/*.c)
SERVER := $(filter-out server/main.c,$(wildcard server/*.c server/*/*.c))
# Those of kernels/cpu that are compiled once, not for each instruction set.
ONCE := kernels/cpu/cpu.c kernels/cpu/blas.c kernels/cpu/lapack.c kernels/cpu/parallel.c
KERNELS := $(wildcard kernels/*.c) $(ONCE)
FLOORS := $(filter-out $(ONCE),$(wildcard kernels/cpu/*.c))
CUS := $(wildcard kernels/cuda/*.cu)
TESTS := $(wildcard tests/test_*.c)
SUPPORT := $(filter-out $(TESTS),$(wildcard tests/*.c))
UNRECORDED := tests/bench/unrecorded.c
BENCHES := $(filter-out $(UNRECORDED),$(wildcard tests/bench/*.c))
FUZZERS := $(wildcard tests/fuzz/fuzz_*.c)
PAGE := $(sort $(shell find web/dist -type f 2>/dev/null))
SOURCES := $(PROTOCOL) $(wildcard protocol/gen.c) $(CLIENT) $(CLI) $(EXAMPLES) $(SERVER) $(wildcard server/main.c) \
    $(KERNELS) $(TESTS) $(SUPPORT) $(BENCHES) $(UNRECORDED) $(FUZZERS) tests/fuzz/replay.c web/test/session.c \
    tests/cuda/emulator.c

objects = $(patsubst %.c,$(B)/%.o,$(1))
FLOOR_OBJECTS := $(foreach isa,$(ISAS),$(patsubst %.c,$(B)/%.$(isa).o,$(FLOORS)))
OBJECTS := $(call objects,$(SOURCES)) $(FLOOR_OBJECTS)

# ---- products ----

SOVERSION := 0
LIBDAEMON := $(B)/libdaemon.a
LIBSUPPORT := $(B)/libsupport.a
LIBCLIENT := $(B)/libtensord.a
# tensorctl without its main, for the test that looks into it.
LIBCTL := $(B)/libctl.a
PLUGIN := $(if $(filter 1,$(CUDA)),$(B)/tensord-cuda.so)
# The same, but that it breaks: tests/cuda/faulty.cu.
FAULTY := $(if $(PLUGIN),$(B)/tensord-cuda-faulty.so)
# The same kernels on the CPU, behind a device that is as late as a real one may be: tests/cuda.
EMULATED := $(B)/tensord-cuda-emulated.so $(B)/emulated/libnvidia-ml.so.1
# A program for the dashboard's tests to watch.
WATCHED := $(B)/web-session
TEST_PROGRAMS := $(patsubst tests/%.c,$(B)/tests/%,$(TESTS))
EXAMPLE_PROGRAMS := $(patsubst client/examples/%.c,$(B)/examples/%,$(EXAMPLES))
BENCH := $(B)/tests/bench/bench
FUZZ_PROGRAMS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(FUZZERS))
GPU_PROGRAMS := $(B)/tensord $(B)/tensorctl $(EXAMPLE_PROGRAMS) $(BENCH) $(addprefix $(B)/tests/test_,kernels autograd \
    products indexing programs checkpoints functions optimizers streams gradcheck gradients device)
PRODUCTS := $(B)/tensord $(B)/tensorctl $(LIBCLIENT) $(B)/libtensord.so $(PLUGIN) $(EXAMPLE_PROGRAMS)

.PHONY: all lib programs plugin plugin-check cuda-compiler test fuzz fuzz-ops fuzz-programs oracle demo bench gpu-check gpu-pack install gen format deps clean help help-op FORCE
all: $(PRODUCTS) compile_commands.json
lib: $(LIBCLIENT) $(B)/libtensord.so
# Everything that is compiled and linked, tests and benchmarks too; nothing of it runs.
programs: $(PRODUCTS) $(TEST_PROGRAMS) $(EMULATED) $(WATCHED) $(BENCH) $(FUZZ_PROGRAMS) $(if $(wildcard protocol/gen.c),$(B)/gen)
plugin: $(PLUGIN)
cuda-compiler:
	@[ -n '$(CUBLAS)' ] && echo '$(NVCC)'

$(B)/tensord: $(B)/server/main.o $(LIBDAEMON)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^ $(DAEMON_LIBS)
$(B)/tensorctl: $(B)/client/cli/tensorctl.o $(B)/server/blackbox.o $(LIBCTL) $(LIBCLIENT)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^ $(CLIENT_LIBS)
$(EXAMPLE_PROGRAMS): $(B)/examples/%: $(B)/client/examples/%.o $(LIBCLIENT)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^ $(CLIENT_LIBS)
$(B)/libtensord.so.$(SOVERSION): $(call objects,$(CLIENT) $(PROTOCOL)) $(B)/sources
	$(call say,LINK,$@)
	$(Q)$(LINK) -shared -Wl,-soname,$(@F) $(if $(SAN),,-Wl,-z,defs) -o $@ $(filter %.o,$^) $(CLIENT_LIBS)
$(B)/libtensord.so: $(B)/libtensord.so.$(SOVERSION)
	@ln -sf $(<F) $@

# Archives, since a test may stand in for what it does not want to link (a worker, for one).
$(LIBCLIENT): $(call objects,$(CLIENT) $(PROTOCOL))
$(LIBDAEMON): $(call objects,$(SERVER) $(KERNELS) $(PROTOCOL)) $(FLOOR_OBJECTS) $(B)/server/web/assets.o
$(LIBSUPPORT): $(call objects,$(SUPPORT))
$(LIBCTL): $(call objects,$(filter-out client/cli/tensorctl.c,$(CLI)))
$(LIBCLIENT) $(LIBDAEMON) $(LIBSUPPORT) $(LIBCTL): $(B)/sources
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcs $@ $(filter %.o,$^)

# Work is cut finer than it pays, so that small tensors are cut at all; and a thread is not to be had.
WRAP_test_kernels := -Wl,--wrap=td_parallel
WRAP_test_parallel := -Wl,--wrap=pthread_create
WRAP_test_life := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
# The daemon's objects get their memory through the test.
WRAP_test_faults := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free,--wrap=pool_take
$(WATCHED): $(B)/web/test/session.o $(LIBCLIENT)
	$(call say,LINK,$@)
	$(Q)$(LINK_QUICK) -o $@ $^ $(CLIENT_LIBS)
$(TEST_PROGRAMS): $(B)/tests/%: $(B)/tests/%.o $(LIBSUPPORT) $(LIBCTL) $(LIBDAEMON) $(LIBCLIENT)
	$(call say,LINK,$@)
	$(Q)$(LINK_QUICK) $(WRAP_$(@F)) -o $@ $^ $(TEST_LIBS)
$(BENCH): $(call objects,$(BENCHES)) $(B)/server/worker/recorder.o $(LIBSUPPORT) $(LIBDAEMON) $(LIBCLIENT) \
    | $(B)/tests/bench/tensord-unrecorded
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^ $(TEST_LIBS)
# The daemon with a recorder that records nothing, for the price of the real one.
$(B)/tests/bench/tensord-unrecorded: $(B)/server/main.o $(call objects,$(UNRECORDED)) $(LIBDAEMON)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^ $(DAEMON_LIBS)
# With libFuzzer where `make fuzz` builds them, elsewhere with a driver that replays the corpus.
$(FUZZ_PROGRAMS): $(B)/fuzz/%: $(B)/tests/fuzz/%.o $(if $(FUZZER),,$(B)/tests/fuzz/replay.o) $(LIBSUPPORT) \
    $(LIBDAEMON) $(LIBCLIENT)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK_QUICK) $(if $(FUZZER),-fsanitize=fuzzer) -o $@ $^ $(TEST_LIBS)
$(B)/gen: $(B)/protocol/gen.o $(call objects,$(PROTOCOL))
	$(call say,LINK,$@)
	$(Q)$(LINK_QUICK) -o $@ $^ -lm

$(B)/tensord-cuda.so: $(patsubst %.cu,$(B)/%.cu.o,$(CUS)) $(call objects,$(PROTOCOL))
	$(call say,LINK,$@)
	$(Q)$(NVCC) -shared -Xlinker --exclude-libs,ALL -o $@ $^ -lcublasLt -Xlinker -rpath=$(CUDA_LIBS)
$(B)/tensord-cuda-faulty.so: tests/cuda/faulty.cu $(B)/protocol/error.o
	$(call say,NVCC,$<)
	$(Q)$(NVCC) $(NVCC_FLAGS) -shared -Xlinker --exclude-libs,ALL -o $@ $^
$(B)/tensord-cuda-emulated.so: $(patsubst %.cu,$(B)/%.emulated.o,$(CUS)) $(B)/tests/cuda/emulator.o $(call objects,$(PROTOCOL))
	$(call say,LINK,$@)
	$(Q)$(CXX) $(CFLAGS) $(SANITIZE) $(LDFLAGS) -shared -o $@ $^ $(BLAS_LIBS) -lm -pthread
# Where a test looks for the driver's library of instruments.
$(B)/emulated/libnvidia-ml.so.1: $(B)/tests/cuda/nvml.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) $(LDFLAGS) -shared -o $@ $^

# ---- compiling ----

flags = $(BASE) $(if $(filter protocol/% client/% server/%,$(1)),$(WHOLE)) $(if $(filter protocol/% client/%,$(1)),$(LIBRARY)) $(if $(filter kernels/%,$(1)),$(KERNEL)) \
    $(if $(filter tests/cuda/%,$(1)),-fPIC) $(if $(filter client/examples/% tests/%,$(1)),-Iclient) $(if $(filter server/% tests/%,$(1)),$(UV_CFLAGS)) \
    $(if $(filter server/web/%,$(1)),$(LWS_CFLAGS) -DTD_LWS_SONAME=$(LWS_SONAME)) \
    $(if $(filter kernels/cpu/% tests/%,$(1)),$(BLAS_CFLAGS)) $(if $(filter tests/%,$(1)),$(CMOCKA_CFLAGS)) $(Z_CFLAGS) \
    $(if $(filter tests/bench/%,$(1)),$(BARE)) $(MSGPACK_CFLAGS)
NVCC_FLAGS = -std=c++17 -O3 $(foreach a,$(ARCHS),-gencode arch=compute_$(a),code=sm_$(a)) \
    -gencode arch=compute_$(lastword $(ARCHS)),code=compute_$(lastword $(ARCHS)) \
    -I. -Xcompiler -fPIC,-Wall,-fvisibility=hidden --fmad=false
floor_flags = $(call flags,$(1)) $(FLOOR) -DTD_ISA=$(2) $(ISA_$(2))

$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(call flags,$<) -MMD -MP -c -o $@ $<
define floor_rule
$(B)/kernels/cpu/%.$(1).o: kernels/cpu/%.c $(B)/flags
	@mkdir -p $$(@D)
	$$(call say,CC,$$< ($(1)))
	$$(Q)$$(CC) $$(call floor_flags,$$<,$(1)) -MMD -MP -c -o $$@ $$<
endef
$(foreach isa,$(ISAS),$(eval $(call floor_rule,$(isa))))
# What ptxas tells of registers stays beside the object, for tests/plugin.sh.
$(B)/%.cu.o: %.cu
	@mkdir -p $(@D)
	$(call say,NVCC,$<)
	$(Q)$(NVCC) $(NVCC_FLAGS) -Xptxas -v \
	    $(if $(filter 1,$(WERROR)),-Werror all-warnings) -MMD -MP -c -o $@ $< 2>$(@:.o=.ptxas) || \
	    { cat $(@:.o=.ptxas) >&2; exit 1; }
	@grep -A 3 warning $(@:.o=.ptxas) >&2 || true
$(B)/%.emulated.o: %.cu $(B)/flags
	@mkdir -p $(@D)
	$(call say,CXX,$<)
	$(Q)$(CXX) -x c++ -std=c++17 $(CFLAGS) -Wall -Wextra $(if $(findstring clang,$(CXX)),-Wno-extern-c-compat) \
	    $(if $(filter 1,$(WERROR)),-Werror) $(SANITIZE) -pthread -fPIC -fvisibility=hidden \
	    -ffp-contract=off -I. -Itests/cuda -MMD -MP -c -o $@ $<

# The dashboard's files, each compressed and as it is served: struct asset of server/web/internal.h.
$(B)/server/web/assets.c: $(PAGE) $(B)/sources
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	@{ echo '#include "server/web/internal.h"'; n=0; table=; for file in $(PAGE); do n=$$((n + 1)); \
	    echo "static const unsigned char data_$$n[] = {"; gzip -9nc $$file | od -An -v -tu1 | sed 's/[0-9][0-9]*/&,/g'; \
	    echo '};'; table="$$table{\"$${file#web/dist}\", data_$$n, sizeof data_$$n}, "; done; \
	    echo "const struct asset web_assets[] = {$$table{0}};"; } >$@
$(B)/server/web/assets.o: $(B)/server/web/assets.c $(B)/flags
	$(call say,CC,$@)
	$(Q)$(CC) $(call flags,server/web/assets.c) -c -o $@ $<

# Written only when what they hold changes: another compiler line rebuilds, and so does a file that has gone.
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@text='$(CC) $(CXX) $(call flags,server/ tests/ client/ kernels/cpu/) $(FLOOR) $(WHOLE) $(LDFLAGS)'; \
	    [ -f $@ ] && [ "$$text" = "$$(<$@)" ] || echo "$$text" >$@
$(B)/sources: FORCE
	@mkdir -p $(@D)
	@text='$(sort $(SOURCES) $(FLOORS) $(PAGE))'; [ -f $@ ] && [ "$$text" = "$$(<$@)" ] || echo "$$text" >$@

-include $(patsubst %.o,%.d,$(OBJECTS)) $(patsubst %.cu,$(B)/%.cu.d,$(CUS)) \
    $(patsubst %.cu,$(B)/%.emulated.d,$(CUS))

# For editors and clangd; the kernels stand in it as their widest floor. Of the plain build only.
command_entry = {"directory": "$(CURDIR)", "file": "$(1)", "command": "$(CC) $(strip $(2)) -c $(1)"}
COMMANDS = $(foreach f,$(SOURCES),$(call command_entry,$(f),$(call flags,$(f))),) \
    $(foreach f,$(FLOORS),$(call command_entry,$(f),$(call floor_flags,$(f),$(lastword $(ISAS)))),)
compile_commands.json: FORCE
	$(if $(filter build/plain,$(B)),$(file >$(B)/commands,[$(COMMANDS){}]))
	@if [ $(B) = build/plain ]; then sed 's/}, */},\n/g; s/{}]/]/' $(B)/commands | sed 'N; s/,\n]/\n]/; P; D' \
	    >$(B)/$@; cmp -s $(B)/$@ $@ || cp $(B)/$@ $@; fi

# ---- the printed files: committed, so that a reader finds them; a test prints them again and compares ----

GENERATED := client/tensord_ops.h client/tensord_ops.c protocol/OPS.md
gen: $(B)/gen
	@for file in $(GENERATED); do \
	    name=$${file##*/}; $(B)/gen $${name#tensord_} >$(B)/printed || exit 1; \
	    cmp -s $(B)/printed $$file || { cp $(B)/printed $$file; echo "wrote $$file"; }; done

# ---- testing ----

# Both libraries keep what they allocate once until the process ends; the rest of a leak report is ours.
export ASAN_OPTIONS ?= detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1
export LSAN_OPTIONS ?= suppressions=$(CURDIR)/tests/lsan.supp:print_suppressions=0
export UBSAN_OPTIONS ?= print_stacktrace=1
# What a sanitizer looks at takes several times as long.
TEST_ENV = $(if $(SAN),TEST_TIMEOUT=$${TEST_TIMEOUT:-900}) TENSORD_ROOT=$(CURDIR) TENSORD_BUILD=$(CURDIR)/$(B) TENSORD_BIN=$(CURDIR)/$(B)/tensord \
    TENSORCTL_BIN=$(CURDIR)/$(B)/tensorctl CC='$(CC)'

SELECTED := $(if $(ONLY),$(patsubst %,$(B)/tests/test_%,$(subst $(comma),$(space),$(ONLY))),$(TEST_PROGRAMS) \
    $(FUZZ_PROGRAMS))
CHECKS := $(if $(ONLY),,tests/layers.sh tests/headers.sh tests/generated.sh tests/examples.sh tests/wrong.sh tests/cuda.sh tests/dashboard.sh)
test: $(SELECTED) $(WATCHED) $(EMULATED) $(if $(ONLY),$(B)/tensord $(B)/tensorctl,$(filter-out $(PLUGIN),$(PRODUCTS)) compile_commands.json $(if $(wildcard protocol/gen.c),$(B)/gen))
	@[ '$(DEPS)' = 0 ] || [ -n '$(ONLY)' ] || tests/dashboard.sh --prepare
	@$(TEST_ENV) tests/run.sh $(SELECTED) $(CHECKS)

# Where there is nvcc and no GPU: the plug-in compiles, and a daemon with it says why it does not serve a GPU.
plugin-check: $(PLUGIN) $(FAULTY) $(B)/tensord
	@[ -n '$(PLUGIN)' ] || { echo 'There is no nvcc here: the CUDA device cannot be built.'; exit 1; }
	@$(TEST_ENV) tests/run.sh tests/plugin.sh

# On a machine with a GPU: the walk over all ops on the real device, programs end to end, faults, and the benchmarks.
gpu-check: $(PLUGIN) $(FAULTY) $(if $(CARRIED),,$(GPU_PROGRAMS))
	@[ -n '$(PLUGIN)' ] || { echo 'There is no nvcc here: the CUDA device cannot be built.'; exit 1; }
ifneq ($(CARRIED),)
	@tar -xzf $(CARRIED) -C build && ln -sf $(CURDIR)/$(PLUGIN) $(CURDIR)/$(FAULTY) build/carried/
	@TENSORD_ROOT=$(CURDIR) TENSORD_BUILD=$(CURDIR)/build/carried tests/gpu.sh
else
	@$(TEST_ENV) tests/gpu.sh
endif
gpu-pack: $(GPU_PROGRAMS)
	@TENSORD_BUILD=$(B) tests/gpu.sh --pack $(PACK) $(patsubst $(B)/%,%,$(GPU_PROGRAMS)) && ls -sh $(PACK)

# Comparisons are not traced: the targets build what is well formed themselves, and run half as fast again without.
# Each target for T seconds from the corpus; what it finds new stays in the build folder. A finding stops it, with the
# input's file named: add that to tests/fuzz/corpus, where `make test` replays it.
FUZZ_DIR := build/fuzz
fuzz:
	@if ! echo 'int LLVMFuzzerTestOneInput(void){return 0;}' | \
	    clang -x c - -fsanitize=fuzzer,address,undefined -o /dev/null 2>/dev/null; then \
	    echo 'skipped: there is no clang with libFuzzer here (Debian: clang libclang-rt-dev)'; exit 0; fi; \
	$(MAKE) --no-print-directory CC=clang SAN=address,undefined CONFIG=fuzz FUZZER=1 \
	    CFLAGS='-O2 -g -Wno-pass-failed -fsanitize-coverage=inline-8bit-counters,pc-table' $(patsubst tests/%.c,$(FUZZ_DIR)/%,$(FUZZERS)) && \
	for target in $(patsubst tests/fuzz/fuzz_%.c,%,$(FUZZERS)); do \
	    mkdir -p $(FUZZ_DIR)/corpus/$$target && \
	    $(FUZZ_DIR)/fuzz/fuzz_$$target -max_total_time=$(T) -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
	        -artifact_prefix=$(FUZZ_DIR)/ $(FUZZ_DIR)/corpus/$$target tests/fuzz/corpus/$$target || exit 1; done

# PyTorch beside us. The committed cases need none of this; making them, and comparing random calls and programs, does.
ORACLE = $(B)/gen $(B)/tensord $(B)/tests/test_oracle
TORCH = @if ! $(PYTHON) -c 'import torch' 2>/dev/null; then \
    echo 'skipped: $(PYTHON) has no torch (Debian: python3-torch)'; exit 0; fi; TENSORD_BUILD=$(CURDIR)/$(B) $(PYTHON)
oracle: $(ORACLE)
	$(TORCH) tests/oracle/generate.py '$(ONLY)'
fuzz-ops fuzz-programs: $(ORACLE)
	$(TORCH) tests/oracle/fuzz.py $(@:fuzz-%=%) $(or $(N),20000) $(or $(SEED),1) '$(ONLY)'

bench: all $(BENCH)
	@$(TEST_ENV) ONLY='$(ONLY)' JSON='$(JSON)' $(BENCH)

demo: $(B)/tensord $(B)/tensorctl $(EXAMPLE_PROGRAMS)
	@$(TEST_ENV) client/examples/demo.sh $(TEXT)

# ---- the rest ----

BINDIR := $(PREFIX)/bin
LIBDIR := $(PREFIX)/lib
MANDIR := $(PREFIX)/share/man/man1
install: all
	install -d $(addprefix $(DESTDIR),$(BINDIR) $(LIBDIR)/pkgconfig $(LIBDIR)/systemd/system $(PREFIX)/include $(MANDIR))
	install -m 755 $(B)/tensord $(B)/tensorctl $(DESTDIR)$(BINDIR)
	install -m 755 $(B)/libtensord.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)
	ln -sf libtensord.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libtensord.so
	install -m 644 $(LIBCLIENT) $(DESTDIR)$(LIBDIR)
	$(if $(PLUGIN),install -d $(DESTDIR)$(LIBDIR)/tensord && install -m 755 $(PLUGIN) $(DESTDIR)$(LIBDIR)/tensord)
	install -m 644 client/tensord.h client/tensord_ops.h client/tensord_made.h client/tensord_nn.h \
	    client/tensord_autograd.h client/tensord_function.h client/tensord_schedule.h client/tensord_device.h client/tensord_names.h \
	    $(DESTDIR)$(PREFIX)/include
	install -m 644 server/tensord.1 client/cli/tensorctl.1 $(DESTDIR)$(MANDIR)
	sed 's|@BINDIR@|$(BINDIR)|' server/tensord.service >$(DESTDIR)$(LIBDIR)/systemd/system/tensord.service
	printf '%s\n' 'prefix=$${pcfiledir}/../..' 'libdir=$${prefix}/lib' 'includedir=$${prefix}/include' '' \
	    'Name: tensord' 'Description: tensors and autograd on a device that a daemon owns' \
	    "Version: $$(sed -n 's/.*TD_VERSION "\(.*\)"/\1/p' server/config.h)" \
	    'Libs: -L$${libdir} -ltensord' 'Libs.private: $(CLIENT_LIBS)' 'Cflags: -I$${includedir}' \
	    >$(DESTDIR)$(LIBDIR)/pkgconfig/tensord.pc

# Rows of tables are aligned by hand, and what gen prints is nobody's to format.
format:
	clang-format -i $(filter-out client/tensord_ops.%,$(shell find protocol kernels server client tests -name '*.[ch]' -o -name '*.cu'))

deps:
	@tests/deps.sh

# Told once, in README.md: the list under "Adding an op", without its markup.
help-op:
	@awk '/^## /{ told = /^## Adding an op/; next } told' README.md | tr -d '`' | sed '1{/^$$/d}; $${/^$$/d}'

clean:
	rm -rf build compile_commands.json

help:
	@printf '%s\n' \
	    'make                      builds everything into build/plain' \
	    'make test                 builds and runs all tests; ONLY=wire,infer picks test programs' \
	    'make demo                 starts a daemon and trains a small model on it; TEXT=FILE gives it text' \
	    'make bench                builds and runs the benchmarks; JSON=1 prints one object a line' \
	    'make plugin-check         where there is nvcc: the CUDA plug-in, and how a daemon starts with it without a GPU' \
	    'make gpu-check            where there is a GPU: all ops and some programs on it, and benchmarks' \
	    'make gpu-pack             programs for gpu-check on a machine that lacks their libraries' \
	    'make fuzz T=60            each fuzz target for T seconds, with clang and libFuzzer' \
	    'make oracle               the cases in tests/oracle/golden again, from PyTorch; ONLY=add,mul picks' \
    'make fuzz-ops N= SEED=    random calls against PyTorch; ONLY=add,mul picks' \
    'make fuzz-programs N=     random programs of views and writes against PyTorch' \
    'make install              PREFIX=/usr/local DESTDIR=' \
	    'make gen                  prints the generated files again from protocol/ops.def' \
	    'make help-op              which places adding an op touches' \
	    'make format               clang-format over all C files' \
	    'make lib                  the client library only' \
	    'make deps                 installs the packages that are missing; DEPS=0 never does' \
	    'make clean' '' \
	    'SAN=address,undefined     sanitizers        CC=clang   compiler       WERROR=1  warnings are errors' \
	    'CUDA=0|1                  the CUDA plug-in  CONFIG=x   build into build/x' \
	    'V=1                      shows the commands'
