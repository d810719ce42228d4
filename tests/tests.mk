# Programs of the tests, the tests, and the measurements. Included by the Makefile.

# ---- programs ----------------------------------------------------------------------------------------------------

# A unit test is one file with its own main(). It links the objects that it uses, except the programs' main files.
UNIT_TESTS   := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/*/test_*.c))
TESTED       := $(COMMON_OBJECTS) $(filter-out %/main.o,$(sort $(SERVICE_OBJECTS) $(LOADTEST_OBJECTS) $(DRILL_OBJECTS))) \
                $(call objects,$(wildcard tests/support/*.c))
CMAP_OBJECTS := $(call objects,$(wildcard tests/cmap/*.c))
# The folder of the CMAP specification's own test files, if there is one.
CMAP_FILES ?= ../shared/cmap
FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

$(BUILD)/tests/tested.a: $(TESTED)
	@mkdir -p $(dir $@)
	@rm -f $@
	ar rcsT $@ $^

link_tested = $(CC) $(ALL_LDFLAGS) $(1) -o $@ $^ -lcmocka $(SERVICE_LIBS) $(LOADTEST_LIBS) $(DRILL_LIBS)

$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(BUILD)/tests/tested.a
	@mkdir -p $(dir $@)
	$(call link_tested)

$(BUILD)/tests/cmap_runner: $(CMAP_OBJECTS) $(BUILD)/tests/tested.a
	$(call link_tested)

# The pool against a real PostgreSQL, which pytest starts for it.
$(BUILD)/tests/pool_real: $(BUILD)/obj/tests/integration/pool_real.o $(BUILD)/tests/tested.a
	$(call link_tested)

# The pool alone: the tests' stub replaces the database.
$(BUILD)/tests/pool_bench: $(BUILD)/obj/tests/bench/pool_bench.o $(BUILD)/tests/tested.a
	$(call link_tested)

# The server that make bench-load gives to both load testers.
$(BUILD)/tests/static_server: $(BUILD)/obj/tests/bench/static_server.o
	@mkdir -p $(dir $@)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(shell pkg-config --libs libmicrohttpd)

# The peers of make bench-peers, from Debian's packages alone.
$(BUILD)/peers/go/peer: tests/bench/peers/go/peer.go
$(BUILD)/peers/go/pool: tests/bench/peers/go/pool/pool.go
$(BUILD)/peers/go/%:
	@mkdir -p $(dir $@)
	GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE="$$(realpath $(BUILD))/peers/go-cache" go build -trimpath -o $@ $<

$(BUILD)/peers/java/%.class: tests/bench/peers/java/%.java
	@mkdir -p $(dir $@)
	javac -cp /usr/share/java/HikariCP.jar -d $(dir $@) $<

# The load tester's parsers, fed by libFuzzer (clang's) or with files (any compiler's).
$(BUILD)/tests/fuzz_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/tests/tested.a
	$(call link_tested,-fsanitize=fuzzer)

$(BUILD)/tests/replay_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/obj/tests/fuzz/replay.o $(BUILD)/tests/tested.a
	$(call link_tested)

.PHONY: unit-programs cmap-programs fuzz-programs replay-programs sanitizer-programs peer-programs
unit-programs: $(UNIT_TESTS) $(BUILD)/tests/pool_real
cmap-programs: $(BUILD)/tests/cmap_runner
fuzz-programs: $(addprefix $(BUILD)/tests/fuzz_,$(FUZZ_TARGETS))
replay-programs: $(addprefix $(BUILD)/tests/replay_,$(FUZZ_TARGETS))
peer-programs: $(addprefix $(BUILD)/peers/,go/peer go/pool java/Peer.class java/PoolPeer.class)

TSAN := BUILD=build/tsan SANITIZE=thread
ASAN := BUILD=build/asan SANITIZE=address,undefined
sanitizer-programs:
	@$(MAKE) --no-print-directory -s $(JOBS) $(TSAN) build unit-programs cmap-programs
	@$(MAKE) --no-print-directory -s $(JOBS) $(ASAN) build unit-programs replay-programs

# ---- tests -------------------------------------------------------------------------------------------------------

PYTEST := /usr/bin/python3 -m pytest -q

.PHONY: test test-long test-drill test-compose compose-images unit integration cmap cmap-tsan tsan asan sanitizer-tests fuzz fuzz-replay check
# First the tests without a database, two jobs at a time, and each job's output when it ends. Then the integration
# tests, which need both processors for themselves. A failure does not stop the others.
test: ## runs all tests except the long ones
	$(call prepare,build run test,build unit-programs cmap-programs sanitizer-programs)
	@status=0; \
	$(MAKE) --no-print-directory -k -j2 --output-sync=target unit cmap sanitizer-tests || status=1; \
	$(MAKE) --no-print-directory integration || status=1; \
	exit $$status

test-long: ## runs the tests that take ten seconds or more each
	$(call prepare,build run test,build sanitizer-programs)
	@status=0; \
	$(PYTEST) -n 2 --dist loadgroup -m "long and not alone" tests/integration || status=1; \
	$(PYTEST) -m alone tests/integration || status=1; \
	exit $$status

test-drill: ## plays every drill, with a change that does not repair it and one that does; some 20 minutes
	$(call prepare,build run test,build)
	$(PYTEST) tests/integration/test_drill.py

test-compose: ## tests docker-compose.yml in real containers, on images made here; as root
	$(call prepare,build run test compose,build)
	@exec tests/compose/run

compose-images: ## makes the images for test-compose
	@deploy/deps.sh compose
	@exec tests/compose/run images

unit: unit-programs ## runs the unit tests
	@tests/unit/run $(UNIT_TESTS)

# Against a real PostgreSQL, with the programs of build, build/tsan and build/asan. Four files run at a time: most tests
# wait most of the time, and each test must pass on a busy machine.
integration: build $(BUILD)/tests/pool_real $(BUILD)/tests/cmap_runner ## runs the integration tests on a built tree
	$(PYTEST) -n 4 --dist loadscope -m "not long and not drill" tests/integration

# The pool against scenarios in cmap-format: ours, and those of the specification if they are there (their licence is
# not ours). Then the proof that the runner can fail. cmap-tsan runs ours again under ThreadSanitizer.
cmap: cmap-programs ## runs the CMAP scenarios
	$(BUILD)/tests/cmap_runner tests/cmap/scenarios
	$(if $(wildcard $(CMAP_FILES)/*.json),$(BUILD)/tests/cmap_runner $(CMAP_FILES))
	tests/cmap/selftest $(BUILD)/tests/cmap_runner

cmap-tsan: ## runs the CMAP scenarios under ThreadSanitizer
	@$(MAKE) --no-print-directory -s $(JOBS) $(TSAN) cmap-programs
	build/tsan/tests/cmap_runner tests/cmap/scenarios

sanitizer-tests:
	@$(MAKE) --no-print-directory tsan asan cmap-tsan fuzz-replay

tsan: ## runs the unit tests under ThreadSanitizer, which must see the unsafe map's race
	@$(MAKE) --no-print-directory -s $(JOBS) $(TSAN) build unit-programs
	@tests/unit/run_tsan build/tsan/tests/unit

asan: ## runs the unit tests under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory -s $(JOBS) $(ASAN) build unit-programs
	@tests/unit/run $(patsubst build/%,build/asan/%,$(UNIT_TESTS))

# Runs libFuzzer under AddressSanitizer and UBSan: five minutes on the parser of HTTP answers, one minute on each of the
# other targets.
fuzz: ## looks for inputs that break a parser; FUZZ_SECONDS=N: N seconds on each
	@deploy/deps.sh build test fuzz
	@$(MAKE) --no-print-directory -s $(JOBS) BUILD=build/fuzz CC=clang WARNINGS= SANITIZE=fuzzer-no-link,address,undefined fuzz-programs
	@$(if $(FUZZ_SECONDS),FUZZ_SECONDS=$(FUZZ_SECONDS)) tests/fuzz/run

fuzz-replay: ## replays the committed inputs of the fuzz targets
	@$(MAKE) --no-print-directory -s $(JOBS) $(ASAN) replay-programs
	@tests/fuzz/replay build/asan/tests

check: ## checks format, lint, architecture and documentation
	$(call prepare,build test check,build)
	@tests/checks/run

# ---- measurements ------------------------------------------------------------------------------------------------

.PHONY: bench bench-capacity bench-growth bench-peers bench-pool bench-pool-peers bench-load incident-go storm soak storm-deadlines
bench: ## compares the service's rates with pgbench's, with query latency 0
	$(call prepare,build run bench,build)
	@tests/bench/run

bench-capacity: ## compares the service's capacity with the figure on paper
	$(call prepare,build run,build)
	@tests/bench/capacity

bench-growth: ## plots how costs grow with items, callers, connections, threads and replicas
	$(call prepare,build run bench plot,build)
	@exec tests/bench/growth

bench-peers: ## compares the service's rates with those of a Go and a Java program, and with pgbench's
	$(call prepare,build run bench peers,build peer-programs)
	@exec tests/bench/peers/run

incident-go: ## runs the incident as a Go program, beside ours; 20 s of load each
	$(call prepare,build run peers,build peer-programs)
	@exec tests/bench/peers/incident

bench-pool: ## measures checkout and check-in over a stub; JSON=FILE keeps the figures
	$(call prepare,build,$(BUILD)/tests/pool_bench)
	@$(BUILD)/tests/pool_bench $(if $(JSON),--json $(JSON))

bench-pool-peers: ## measures the pool beside Go's database/sql and Java's HikariCP
	$(call prepare,build run peers,build peer-programs $(BUILD)/tests/pool_bench)
	@exec tests/bench/peers/pools

bench-load: ## compares the load tester with wrk; measures its lag and its memory
	$(call prepare,build bench,build $(BUILD)/tests/static_server)
	@tests/bench/load_run

storm: ## flips toggles at random for 200 s under load, crashes included
	$(call prepare,build run test,build)
	@exec tests/storm/run

soak: ## load, toggles, kills, database restarts for an hour: nothing may grow; SOAK_SECONDS=240: shorter
	$(call prepare,build run test plot,build)
	@exec tests/storm/soak

storm-deadlines: ## sends 1,000 requests a second for 20 s, all beyond their deadlines
	$(call prepare,build run test,build)
	STORM_SECONDS=20 $(PYTEST) -s tests/integration/test_deadline_storm.py
