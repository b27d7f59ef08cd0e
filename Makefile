# The one door to building, testing and measuring ipc-rings. `make` lists the verbs.
#
#   make test ARGS="-k wrap -x"      more arguments for pytest (and for bench)
#   make test PYTHON=python3.12      another interpreter, in a .venv of its own
#   make test TESTERS=0              one test after the other (3 at a time: most of them wait)
#
# Paths are relative throughout, so that the checkout may lie anywhere, also under a name with spaces.

PYTHON  ?= python3
MINUTES ?= 30
ARGS    ?=
TESTERS ?= 3
ifeq ($(origin CC),default)
CC := gcc
endif

VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
PY   := $(VENV)/bin/python
PYTEST := $(PY) -m pytest --numprocesses=$(TESTERS) --dist=worksteal
PIP  := $(PY) -m pip install --quiet --disable-pip-version-check

export PIP_CACHE_DIR := $(CURDIR)/build/cache/pip
export HYPOTHESIS_STORAGE_DIRECTORY := $(CURDIR)/build/cache/hypothesis

MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := help
.PHONY: help preflight demo build test check prove lint format types native asan tsan asan-python stress bench wheel \
        clean model model-long mutants crash crash-long wakes spin hostile hostile-queues hostile-multicasts hostile-stress \
        hostile-planted closes coverage faults planted check-core check-tools check-python stress-core stress-python flakes

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

preflight:
	@sh tools/preflight.sh

# --- set-up: one .venv, one stamp per thing in it ----------------------------

