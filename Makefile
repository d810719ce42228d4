# Flashover. `make demo` shows the fire and the fix, `make test` proves both; see README.md.
.DEFAULT_GOAL := build
SHELL := /bin/bash

# A variant build has its own directory: make BUILD=build/tsan SANITIZE=thread
BUILD    ?= build
SANITIZE ?=
# The CMAP specification's own test files, where there are any.
CMAP_FILES ?= ../shared/cmap

CC       ?= gcc
PACKAGES := libmicrohttpd libpq jansson libcurl libunwind libdw
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wformat=2 -Wundef -Wvla
CFLAGS   ?= -O2 -g
# WERROR=1 (as `make check` and CI build) turns warnings into errors; a user's newer compiler may warn of more.
# Without sibling calls: a dump's stacks are to have every caller, the variant's own function above all.
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE -I. $(WARNINGS) $(if $(WERROR),-Werror) -fno-omit-frame-pointer \
             -fno-optimize-sibling-calls -pthread \
             $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all) \
             $(PACKAGE_CFLAGS) $(CFLAGS)
ALL_LDFLAGS = -pthread $(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(LDFLAGS)
# Asked once a make, not once a file. (Where packages are missing, `deps` gets them before the make that builds.)
PACKAGE_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
SERVICE_LIBS  := $(shell pkg-config --libs libmicrohttpd libpq jansson libunwind libdw 2>/dev/null) -lm
LOADTEST_LIBS := $(shell pkg-config --libs libmicrohttpd jansson libcurl 2>/dev/null) -lhttp_parser -lm

COMMON_OBJECTS   := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard common/*.c))
SERVICE_OBJECTS  := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard service/*.c service/variants/*.c))
LOADTEST_OBJECTS := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard loadtest/*.c)) $(BUILD)/obj/loadtest/report/assets.o
# Debian's, for the HTML report.
CHART_JS := /usr/share/javascript/chart.js/chart.min.js
# A unit test is one file of its own main(); it links everything but the programs' mains.
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))
UNIT_SUPPORT := $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out $(wildcard tests/unit/test_*.c),$(wildcard tests/unit/*.c)))
TESTED_OBJECTS = $(COMMON_OBJECTS) $(filter-out %/main.o,$(SERVICE_OBJECTS) $(LOADTEST_OBJECTS)) $(UNIT_SUPPORT)
# The runner of the CMAP scenarios has a main() of its own, and is no cmocka program.
CMAP_OBJECTS := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/cmap/*.c) tests/unit/stub_connector.c)

# Two jobs, unless a make above us hands them out already.
JOBS = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j2)

.PHONY: build demo test test-long unit integration tsan asan up down reset logs check format bench bench-capacity bench-pool storm storm-deadlines deps diff-variants clean
build: $(BUILD)/service $(BUILD)/loadtest

$(BUILD)/service: $(SERVICE_OBJECTS) $(COMMON_OBJECTS)
	@mkdir -p $(dir $@)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(SERVICE_LIBS)

$(BUILD)/loadtest: $(LOADTEST_OBJECTS) $(COMMON_OBJECTS)
	@mkdir -p $(dir $@)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LOADTEST_LIBS)

$(BUILD)/tests/cmap_runner: $(CMAP_OBJECTS) $(filter-out %/main.o,$(SERVICE_OBJECTS)) $(COMMON_OBJECTS)
	@mkdir -p $(dir $@)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(SERVICE_LIBS)

# An archive, so that a test program links only what it uses.
$(BUILD)/tests/tested.a: $(TESTED_OBJECTS)
	@mkdir -p $(dir $@)
	@rm -f $@
	ar rcsT $@ $^

$(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(BUILD)/tests/tested.a
	@mkdir -p $(dir $@)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(SERVICE_LIBS) $(LOADTEST_LIBS)

# A benchmark of the pool: the service's objects, and the tests' stub in the database's place.
$(BUILD)/tests/pool_bench: $(BUILD)/obj/tests/bench/pool_bench.o $(BUILD)/obj/tests/unit/stub_connector.o \
                           $(COMMON_OBJECTS) $(filter-out %/main.o,$(SERVICE_OBJECTS))
	@mkdir -p $(dir $@)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(SERVICE_LIBS)

# What make bench-load puts before both load testers.
$(BUILD)/tests/static_server: $(BUILD)/obj/tests/bench/static_server.o
	@mkdir -p $(dir $@)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(shell pkg-config --libs libmicrohttpd)

# Against a real PostgreSQL, which pytest starts for it.
$(BUILD)/tests/pool_real: $(BUILD)/obj/tests/integration/pool_real.o $(BUILD)/tests/tested.a
	@mkdir -p $(dir $@)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(SERVICE_LIBS) $(LOADTEST_LIBS)

$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(dir $@)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The parts are included by the assembler, of which no dependency file tells.
$(BUILD)/obj/loadtest/report/assets.o: $(wildcard loadtest/report/* loadtest/page/*) $(CHART_JS) Makefile
	@mkdir -p $(dir $@)
	$(CC) -DCHART_JS='"$(CHART_JS)"' -c -o $@ loadtest/report/assets.S

# The load tester's parsers, fed by libFuzzer (clang's) or with files (any compiler's).
FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
$(BUILD)/tests/fuzz_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/tests/tested.a
	@mkdir -p $(dir $@)
	$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(SERVICE_LIBS) $(LOADTEST_LIBS)

$(BUILD)/tests/replay_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/obj/tests/fuzz/replay.o $(BUILD)/tests/tested.a
	@mkdir -p $(dir $@)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(SERVICE_LIBS) $(LOADTEST_LIBS)

# Objects are kept: without this, make deletes those that only a pattern rule leads to, and builds them again next time.
.PRECIOUS: $(BUILD)/obj/%.o
-include $(shell [ -d $(BUILD)/obj ] && find $(BUILD)/obj -name '*.d'   2>/dev/null)

# ---- the lab -----------------------------------------------------------------------------------------------------

# Sets the fire off and shows the fix, on a lab of its own; results in build/demo.
demo:
	@deploy/deps.sh build run
	@$(MAKE) --no-print-directory -s $(JOBS) build
	@exec deploy/lab.sh demo

# The whole lab, left running; PORT_BASE=18080 for a second one.
up:
	@deploy/deps.sh build run
	@$(MAKE) --no-print-directory -s $(JOBS) build
	@exec deploy/lab.sh up

down reset logs:
	@exec deploy/lab.sh $@

# ---- tests -------------------------------------------------------------------------------------------------------

# Two lanes: the integration tests, which need both processors, and beside them what needs no database and waits for half of
# its time. Output comes a lane's part at a time.
test:
	@deploy/deps.sh build run test
	@$(MAKE) --no-print-directory -s $(JOBS) build unit-programs cmap-programs sanitizer-programs
	@$(MAKE) --no-print-directory -j2 --output-sync=target integration unit cmap sanitizer-tests

.PHONY: sanitizer-programs sanitizer-tests
sanitizer-programs:
	@$(MAKE) --no-print-directory -s $(JOBS) BUILD=build/tsan SANITIZE=thread build unit-programs cmap-programs
	@$(MAKE) --no-print-directory -s $(JOBS) BUILD=build/asan SANITIZE=address,undefined build unit-programs replay-programs

sanitizer-tests:
	@$(MAKE) --no-print-directory tsan asan cmap-tsan fuzz-replay

.PHONY: unit-programs
unit-programs: $(UNIT_TESTS) $(BUILD)/tests/pool_real

# The pool against scenarios in cmap-format: ours, those of the specification where somebody has them (their licence is
# not ours); the proof that the runner can fail; and ours again under ThreadSanitizer.
.PHONY: cmap cmap-tsan cmap-programs
cmap-programs: $(BUILD)/tests/cmap_runner

cmap: cmap-programs
	$(BUILD)/tests/cmap_runner tests/cmap/scenarios
	$(if $(wildcard $(CMAP_FILES)/*.json),$(BUILD)/tests/cmap_runner $(CMAP_FILES))
	tests/cmap/selftest $(BUILD)/tests/cmap_runner

cmap-tsan:
	@$(MAKE) --no-print-directory -s $(JOBS) BUILD=build/tsan SANITIZE=thread cmap-programs
	build/tsan/tests/cmap_runner tests/cmap/scenarios

unit: unit-programs
	@tests/unit/run $(UNIT_TESTS)

# The unit tests under ThreadSanitizer, and the proof that it sees the unsafe map's race.
tsan:
	@$(MAKE) --no-print-directory -s $(JOBS) BUILD=build/tsan SANITIZE=thread build unit-programs
	@tests/unit/run_tsan build/tsan/tests

asan:
	@$(MAKE) --no-print-directory -s $(JOBS) BUILD=build/asan SANITIZE=address,undefined build unit-programs
	@tests/unit/run $(patsubst build/%,build/asan/%,$(UNIT_TESTS))

# Five minutes of libFuzzer on the reading of HTTP answers, one on each of the other targets, under AddressSanitizer and
# UBSan. FUZZ_SECONDS=N: as long on each.
.PHONY: fuzz fuzz-programs fuzz-replay replay-programs
fuzz:
	@deploy/deps.sh build test fuzz
	@$(MAKE) --no-print-directory -s $(JOBS) BUILD=build/fuzz CC=clang WARNINGS= SANITIZE=fuzzer-no-link,address,undefined fuzz-programs
	@$(if $(FUZZ_SECONDS),FUZZ_SECONDS=$(FUZZ_SECONDS)) tests/fuzz/run

fuzz-programs: $(addprefix $(BUILD)/tests/fuzz_,$(FUZZ_TARGETS))
replay-programs: $(addprefix $(BUILD)/tests/replay_,$(FUZZ_TARGETS))

# The committed inputs, those that once ended a target among them: seconds, and without clang.
fuzz-replay:
	@$(MAKE) --no-print-directory -s $(JOBS) BUILD=build/asan SANITIZE=address,undefined replay-programs
	@tests/fuzz/replay build/asan/tests

# Against a real PostgreSQL, with the programs of build/, build/tsan and build/asan. Three at a time, a file to each: most of
# them wait most of the time, and each is to stand a busy machine anyway.
PYTEST := /usr/bin/python3 -m pytest -q -p no:cacheprovider
integration: build $(BUILD)/tests/pool_real $(BUILD)/tests/cmap_runner
	$(PYTEST) -n 3 --dist loadscope -m "not long" tests/integration

# The tests that take ten seconds or more each: a demo that is interrupted at every stage, the storm of toggles, the load
# tester's proof of itself.
test-long:
	@deploy/deps.sh build run test
	@$(MAKE) --no-print-directory -s $(JOBS) build sanitizer-programs
	$(PYTEST) -n 2 --dist loadgroup -m "long and not alone" tests/integration
	$(PYTEST) -m alone tests/integration

# docker-compose.yml in real containers, on images made here: no registry is asked. As root.
.PHONY: test-compose
test-compose:
	@deploy/deps.sh build run test compose
	@$(MAKE) --no-print-directory -s $(JOBS) build
	@exec tests/compose/run

# Format, lint, architecture, documentation.
check:
	@deploy/deps.sh build test check
	@$(MAKE) --no-print-directory -s $(JOBS) build
	@tests/checks/run

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

# ---- measurements ------------------------------------------------------------------------------------------------

# Rates with query latency 0 beside pgbench's, in one run.
bench:
	@deploy/deps.sh build run bench
	@$(MAKE) --no-print-directory -s $(JOBS) build
	@tests/bench/run

# What `loadtest capacity` finds, beside what it should be on paper.
bench-capacity:
	@deploy/deps.sh build run
	@$(MAKE) --no-print-directory -s $(JOBS) build
	@tests/bench/capacity

# What checkout and check-in cost over a stub: no database, no I/O. JSON=FILE keeps the figures.
bench-pool:
	@deploy/deps.sh build
	@$(MAKE) --no-print-directory -s $(JOBS) $(BUILD)/tests/pool_bench
	@$(BUILD)/tests/pool_bench $(if $(JSON),--json $(JSON))

# The load tester beside wrk, in one run against one server; its lag; its memory over a million requests.
.PHONY: bench-load
bench-load:
	@deploy/deps.sh build bench
	@$(MAKE) --no-print-directory -s $(JOBS) build $(BUILD)/tests/static_server
	@tests/bench/load_run

# 200 s of random toggling under load, crashes included.
storm:
	@deploy/deps.sh build run test
	@$(MAKE) --no-print-directory -s $(JOBS) build
	@exec tests/storm/run

# 1,000 requests a second for 20 s, whose deadlines all pass.
storm-deadlines:
	@deploy/deps.sh build run test
	@$(MAKE) --no-print-directory -s $(JOBS) build
	STORM_SECONDS=20 /usr/bin/python3 -m pytest -q -s -p no:cacheprovider tests/integration/test_deadline_storm.py

# ---- experiments -------------------------------------------------------------------------------------------------

# Every fault shows, every fix holds, every non-fix fails. RUNS=20: so often. ONLY=name: that scenario.
.PHONY: proof proof-broken
proof:
	@deploy/deps.sh build run test
	@$(MAKE) --no-print-directory -s $(JOBS) build
	@exec tests/incident/proof $(if $(RUNS),--runs $(RUNS)) $(if $(ONLY),--only $(ONLY))

# The scenarios broken on purpose: the proof must notice each time.
proof-broken:
	@deploy/deps.sh build run test
	@$(MAKE) --no-print-directory -s $(JOBS) build
	@exec tests/incident/proof --break $(if $(ONLY),--only $(ONLY))

# What PostgreSQL goes on doing for a service that has died. ONLY=WORD: the cases whose names hold it.
.PHONY: orphans
orphans:
	@deploy/deps.sh build run test
	@$(MAKE) --no-print-directory -s $(JOBS) build
	@$(if $(ONLY),ONLY="$(ONLY)") tests/incident/orphans

# What the buggy service sustains, and what each change alone makes of it; some 35 minutes. ONLY=ROW: one row.
.PHONY: interventions
interventions:
	@deploy/deps.sh build run test
	@$(MAKE) --no-print-directory -s $(JOBS) build
	@$(if $(ONLY),ONLY="$(ONLY)") tests/incident/interventions

# The fire that the example postmortem tells, from release to repair; 100 s.
.PHONY: drill
drill:
	@deploy/deps.sh build run test
	@$(MAKE) --no-print-directory -s $(JOBS) build
	@exec tests/incident/drill

# Takes what the experiments left in build/ into docs/findings.json, and fills the documents' blocks from that.
.PHONY: findings
findings:
	@tests/incident/write_findings

# ---- the rest ----------------------------------------------------------------------------------------------------

deps:
	@deploy/deps.sh build run test bench fuzz check

# Each bug beside its fix.
diff-variants:
	@deploy/diff-variants.sh

clean:
	rm -rf $(BUILD)
