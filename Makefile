# Every command a reader types. `make help` lists them.
#
#   make run                          build, and start a stage on port 8000; installs what is missing on Debian 12
#   make run STAGE=03-epoll ARGS="--store memory --port 9000"
#   make test                         everything that must pass; installs what is missing
#
#   make                              build what there is: bin/01-blocking ... bin/05-threaded, bin/chat, bin/chatbench
#   make unit TEST='base_*'           some unit tests: those of tests/unit/test_base_*.c
#   make conformance STAGE=03-epoll   the protocol, against one stage (RULE=M-5: the tests of one rule)
#   make conformance ADDRESS=127.0.0.1:8000        against a server that runs
#   make conformance SERVER="path/to/server args"  against anybody's server
#   make mutants MUTANT=301           what the tests say of a fault that is put into the code
#   make diff FROM=02-select TO=03-epoll           what one I/O model changes
#
# Every variant has folders of its own, so none makes another build again:
#
#   make                              bin/            objects in build/plain
#   make CC=clang                     build/plain-clang/bin
#   make SANITIZE=address,undefined   build/asan/bin
#   make SANITIZE=thread unit         build/tsan/bin, and its unit tests
#
# There are no lists of files: a source in common/, client/ or a stage's folder is compiled because it is there.
# While a part of common/ does not compile, the others can be tested without it: make unit PARTS=base TEST='base_*'

STAGE    ?= 05-threaded
ARGS     ?=
TEST     ?= *
MUTANT   ?=
SANITIZE ?=
COVERAGE ?=
JOBS     ?= 2
SUITES   ?= 3
SEEDS    ?= 20

ifeq ($(origin CC),default)
CC := gcc
endif

# Debian's, which has Debian's pytest; the first python3 of the path may be another one.
PYTHON := /usr/bin/python3

# ---- The variant, and where it goes ---------------------------------------------------------------------------------

VARIANT_OF_                  := plain
VARIANT_OF_address,undefined := asan
VARIANT_OF_thread            := tsan
VARIANT_OF_fuzzer-no-link,address,undefined := fuzz

VARIANT := $(or $(VARIANT_OF_$(SANITIZE)),$(error SANITIZE is address,undefined or thread, not "$(SANITIZE)"))
VARIANT := $(if $(COVERAGE),coverage,$(VARIANT))
VARIANT := $(VARIANT)$(if $(filter gcc,$(CC)),,-$(notdir $(CC)))
BUILD   := build/$(VARIANT)
BIN     := $(if $(filter plain,$(VARIANT)),bin,$(BUILD)/bin)

# ---- How to compile and link ----------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wimplicit-fallthrough -Wstrict-prototypes -Wmissing-prototypes -Werror

CPPFLAGS := -D_GNU_SOURCE -Icommon -Ibench
CFLAGS   := -std=gnu11 -g -pthread $(WARNINGS)
LDFLAGS  := -pthread -Wl,--as-needed

ifneq ($(COVERAGE),)
# Lines are counted as they stand in the source; by threads, too.
CFLAGS   += -O0 --coverage -fprofile-update=atomic
LDFLAGS  += --coverage
else ifeq ($(SANITIZE),)
# What a distribution's packages are built with. A sanitizer finds more than these, and wants to see it first.
CPPFLAGS += -D_FORTIFY_SOURCE=2
CFLAGS   += -O2 -fstack-protector-strong -fPIE
LDFLAGS  += -pie -Wl,-z,relro,-z,now
else
CFLAGS   += -O1 -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS  += -fsanitize=$(SANITIZE)
endif

# Tests make an allocation fail by asking for too much: then NULL is the answer, not the end of the program.
export ASAN_OPTIONS  ?= allocator_may_return_null=1
export TSAN_OPTIONS  ?= allocator_may_return_null=1
export UBSAN_OPTIONS ?= print_stacktrace=1

# Names for pkg-config. It is asked in the recipes, not here: `make run` may have to install it first.
COMMON_LIBRARIES := libsodium jansson libdeflate sqlite3
CLIENT_LIBRARIES := $(COMMON_LIBRARIES) libedit
UNIT_LIBRARIES   := $(CLIENT_LIBRARIES) cmocka
STAGE_LIBRARIES   = $(COMMON_LIBRARIES) $(if $(filter 04-% 05-%,$(1)),libevent)