NATIVE := $(wildcard native/*.[ch] native/fast/*.[ch]) native/build_ffi.py

$(VENV)/pyvenv.cfg: | preflight
	@echo "==> $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/have-%: pyproject.toml setup.py | $(VENV)/pyvenv.cfg
	@echo "==> $(VENV): packages for '$*'"
	@$(PIP) 'setuptools>=77' 'cffi>=2'
	@IPC_METADATA_ONLY=1 $(PIP) --no-build-isolation -e '.[$*]'
	@touch $@

$(VENV)/have-native: $(NATIVE) setup.py | $(VENV)/have-cli
	@echo "==> ipc._core._native"
	@$(PY) setup.py --quiet build_ext --inplace
	@touch $@

# --- Python ------------------------------------------------------------------

demo: $(VENV)/have-native ## build, then show the toolkit at work
	@$(PY) -m ipc demo

build: $(VENV)/have-native ## compile the extension in place

test: $(VENV)/have-native $(VENV)/have-test ## build, then the fast tests (IPC_PURE_CFFI=1: without the accelerator)
	@$(PYTEST) -m "not slow and not stress" $(ARGS)

# What is the same with and without the accelerator need not be tested twice in `check` (`make test IPC_PURE_CFFI=1` does).
BOTH_PATHS := tests/unit tests/properties \
              $(patsubst %,tests/process/test_%.py,blocked_calls timeouts_and_signals kills_while_lent multicast_signals queue_signals idle)
ONE_PATH   := $(patsubst %,tests/unit/test_%.py,benchmark* cgroup structure room) tests/properties/test_hostile_messages.py

check: lint types $(VENV)/have-native $(VENV)/have-test ## everything that must hold before a commit, on two cores
	@$(MAKE) --no-print-directory --jobs=3 check-core check-tools check-python

# Three columns beside each other, each one after the other: much of what Python does is waiting.
check-core:
	@$(MAKE) --no-print-directory native
	@$(MAKE) --no-print-directory asan
	@$(MAKE) --no-print-directory tsan

check-tools:
	@$(MAKE) --no-print-directory model JOBS=1 SCHEDULES=1000
	@$(MAKE) --no-print-directory hostile RUNS=340000
	@$(MAKE) --no-print-directory wakes SECONDS=30

check-python:
	@$(MAKE) --no-print-directory test
	@IPC_PURE_CFFI=1 $(PYTEST) -q -m "not slow and not stress" $(BOTH_PATHS) $(addprefix --ignore-glob=,$(ONE_PATH))
	@$(PYTEST) --numprocesses=5 -m "slow and not stress and not packaging" # many of them wait for half a minute

prove: $(VENV)/have-native $(VENV)/have-test $(VENV)/have-dev ## all mutants, all Spin models, coverage, a soak of 10 minutes
	@$(MAKE) --no-print-directory mutants
	@$(MAKE) --no-print-directory spin
	@$(MAKE) --no-print-directory coverage
	@IPC_SOAK_MINUTES=10 $(PY) -m pytest -rP tests/storm -m stress -k soak --timeout=0 -o faulthandler_timeout=0

asan-python: $(VENV)/have-native $(VENV)/have-test ## the Python tests over a core and accelerator with sanitizers
	@sh tools/asan-python.sh $(PY) $(ARGS)

# Each part has its share of the minutes: exploring, hostile memory, and what runs in Python.
stress: $(VENV)/have-native $(VENV)/have-test ## the longer tools, for MINUTES=30 and what has no measure in minutes
	@$(MAKE) --no-print-directory --jobs=2 stress-core stress-python

stress-core:
	@$(MAKE) --no-print-directory hostile-stress MINUTES=$$(( ($(MINUTES) + 2) / 3 ))
	@$(MAKE) --no-print-directory model-long JOBS=1 MINUTES=$$(( ($(MINUTES) + 2) / 3 ))
	@$(MAKE) --no-print-directory wakes SECONDS=$$(( $(MINUTES) * 20 ))
	@$(MAKE) --no-print-directory closes

stress-python:
	@IPC_STRESS_MINUTES=$$(( ($(MINUTES) + 2) / 3 )) $(PY) -m pytest -rP -m stress -k "not planted" \
	    --ignore=tests/spin --timeout=0 -o faulthandler_timeout=0 $(ARGS) # `make planted` and `make prove` have these
	@$(MAKE) --no-print-directory flakes TIMES=$$(( ($(MINUTES) + 29) / 30 ))

TIMES ?= 20
flakes: $(VENV)/have-native $(VENV)/have-test ## the fast tests TIMES=20 in a row: none may fail once
	@for n in $$(seq $(TIMES)); do echo "==> $$n of $(TIMES)"; $(PYTEST) -q -m "not slow and not stress" || exit 1; done

lint: $(VENV)/have-dev ## ruff: rules and format
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

format: $(VENV)/have-dev ## let ruff fix what it can
	@$(PY) -m ruff check --fix-only .
	@$(PY) -m ruff format .

types: $(VENV)/have-dev ## mypy
	@$(PY) -m mypy

bench: $(VENV)/have-native $(VENV)/have-bench ## run the benchmarks
	@$(PY) -m benchmarks $(ARGS)

wheel: $(VENV)/have-test ## sdist, and the wheel built from it, in dist/
	@$(PY) -m build --outdir dist

# --- C: each tests/native/test_*.c is a program, linked with the core ---------

STRICT  := -std=c11 -D_GNU_SOURCE -g -Wall -Wextra -Wshadow -Wconversion -Werror -Inative
HEADERS := $(wildcard native/*.h tests/native/*.h)
CORE    := $(sort $(wildcard native/*.c))
CTESTS  := $(sort $(wildcard tests/native/test_*.c))

native: ## C tests, every warning an error
asan:   ## C tests under AddressSanitizer and UBSan
tsan:   ## C tests under ThreadSanitizer

native_flags := -O3
asan_flags   := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all
tsan_flags   := -O1 -fsanitize=thread -Wno-tsan # it does not understand the two named fences of atomics.h

# ThreadSanitizer fails at random where the kernel spreads addresses widely: switch that off if we may.
runner = $(shell setarch -R true 2>/dev/null && echo setarch -R) timeout 1500

define flavour
build/$(1)/%.o: native/%.c $(HEADERS) | preflight
	@mkdir -p $$(@D)
	@$$(CC) $$(STRICT) $$($(1)_flags) -c $$< -o $$@

build/$(1)/test_%: tests/native/test_%.c $(CORE:native/%.c=build/$(1)/%.o) $(HEADERS)
	@$$(CC) $$(STRICT) $$($(1)_flags) $$(filter %.c %.o,$$^) -lpthread -o $$@

$(1): $(CTESTS:tests/native/%.c=build/$(1)/%)
	@for test in $$^; do echo "==> $$$$test"; $$(runner) $$$$test || exit 1; done
endef
$(foreach verb,native asan tsan,$(eval $(call flavour,$(verb))))

# --- the explorer: the core's own sources over a model of memory and kernel (tests/model) ---------------------------

SCHEDULES ?= 100000
JOBS      ?= $(shell nproc)
MODELLED  := $(filter-out native/os.c native/fast_%.c,$(sort $(wildcard native/*.c))) tests/model/core/ring_calls.c
MODEL     := $(STRICT) -U_FORTIFY_SOURCE -DIPCR_MOST_SUBSCRIBERS=4u -Itests/model -include tests/model/atomics.h
# each plain access calls the explorer, instead of libtsan, which is not linked
CALLBACKS := -O1 -fPIC -fsanitize=thread --param tsan-instrument-func-entry-exit=0

build/model/core/%.o: %.c $(wildcard native/*.h) tests/model/atomics.h | preflight
	@mkdir -p $(@D)
	@$(CC) $(MODEL) $(CALLBACKS) -c $< -o $@

build/model/core.so: $(MODELLED:%.c=build/model/core/%.o)
	@$(CC) -shared -Wl,-z,now,-z,norelro $^ -o $@

build/model/explorer: $(wildcard tests/model/*.[ch] native/*.h) | preflight
	@mkdir -p $(@D)
	@$(CC) $(MODEL) -O3 -DMODEL_HOST -rdynamic $(wildcard tests/model/*.c) -ldl -lm -o $@

model: build/model/core.so build/model/explorer ## explore SCHEDULES=100000 of each scenario of the protocols
	@build/model/explorer build/model/core.so --schedules $(SCHEDULES) --jobs $(JOBS)

model-long: build/model/core.so build/model/explorer ## explore at random for MINUTES=30, from another seed each time
	@build/model/explorer build/model/core.so --minutes $(MINUTES) --jobs $(JOBS) --seed $$(date +%s)000000

mutants: build/model/explorer $(VENV)/have-dev ## weaken memory orders one by one: the explorer must notice
	@$(PY) -m tests.model.mutants --explorer build/model/explorer --compiler $(CC) $(ARGS)

# --- deaths at every instruction and every system call (tests/crash) -----------------------------------------------
# CRASH_NATIVE: another core, with a bug planted in it, say; CRASH_OUT: where its programs go

CRASH_NATIVE ?= native
CRASH_OUT    ?= build/crash
CRASH_OPT    ?= -O2
CRASH_FLAGS   = $(STRICT:-Inative=-I$(CRASH_NATIVE)) -DIPCR_MOST_SUBSCRIBERS=6u -Itests/native $(CRASH_OPT)
CRASH_MAINS  := every_instruction kill_points
CRASH_WRAP    = -Wl,--wrap=ipcr_os_open_nameless,--wrap=ipcr_os_now_ns,--wrap=ipcr_os_futex_wait
CRASH_CORE    = $(CORE:native/%.c=$(CRASH_OUT)/native/%.o)
CRASH_ROOMS   = $(filter-out $(CRASH_MAINS:%=tests/crash/%.c),$(sort $(wildcard tests/crash/*.c)))
CRASH_ALL     = $(wildcard $(CRASH_NATIVE)/*.h tests/native/*.h tests/crash/*.h)

$(CRASH_OUT)/native/%.o: $(CRASH_NATIVE)/%.c $(CRASH_ALL) | preflight
	@mkdir -p $(@D)
	@$(CC) $(CRASH_FLAGS) -c $< -o $@

$(CRASH_OUT)/%.o: tests/crash/%.c $(CRASH_ALL) | preflight
	@mkdir -p $(@D)
	@$(CC) $(CRASH_FLAGS) -c $< -o $@

$(CRASH_MAINS:%=$(CRASH_OUT)/%): %: %.o $(CRASH_ROOMS:tests/crash/%.c=$(CRASH_OUT)/%.o) $(CRASH_CORE)
	@$(CC) $^ -Wl,-z,now $(CRASH_WRAP) -lpthread -o $@

crash: $(CRASH_MAINS:%=$(CRASH_OUT)/%) ## kill operations at every instruction and every system call
	@$(CRASH_OUT)/every_instruction $(ARGS)
	@$(CRASH_OUT)/kill_points

crash-long: ## the same with real deaths only, compiled by whatever compilers there are at -O0, -O2 and -O3
	@for cc in gcc clang; do \
	    command -v $$cc > /dev/null || { echo "==> no $$cc here (apt-get install $$cc)"; continue; }; \
	    for opt in -O0 -O2 -O3; do \
	        echo "==> $$cc $$opt"; \
	        $(MAKE) --no-print-directory crash CC=$$cc CRASH_OPT=$$opt CRASH_OUT=build/crash-$$cc$$opt \
	            ARGS="--deaths 0" || exit 1; \
	    done; \
	done


# --- waiting without a safety net (tests/waiting), and the protocols as Spin models (tests/spin) ----------------------

SECONDS ?= 60
WAKES   := $(filter-out native/fast_%.c,$(sort $(wildcard native/*.c)))
WRAPPED := ipcr_os_futex_wait ipcr_os_futex_wake ipcr_os_membarrier ipcr_os_membarrier_register ipcr_wake ipcr_wait

build/waiting/lost_wakes: tests/waiting/lost_wakes.c tests/waiting/atomics.h $(WAKES) $(HEADERS) | preflight
	@mkdir -p $(@D)
	@$(CC) $(STRICT) -O2 -Itests/native -include tests/waiting/atomics.h $(foreach f,$(WRAPPED),-Wl,--wrap=$(f)) \
		tests/waiting/lost_wakes.c $(WAKES) -lpthread -o $@

wakes: build/waiting/lost_wakes ## sleep and wake for SECONDS=60, or SLEEPS=1000000 times, without a safety net
	@build/waiting/lost_wakes $(if $(SLEEPS),--sleeps $(SLEEPS),--seconds $(SECONDS))
	@build/waiting/lost_wakes --plant

spin: ## search the Spin models of the protocols, correct and broken ones (ARGS=--deep: larger bounds)
	@$(PYTHON) tests/spin/models.py $(ARGS)
# --- failing system calls: tests/faults/inject.c stands between the core, or Python, and libc -------------------------

INJECT := $(sort $(wildcard tests/faults/inject*.c))
FAULTS := $(filter-out $(INJECT),$(sort $(wildcard tests/faults/*.c)))

build/faults/inject.so: $(INJECT) tests/faults/inject.h | preflight
	@mkdir -p $(@D)
	@$(CC) $(STRICT) -O1 -U_FORTIFY_SOURCE -fPIC -shared $(INJECT) -ldl -o $@

build/faults/core: build/faults/inject.so $(CORE) $(FAULTS) $(HEADERS) $(wildcard tests/faults/*.h)
	@$(CC) $(STRICT) -Itests/native -O1 -U_FORTIFY_SOURCE $(CORE) $(FAULTS) $< -Wl,-rpath,'$$ORIGIN' -lpthread -o $@

faults: build/faults/core build/faults/inject.so $(VENV)/have-native $(VENV)/have-test ## make every system call fail, in C and from Python
	@build/faults/core
	@$(PY) -m pytest tests/faults -m "not stress" -s $(ARGS)
# --- hostile memory: the core over memory that a peer writes at any time (tests/fuzz; docs/testing/hostile.md) -------
# With clang and its runtime it is libFuzzer that finds the inputs, without them a driver that changes seeds at random.

RUNS      ?= $(if $(FUZZER),1000000,300000)
FUZZER    := $(shell printf 'int LLVMFuzzerTestOneInput(void){return 0;}' | clang -fsanitize=fuzzer,address,undefined \
               -x c - -o /dev/null 2>/dev/null && echo libfuzzer)
fuzz_core := $(filter-out native/os.c native/fast_%.c,$(CORE))
fuzz_mains := driver seeds loads
# channels, queues, multicasts: each has its own target, and shares the kernel, the peer and the driver
fuzz_shared := $(addprefix tests/fuzz/,kernel.c kernel_memory.c kernel_time.c peer.c input.c)
fuzz_of_channels := $(filter-out $(fuzz_shared) $(fuzz_mains:%=tests/fuzz/%.c),$(wildcard tests/fuzz/*.c))
fuzz_of_queues := $(filter-out tests/fuzz/queues/seeds.c,$(wildcard tests/fuzz/queues/*.c))
fuzz_of_multicasts := $(filter-out tests/fuzz/multicasts/seeds.c,$(wildcard tests/fuzz/multicasts/*.c))
fuzz_headers := $(HEADERS) $(wildcard tests/fuzz/*.h tests/fuzz/queues/*.h tests/fuzz/multicasts/*.h)
# few subscribers: their numbers run out, and all words of a multicast lie near each other
FUZZ_DEFS := -Itests/fuzz -DIPCR_MOST_SUBSCRIBERS=4u
FUZZED    := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all $(FUZZ_DEFS)
fuzz_objects = $(fuzz_core:native/%.c=build/fuzz/$(1)/core-%.o) \
               $(patsubst tests/fuzz/%.c,build/fuzz/$(1)/%.o,$(fuzz_shared) $(fuzz_of_$(2)))
# what every access goes through needs no watching itself
fuzz_plain := kernel kernel_memory kernel_time peer watch queues/watch multicasts/watch

define fuzzed
build/fuzz/$(1)/core-%.o: native/%.c $(fuzz_headers) | preflight
	@mkdir -p $$(@D)
	@$(2) $(STRICT) $(FUZZED) $(3) -include tests/fuzz/watched_atomics.h -c $$< -o $$@

build/fuzz/$(1)/%.o: tests/fuzz/%.c $(fuzz_headers) | preflight
	@mkdir -p $$(@D)
	@$(2) $(STRICT) $(FUZZED) $(3) -c $$< -o $$@

$(fuzz_plain:%=build/fuzz/$(1)/%.o): build/fuzz/$(1)/%.o: tests/fuzz/%.c $(fuzz_headers) | preflight
	@mkdir -p $$(@D)
	@$(2) $(STRICT) -O2 $(FUZZ_DEFS) -c $$< -o $$@
endef
$(eval $(call fuzzed,gcc,$$(CC),))
$(eval $(call fuzzed,clang,clang,-fsanitize=fuzzer-no-link))

build/fuzz/driver build/fuzz/seeds build/fuzz/loads: build/fuzz/%: build/fuzz/gcc/%.o $(call fuzz_objects,gcc,channels)
	@$(CC) $(STRICT) $(FUZZED) $^ -lpthread -o $@

define fuzzed_kind
build/fuzz/$(1)/driver build/fuzz/$(1)/seeds: $(call fuzz_objects,gcc,$(1))
build/fuzz/$(1)/driver: build/fuzz/gcc/driver.o
build/fuzz/$(1)/seeds: build/fuzz/gcc/$(1)/seeds.o
build/fuzz/$(1)/driver build/fuzz/$(1)/seeds:
	@mkdir -p $$(@D)
	@$$(CC) $(STRICT) $(FUZZED) $$^ -lpthread -o $$@

build/fuzz/$(1)/libfuzzer: $(call fuzz_objects,clang,$(1))
	@mkdir -p $$(@D)
	@clang $(FUZZED) -fsanitize=fuzzer $$^ -lpthread -o $$@
endef
fuzz_kinds := queues multicasts
$(foreach kind,$(fuzz_kinds),$(eval $(call fuzzed_kind,$(kind))))

build/fuzz/libfuzzer: $(call fuzz_objects,clang,channels)
	@clang $(FUZZED) -fsanitize=fuzzer $^ -lpthread -o $@

fuzz_corpora := build/fuzz/corpus $(fuzz_kinds:%=build/fuzz/%/corpus)
$(fuzz_corpora): build/fuzz/%corpus: build/fuzz/%seeds
	@rm -rf $@ && mkdir -p $@ && $< $@

fuzz_program := $(or $(FUZZER),driver)

hostile: build/fuzz/$(fuzz_program) build/fuzz/corpus build/fuzz/loads $(fuzz_kinds:%=hostile-%) ## arbitrary segments, RUNS=1000000 of each kind
	@build/fuzz/loads
	@sh tests/fuzz/run.sh $< runs $(RUNS)

hostile-queues hostile-multicasts: hostile-%: build/fuzz/%/$(fuzz_program) build/fuzz/%/corpus ## those of one kind alone
	@sh tests/fuzz/run.sh $< runs $(RUNS)

hostile-stress: $(addsuffix $(fuzz_program),build/fuzz/ $(fuzz_kinds:%=build/fuzz/%/)) $(fuzz_corpora) ## the same for MINUTES=30 in all
	@sh tests/fuzz/run.sh build/fuzz/$(fuzz_program) minutes $$(( ($(MINUTES) + 2) / 3 ))
	@sh tests/fuzz/run.sh build/fuzz/queues/$(fuzz_program) minutes $$(( ($(MINUTES) + 2) / 3 ))
	@sh tests/fuzz/run.sh build/fuzz/multicasts/$(fuzz_program) minutes $$(( ($(MINUTES) + 2) / 3 ))

hostile-planted: $(fuzz_corpora) $(VENV)/have-dev ## known bugs, planted one by one: hostile must find each
	@$(PY) tests/fuzz/planted.py --compiler $(CC) $(ARGS)

# tests/native/failing.h stands between the core and libc
FAILING := open fcntl fstat lstat stat fchmod memfd_create posix_fallocate ftruncate linkat renameat2 unlink getrandom syscall \
           mmap madvise sched_getaffinity pthread_create malloc calloc aligned_alloc _exit
build/%/test_failing_calls build/%/test_failing_multicasts build/%/test_failing_queues: private STRICT += $(FAILING:%=-Wl,--wrap=%)
build/%/test_queue_never_full: private STRICT += -Wl,--wrap=ipcr_lane_bounds

closes: build/asan/test_close_races ## R41: close against everything, CLOSES=100000 times, under AddressSanitizer
	@IPC_CLOSES=$(or $(CLOSES),100000) $(runner) build/asan/test_close_races

# --- coverage of the core by the C tests (docs/testing/coverage.md) -----------------------------------------------------

cover_flags := -O0 --coverage -fprofile-update=atomic -DIPC_COVERAGE
GCOVR := $(PY) -m gcovr --root . --filter native/ \
         --merge-mode-functions merge-use-line-min --gcov-suspicious-hits-threshold 0
COVER_LINES    ?= 95
COVER_BRANCHES ?= 90
$(eval $(call flavour,cover))

coverage: $(CTESTS:tests/native/%.c=build/cover/%) $(VENV)/have-dev ## lines and branches of the core that the C tests run
	@find build/cover -name '*.gcda' -delete
	@for test in $(filter build/cover/%,$^); do echo "==> $$test"; $(runner) $$test >build/cover/log || { cat build/cover/log; exit 1; }; done
	@$(GCOVR) --object-directory build/cover --json build/cover/coverage.json
	@$(GCOVR) --add-tracefile build/cover/coverage.json --txt-metric line --txt -
	@$(GCOVR) --add-tracefile build/cover/coverage.json --txt-metric branch --txt - \
	    --fail-under-line $(COVER_LINES) --fail-under-branch $(COVER_BRANCHES)

planted: build/model/core.so build/model/explorer $(VENV)/have-native $(VENV)/have-test $(VENV)/have-dev ## plant known bugs: each tool must find its own
	@$(PY) -m tests.model.planted
	@$(PYTEST) -q tests/crash -k planted
	@$(MAKE) --no-print-directory hostile-planted
	@$(PY) -m tests.storm.planted

clean: ## remove everything that make made
	rm -rf .venv .venv-* build dist ipc_rings.egg-info .benchmarks .hypothesis ipc/_core/*.so
	find . -name __pycache__ -prune -exec rm -rf {} +