# ---- What there is --------------------------------------------------------------------------------------------------

PARTS           ?= $(patsubst common/%/,%,$(wildcard common/*/))
COMMON_SOURCES  := $(wildcard common/*.c $(PARTS:%=common/%/*.c))
STAGES          := $(patsubst %/,%,$(sort $(dir $(wildcard 0?-*/*.c))))
STAGE_SOURCES   := $(wildcard 0?-*/*.c)
CLIENT_SOURCES  := $(wildcard client/*.c)
BENCH_SOURCES   := $(wildcard bench/*.c)
EXAMPLE_SOURCES := $(wildcard docs/examples/*.c)
UNIT_SUPPORT    := $(wildcard tests/unit/support*.c)
PRELOAD_SOURCES := $(wildcard tests/robustness/hostile*.c)
FUZZ_TARGETS    := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SOURCES    := $(wildcard tests/fuzz/*.c)
FUZZ_SHARED     := $(filter-out tests/fuzz/fuzz_% tests/fuzz/replay.c,$(FUZZ_SOURCES))
UNIT_SOURCES    := $(sort $(wildcard $(TEST:%=tests/unit/test_%.c)))
SOURCES         := $(COMMON_SOURCES) $(STAGE_SOURCES) $(CLIENT_SOURCES) $(BENCH_SOURCES) $(UNIT_SUPPORT) \
                   $(UNIT_SOURCES) $(FUZZ_SOURCES) $(EXAMPLE_SOURCES) $(PRELOAD_SOURCES)
C_FILES         := $(SOURCES) $(wildcard tests/robustness/load_trim.c common/*.h common/*/*.h 0?-*/*.h client/*.h \
                   bench/*.h tests/*/*.h)

LIBRARY         := $(BUILD)/libchat.a
BENCH_LIBRARY   := $(BUILD)/libbench.a
CLIENT_LIBRARY  := $(if $(CLIENT_SOURCES),$(BUILD)/libclient.a)
UNIT_LIBRARY    := $(BUILD)/libsupport.a
STAGE_PROGRAMS  := $(STAGES:%=$(BIN)/%)
CLIENT_PROGRAM  := $(if $(wildcard client/main.c),$(BIN)/chat)
MICRO_SOURCES   := $(wildcard bench/micro*.c)
MICRO_PROGRAMS  := $(MICRO_SOURCES:bench/%.c=$(BUILD)/%)
CEILING_SOURCES := $(wildcard bench/ceiling*.c)
CEILINGS        := $(CEILING_SOURCES:bench/%.c=$(BUILD)/%)
UNIT_PROGRAMS   := $(UNIT_SOURCES:tests/unit/%.c=$(BUILD)/unit/%)
PRELOADS        := $(PRELOAD_SOURCES:tests/robustness/%.c=$(BUILD)/%.so)
FUZZERS         := $(FUZZ_TARGETS:%=$(BUILD)/fuzz/%)
REPLAYS         := $(FUZZ_TARGETS:%=$(BUILD)/replay/%)
EXAMPLES        := $(EXAMPLE_SOURCES:docs/examples/%.c=$(BUILD)/examples/%)

objects = $(patsubst %.c,$(BUILD)/%.o,$(1))

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.SECONDEXPANSION:
.PHONY: help all examples run test unit fuzz fuzzers replay replays analyze coverage conformance valgrind valgrind-unit micro instructions \
        bench bench-peers bench-quick crashtest load load-sample soak hostile hostile-sample mutants mutants-sample \
        diff format lint clean install-packages run-packages test-packages bench-packages peer-packages \
        test-build test-harness test-stages test-sanitized conformance-table always

help: ## this list
	@echo 'make TARGET [VARIABLE=...]; the variables stand at the top of the Makefile'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo 'stages: $(or $(STAGES),none yet)'

# ---- Build ----------------------------------------------------------------------------------------------------------

all: $(STAGE_PROGRAMS) $(CLIENT_PROGRAM) $(BIN)/chatbench $(CEILINGS) $(LIBRARY) $(EXAMPLES) ## build everything (CC=clang, SANITIZE=thread ...)

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $$(pkg-config --cflags $(CLIENT_LIBRARIES)) -MMD -MP -c -o $@ $<

$(LIBRARY): $(call objects,$(COMMON_SOURCES))
$(CLIENT_LIBRARY): $(call objects,$(filter-out client/main.c,$(CLIENT_SOURCES)))
$(UNIT_LIBRARY): $(call objects,$(UNIT_SUPPORT))
$(BENCH_LIBRARY): $(call objects,$(filter-out bench/chatbench.c $(MICRO_SOURCES) $(CEILING_SOURCES),$(BENCH_SOURCES)))
$(LIBRARY) $(CLIENT_LIBRARY) $(UNIT_LIBRARY) $(BENCH_LIBRARY): $(BUILD)/members
	@mkdir -p $(@D)
	@rm -f $@
	ar rcs $@ $(filter %.o,$^)

# What the archives are made of. It changes when a file comes or goes: the object of a renamed one must not stay.
MEMBERS := $(COMMON_SOURCES) $(CLIENT_SOURCES) $(UNIT_SUPPORT) $(BENCH_SOURCES)
$(BUILD)/members: always
	@mkdir -p $(@D)
	@echo '$(MEMBERS)' | cmp -s - $@ || echo '$(MEMBERS)' >$@

# A stage is linked from whatever C files its folder has.
$(STAGE_PROGRAMS): $(BIN)/%: $$(call objects,$$(wildcard $$*/*.c)) $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $$(pkg-config --libs $(call STAGE_LIBRARIES,$*))

$(BIN)/chat: $(call objects,client/main.c) $(CLIENT_LIBRARY) $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $$(pkg-config --libs $(CLIENT_LIBRARIES))

$(BIN)/chatbench: $(call objects,bench/chatbench.c) $(BENCH_LIBRARY) $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $$(pkg-config --libs $(COMMON_LIBRARIES))

$(BUILD)/micro_core: LDFLAGS += -Wl,--wrap=engine_run
$(MICRO_PROGRAMS) $(CEILINGS): $(BUILD)/%: $(BUILD)/bench/%.o $(BENCH_LIBRARY) $(LIBRARY)
	$(CC) $(LDFLAGS) -o $@ $^ $$(pkg-config --libs $(COMMON_LIBRARIES))

examples: $(EXAMPLES) ## the bare I/O models of docs/examples, into build/plain/examples

# Each stands alone: nothing of common/, and libevent where it is used.
$(EXAMPLES): $(BUILD)/examples/%: $(BUILD)/docs/examples/%.o
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $$(pkg-config --libs libevent)

# A test links only what it names: test_client_*.c have the client beside common/, test_bench_*.c the load generator.
$(UNIT_PROGRAMS): $(BUILD)/unit/%: $(BUILD)/tests/unit/%.o $(UNIT_LIBRARY) \
                  $$(if $$(findstring test_client_,$$*),$(CLIENT_LIBRARY)) \
                  $$(if $$(findstring test_bench_,$$*),$(BENCH_LIBRARY)) $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $$(pkg-config --libs $(UNIT_LIBRARIES))

# What robustness tests put before the C library.
$(PRELOADS): $(BUILD)/%.so: tests/robustness/%.c $(wildcard tests/robustness/*.h) Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(filter-out -fPIE,$(CFLAGS)) -fPIC -shared -o $@ $<

# The targets stand on the supports of the unit tests, and have a clock of their own: it comes before the library's.
$(BUILD)/tests/fuzz/%.o: CPPFLAGS += -Itests/unit

$(FUZZERS): $(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/fuzz_%.o $(call objects,$(FUZZ_SHARED)) $(UNIT_LIBRARY) $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $$(pkg-config --libs $(UNIT_LIBRARIES) zlib)

$(REPLAYS): $(BUILD)/replay/%: $(BUILD)/tests/fuzz/fuzz_%.o $(call objects,tests/fuzz/replay.c $(FUZZ_SHARED)) \
                               $(UNIT_LIBRARY) $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $$(pkg-config --libs $(UNIT_LIBRARIES) zlib)

-include $(patsubst %.o,%.d,$(call objects,$(SOURCES)))

# ---- Run ------------------------------------------------------------------------------------------------------------

stage_or_exit = $(if $(filter $(STAGE),$(STAGES)),:,echo 'There is no stage "$(STAGE)" here. STAGE= takes one of:' \
                '$(or $(STAGES),(none yet))' >&2; exit 2)

run: run-packages ## build, and start STAGE (05-threaded) with ARGS; installs what is missing
	@$(stage_or_exit)
	@$(MAKE) --no-print-directory -j$(JOBS) $(BIN)/$(STAGE)
	$(BIN)/$(STAGE) $(ARGS)

# ---- Test -----------------------------------------------------------------------------------------------------------

comma := ,
heading = @printf '\n== %s\n' '$(1)'
submake = @$(MAKE) --no-print-directory

test: test-packages ## everything that must pass; installs what is missing
	$(call heading,Build with gcc and with clang)
	$(submake) -s -j$(JOBS) CC=gcc test-build
	$(submake) -s -j$(JOBS) CC=clang test-build
	$(call heading,Unit tests)
	$(submake) -s -j$(JOBS) unit
	$(call heading,Unit tests with AddressSanitizer and UndefinedBehaviorSanitizer)
	$(submake) -s -j$(JOBS) SANITIZE=address,undefined unit
	$(call heading,Form$(comma) and what four analyzers see)
	$(submake) -s -j$(JOBS) lint analyze
	$(call heading,What fuzzing came upon$(comma) and a minute of it)
	$(submake) -s -j$(JOBS) replay
	$(submake) -s fuzz SECONDS=60
	$(call heading,Rules for the sources)
	$(PYTHON) -m pytest -q tests/static
	$(call heading,The examples and the client)
	$(PYTHON) -m pytest -q tests/examples
	$(PYTHON) -m pytest -q tests/client
	$(call heading,The load generator$(comma) and what a message costs in counts)
	$(PYTHON) -m pytest -q tests/bench
	$(submake) bench-quick
	$(call heading,The conformance suite itself)
	$(submake) test-harness
	$(call heading,Conformance of each stage: $(or $(STAGES),none yet))
	$(submake) -j$(SUITES) --output-sync=target test-stages
	$(call heading,The same on a hostile system: a sample)
	$(submake) hostile-sample
	$(call heading,The same under AddressSanitizer and UndefinedBehaviorSanitizer$(comma) and ThreadSanitizer)
	$(submake) -s -j$(JOBS) SANITIZE=address,undefined all
	$(submake) -s -j$(JOBS) SANITIZE=thread all
	$(submake) -j$(SUITES) --output-sync=target test-sanitized
	$(call heading,The suite on a server that is not ours)
	$(PYTHON) -m pytest -q tests/conformance --server "$(PYTHON) docs/examples/server.py"
	$(PYTHON) tests/conformance/table.py $(STAGES:%=$(BUILD)/ledger/%.json)
	$(call heading,Kills under load: what was acknowledged stays)
	$(PYTHON) -m pytest -q tests/robustness/test_crash.py
	$(submake) ROUNDS=10 SEED=1 crashtest
	$(call heading,The tests see faults: a mutant of each area)
	$(submake) mutants-sample
	$(call heading,All passed)

test-build: all $(UNIT_PROGRAMS)

unit: $(UNIT_PROGRAMS) ## the unit tests, or some: TEST='base_*'
# One line a program; of one that fails, all that it said.
	@failed=; for program in $^; do \
	    if $$program >$$program.log 2>&1; then result=$$(grep -a '\[  PASSED  \]' $$program.log); \
	    else result=FAILED; failed="$$failed $$program"; fi; \
	    printf '%-40s %s\n' "$$program" "$$result"; \
	done; for program in $$failed; do echo; echo "-- $$program"; cat $$program.log; done; test -z "$$failed"

test-harness:
	$(if $(wildcard tests/conformance/selftest/test_*.py),$(PYTHON) -m pytest -q tests/conformance/selftest)

# How much more time than usual a server may take for something: SUITES of them share two cores, but mostly wait.
SLOW := $(if $(SANITIZE),3,2)

test-stages: $(STAGES:%=test-stage-%)

$(STAGES:%=test-stage-%): test-stage-%: $(BIN)/%
	@mkdir -p $(BUILD)/ledger
	$(PYTHON) -m pytest -q tests/conformance $(call conformance_of,$*) --slow-factor $(SLOW) --ledger $(BUILD)/ledger/$*.json

# What is not the I/O model is the same in every stage, so not all of them run under each sanitizer here.
# `make SANITIZE=thread test-stages` takes them all.
test-sanitized: test-asan-04-libevent test-asan-05-threaded test-tsan-01-blocking test-tsan-05-threaded

# Two rules: make takes a rule with two patterns for one that makes both at once.
test-asan-%: always
	$(PYTHON) -m pytest -q tests/conformance --slow-factor 3 --server build/asan/bin/$*

test-tsan-%: always
	$(PYTHON) -m pytest -q tests/conformance --slow-factor 3 --server build/tsan/bin/$*

conformance-table: $(STAGES:%=test-stage-%) ## run the suite on every stage, and write docs/conformance.md
	$(PYTHON) tests/conformance/table.py --markdown $(STAGES:%=$(BUILD)/ledger/%.json) >docs/conformance.md

# The suite finds bin/STAGE by the stage's name; a variant is a program like any other.
conformance_of = $(if $(filter bin,$(BIN)),--stage $(1),--server "$(BIN)/$(1)")
conformance_subject = $(if $(SERVER),--server "$(SERVER)",$(if $(ADDRESS),--address $(ADDRESS),$\
                      $(call conformance_of,$(STAGE))))

conformance: ## the protocol, against STAGE=, SERVER="command" or ADDRESS=host:port; RULE=M-5: one rule
	@$(if $(SERVER)$(ADDRESS),:,$(stage_or_exit); $(MAKE) --no-print-directory -s -j$(JOBS) $(BIN)/$(STAGE))
	$(PYTHON) -m pytest tests/conformance $(conformance_subject) $(RULE:%=--rule %) $(ARGS)

MEMCHECK := valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect \
            --errors-for-leak-kinds=definite,indirect
# What is quick enough at a twentieth of the speed, and touches every part; but no timeouts of half a second.
QUICK    := frames requests groups friends presence messages delivery history unread causality

valgrind: valgrind-unit $(STAGES:%=valgrind-%) ## the unit tests, and the quick part of the suite on every stage, under valgrind

# What has a malloc() of its own that can fail finds valgrind's in its place, and can show nothing. make unit runs it.
OWN_MALLOC := test_chat_allocations test_engine_rollback

valgrind-unit: $(filter-out $(OWN_MALLOC:%=$(BUILD)/unit/%),$(UNIT_PROGRAMS))
	@for program in $^; do echo "$$program"; \
	    $(MEMCHECK) $$program >$$program.valgrind 2>&1 || { cat $$program.valgrind; exit 1; }; \
	done

$(STAGES:%=valgrind-%): valgrind-%: $(BIN)/%
	$(PYTHON) -m pytest -q $(QUICK:%=tests/conformance/test_%.py) --slow-factor 10 -k 'not timeout' \
	    --server "$(MEMCHECK) $(BIN)/$*"

# `make` has a default for STAGE; here it is every stage, unless one is named.
HOSTILE_STAGES := $(if $(filter file,$(origin STAGE)),$(STAGES),$(STAGE))

hostile: $(PRELOADS) $(HOSTILE_STAGES:%=$(BIN)/%) ## the suite while system calls fail: SEEDS=20 plans, on every stage or STAGE=
	$(PYTHON) tests/robustness/hostile.py --stages $(HOSTILE_STAGES) --seeds $(SEEDS) --jobs $(JOBS)

# One plan, and what is quick; and every start without memory.
hostile-sample: $(PRELOADS) $(STAGE_PROGRAMS)
	$(PYTHON) -m pytest -q tests/robustness/test_hostile_start.py
	$(PYTHON) tests/robustness/hostile.py --seeds 1 --jobs $(JOBS) --modules $(QUICK)

# Each on STAGE=, or on all. RECORD=1 keeps the figures for docs/robustness.md. tests/robustness/README.md says more.
robustness_of = $(if $(filter command line,$(origin STAGE)),$(STAGE),$(STAGES)) --programs $(BIN) \
                $(if $(RECORD),--record) $(ARGS)

crashtest: $(STAGE_PROGRAMS) ## kill servers under load: ROUNDS=200, SEED=
	$(PYTHON) tests/robustness/crash.py $(robustness_of) $(ROUNDS:%=--rounds %) $(SEED:%=--seed %)

load: $(STAGE_PROGRAMS) ## churn, storms, stalled readers, floods, slow peers: on a machine that does nothing else
	$(PYTHON) tests/robustness/load.py $(robustness_of)

# Fewer connections. Others may use the machine, so p99 only tells a server that answers from one that stands still.
load-sample: $(STAGE_PROGRAMS)
	$(PYTHON) tests/robustness/load.py $(robustness_of) --scale 0.04 --p99-ms 1000

soak: $(STAGE_PROGRAMS) ## a mixed load for MINUTES=10, and memory that stays flat
	$(PYTHON) tests/robustness/soak.py $(robustness_of) $(MINUTES:%=--minutes %)

# Built from the objects that are there, so that a mutant costs little more than its tests.
mutants: ## put each fault of tests/mutants into the code, and see that a test fails; some: MUTANT='301 7'
	$(PYTHON) tests/mutants/run.py --jobs $(JOBS) $(MUTANT) $(ARGS)

mutants-sample:
	$(PYTHON) tests/mutants/run.py --jobs $(JOBS) --sample

micro: $(MICRO_PROGRAMS) ## what a message costs in common/, in nanoseconds: its steps, and the whole way
	@for program in $^; do $$program || exit 1; done

# The difference of two runs: what starting costs is in both.
instructions: $(BUILD)/micro_core ## the same in instructions, counted by callgrind: the same on every run
	@count() { valgrind --tool=callgrind --callgrind-out-file=/dev/null $< $$1 2>&1 | awk '/Collected/ { print $$NF }'; }; \
	few=$$(count 6400); many=$$(count 70400); \
	echo "a message to a group of two, in bursts of 64: $$(( (many - few) / 64000 )) instructions"

bench: bench-packages all ## measure the stages, about 10 minutes: docs/benchmarks gets tables and plots (ARGS= for bench/run.py)
	$(PYTHON) bench/run.py $(ARGS)

bench-peers: peer-packages all ## the stages beside Redis, NATS, Mosquitto, ngIRCd and InspIRCd: about 45 minutes
	$(PYTHON) bench/run.py --peers $(ARGS)

bench-quick: all ## what a message costs in system calls, allocations and instructions, against bench/budgets.json
	$(PYTHON) bench/quick.py

# ---- Fuzz -----------------------------------------------------------------------------------------------------------

# What a target is, and where what it discovers and finds goes: tests/fuzz/run.py.
TARGET  ?= $(FUZZ_TARGETS)
SECONDS ?= 3600
ENGINE  ?= libfuzzer

FUZZ_BUILD_libfuzzer := CC=clang SANITIZE=fuzzer-no-link,address,undefined fuzzers
FUZZ_BUILD_afl       := CC=afl-clang-fast replays

fuzz: ## random conversations, with checks, for SECONDS=3600 each; TARGET=request or conversation, ENGINE=afl
	$(submake) -s -j$(JOBS) $(FUZZ_BUILD_$(ENGINE))
	$(PYTHON) tests/fuzz/run.py $(TARGET) --seconds $(SECONDS) --engine $(ENGINE) $(ARGS)

fuzzers: $(FUZZERS)
replays: $(REPLAYS)

replay: replays ## the inputs that fuzzing came upon, as tests
	@for target in $(FUZZ_TARGETS); do \
	    inputs=$$(find tests/fuzz/corpus/$$target tests/fuzz/found/$$target -type f 2>/dev/null | sort); \
	    echo "$$target: $$(echo "$$inputs" | wc -l) inputs"; \
	    $(BUILD)/replay/$$target $$inputs >$(BUILD)/replay/$$target.log 2>&1 || \
	        { tail -40 $(BUILD)/replay/$$target.log; exit 1; }; \
	done

# ---- Read and write the sources -------------------------------------------------------------------------------------

diff: ## what one stage changes against another: FROM=02-select TO=03-epoll
	@$(if $(and $(FROM),$(TO)),,echo 'make diff FROM=02-select TO=03-epoll' >&2; exit 2)
	@diff --recursive --unified --new-file --color=auto --exclude='*.md' $(FROM) $(TO); test $$? -lt 2

format: ## put every C file into the project's form
	clang-format -i $(C_FILES)

lint: ## clang-format and clang-tidy, changing nothing
	clang-format --dry-run -Werror $(C_FILES)
	@printf '%s\n' $(SOURCES) | xargs -P $(JOBS) -n 1 \
	    sh -c 'clang-tidy --quiet "$$@" -- $(CPPFLAGS) -Itests/unit $(filter-out -Werror,$(CFLAGS)) '"$$(pkg-config --cflags $(CLIENT_LIBRARIES))" tidy

# gcc's analyzer reads what is shipped: it does not know that an assertion of cmocka does not return, so in tests it
# finds nothing but that. Leaks are left to LeakSanitizer and valgrind, which see them: gcc 12 takes a pointer that
# realloc() moved for lost. cppcheck reads all; macros of libraries that it cannot know are told to it.
ANALYZED      := $(COMMON_SOURCES) $(STAGE_SOURCES) $(CLIENT_SOURCES) $(BENCH_SOURCES) $(EXAMPLE_SOURCES)
CPPCHECK_KNOW := '-DLIST_HEAD(name,type)=struct name{struct type *lh_first;}' \
                 '-DLIST_ENTRY(type)=struct{struct type *le_next;}' \
                 '-Djson_array_foreach(array,index,value)=for(;(value=json_array_get(array,index));index++)'

analyze: ## cppcheck on all C files, gcc -fanalyzer on the programs
	cppcheck --quiet -j$(JOBS) --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
	    -D_GNU_SOURCE -Icommon -Ibench -Itests/unit $(CPPCHECK_KNOW) $(SOURCES)
	@printf '%s\n' $(ANALYZED) | xargs -P $(JOBS) -n 1 sh -c 'gcc -fanalyzer -Wno-analyzer-malloc-leak -Werror \
	    -std=gnu11 -O1 $(CPPFLAGS) '"$$(pkg-config --cflags $(CLIENT_LIBRARIES))"' -c -o /dev/null $$0'

coverage: ## which lines of common/ the tests run, file by file
	$(submake) -s -j$(JOBS) COVERAGE=1 test-build replays
	$(PYTHON) tests/coverage.py $(STAGE) $(ARGS)

clean: ## remove bin/ and build/
	rm -rf bin build

# ---- What the machine must have -------------------------------------------------------------------------------------

BUILD_PACKAGES := gcc libc6-dev make pkg-config libevent-dev libsodium-dev libsqlite3-dev libjansson-dev libdeflate-dev \
                  libedit-dev
TEST_PACKAGES  := clang libclang-rt-14-dev clang-format clang-tidy cppcheck gcovr libcmocka-dev valgrind python3 python3-pytest \
                  strace gdb patch zlib1g-dev

BENCH_PACKAGES := python3-matplotlib
PEER_PACKAGES  := redis-server nats-server mosquitto ngircd inspircd
PEER_SERVICES  := redis-server nats-server mosquitto ngircd inspircd

# $(call install_missing,WHAT FOR,PACKAGES)
define install_missing
	@command -v dpkg-query >/dev/null || { echo 'No Debian: for $(1) it takes what Debian calls $(2)'; exit 0; }; \
	missing=$$(for package in $(2); do \
	    dpkg-query --show --showformat='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || echo $$package; \
	done); \
	test -n "$$missing" || exit 0; \
	echo 'For $(1), this machine lacks:' $$missing; \
	if test "$$(id -u)" = 0; then as_root=; else as_root=sudo; echo 'Installing needs root: sudo may ask.'; fi; \
	$$as_root apt-get update -q && \
	$$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing
endef

run-packages:
	$(call install_missing,building and running,$(BUILD_PACKAGES))

test-packages:
	$(call install_missing,building and testing,$(BUILD_PACKAGES) $(TEST_PACKAGES))

bench-packages:
	$(call install_missing,measuring,$(BUILD_PACKAGES) $(BENCH_PACKAGES))

# Installed, a peer starts as a service. The one that is measured is started by bench/run.py, and no other may run.
peer-packages: bench-packages
	$(call install_missing,measuring peers,$(PEER_PACKAGES))
	@if test -d /run/systemd/system; then \
	    if test "$$(id -u)" = 0; then as_root=; else as_root=sudo; fi; \
	    $$as_root systemctl disable --quiet --now $(PEER_SERVICES); \
	fi

install-packages: test-packages ## what building and testing needs, on Debian 12
