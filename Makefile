# Flashover. `make demo` shows the fire and the fix, `make test` proves both; `make help` lists the rest.
.DEFAULT_GOAL := all
SHELL := /bin/bash

# A variant build has its own directory: make BUILD=build/tsan SANITIZE=thread
BUILD    ?= build
SANITIZE ?=

ifeq ($(origin CC),default) # make's own is cc
CC       := gcc
endif
PACKAGES := libmicrohttpd libpq jansson libcurl libunwind libdw yaml-0.1
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wformat=2 -Wundef -Wvla
CFLAGS   ?= -O2 -g
# Debian's dpkg-buildflags and FORTIFY_SOURCE=3; tests/checks/hardening looks at the binaries. A sanitizer has checks
# of its own, and FORTIFY_SOURCE works on optimised code only.
HARDENING := -fPIE -fstack-protector-strong -fstack-clash-protection
FORTIFY    = $(if $(SANITIZE)$(findstring -O0,$(CFLAGS)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
# WERROR=1 (as `make check` and CI build) turns warnings into errors; a user's newer compiler may warn of more.
# Without sibling calls: a dump's stacks must have every caller, the variant's own function above all.
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE -I. $(WARNINGS) $(if $(WERROR),-Werror) -fno-omit-frame-pointer \
             -fno-optimize-sibling-calls -pthread $(HARDENING) $(FORTIFY) \
             $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all) \
             $(PACKAGE_CFLAGS) $(CFLAGS)
ALL_LDFLAGS = -pthread -pie -Wl,-z,relro,-z,now $(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(LDFLAGS)
# Asked once a make, not once a file. (Where packages are missing, `deps` gets them before the make that builds.)
PACKAGE_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
SERVICE_LIBS  := $(shell pkg-config --libs libmicrohttpd libpq jansson libunwind libdw 2>/dev/null) -lm
LOADTEST_LIBS := $(shell pkg-config --libs libmicrohttpd jansson libcurl 2>/dev/null) -lhttp_parser -lm
DRILL_LIBS    := $(shell pkg-config --libs libmicrohttpd jansson libcurl libpq yaml-0.1 2>/dev/null) -lm

# Every folder below these belongs to the program.
sources = $(wildcard $(addprefix $(1)/,*.c */*.c */*/*.c *.S */*.S */*/*.S))
objects = $(addprefix $(BUILD)/obj/,$(addsuffix .o,$(basename $(1))))
COMMON_OBJECTS   := $(call objects,$(wildcard common/*.c common/http/*.c))
CLIENT_OBJECTS   := $(call objects,$(wildcard common/client/*.c common/page/*.S))
SERVICE_OBJECTS  := $(call objects,$(call sources,service))
LOADTEST_OBJECTS := $(call objects,$(call sources,loadtest)) $(CLIENT_OBJECTS)
DRILL_OBJECTS    := $(call objects,$(call sources,drill)) $(CLIENT_OBJECTS)
# Debian's, for the HTML report.
CHART_JS := /usr/share/javascript/chart.js/chart.min.js

# Two jobs, unless a make above us hands them out already.
JOBS = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j2)

# $(call prepare,PACKAGES OF,TARGETS): what a target needs first: the packages of deploy/deps.sh's groups, and these
# targets.
define prepare
	@deploy/deps.sh $(1)
	@$(MAKE) --no-print-directory -s $(JOBS) $(2)
endef

.PHONY: all build
all: build ## builds the programs
	@echo 'Built $(BUILD)/service, $(BUILD)/loadtest and $(BUILD)/drill. Next: make demo, make up or make test; make help lists all targets.'

build: $(BUILD)/service $(BUILD)/loadtest $(BUILD)/drill

$(BUILD)/service: $(SERVICE_OBJECTS) $(COMMON_OBJECTS)
	@mkdir -p $(dir $@)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(SERVICE_LIBS)

$(BUILD)/loadtest: $(LOADTEST_OBJECTS) $(COMMON_OBJECTS)
	@mkdir -p $(dir $@)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LOADTEST_LIBS)

$(BUILD)/drill: $(DRILL_OBJECTS) $(COMMON_OBJECTS)
	@mkdir -p $(dir $@)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(DRILL_LIBS)

# With WERROR=1 every object is one that was made so: the stamp is younger than those made without, which take it away.
WERROR_STAMP := $(BUILD)/obj/made-with-werror
$(BUILD)/obj/%.o: %.c Makefile $(if $(WERROR),$(WERROR_STAMP))
	@mkdir -p $(dir $@) $(if $(WERROR),,&& rm -f $(WERROR_STAMP))
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(WERROR_STAMP):
	@mkdir -p $(dir $@)
	@touch $@

# Files that a program holds: no dependency file names what the assembler takes in.
.SECONDEXPANSION:
$(BUILD)/obj/%.o: %.S common/page/asset.inc $$(wildcard $$(dir $$*)*) $(CHART_JS) Makefile
	@mkdir -p $(dir $@)
	$(CC) -I. -DCHART_JS='"$(CHART_JS)"' -c -o $@ $<

# Objects are kept: without this, make deletes those that only a pattern rule leads to, and builds them again next time.
.PRECIOUS: $(BUILD)/obj/%.o
-include $(shell [ -d $(BUILD)/obj ] && find $(BUILD)/obj -name '*.d' 2>/dev/null)

# ---- the lab -----------------------------------------------------------------------------------------------------

.PHONY: demo up drill down reset logs
demo: ## sets the fire off and shows the fix on a lab of its own; results in build/demo
	$(call prepare,build run,build)
	@exec deploy/lab.sh demo

up: ## starts the whole lab and leaves it running; PORT_BASE=18080: a second one
	$(call prepare,build run,build)
	@exec deploy/lab.sh up

drill: ## an incident whose cause nobody in the room knows: prints a link; LEVEL=0 to 3
	$(call prepare,build run,build)
	@$(if $(LEVEL),LEVEL="$(LEVEL)") deploy/lab.sh drill

down: ## stops the lab
reset: ## makes data, toggles and settings as new
logs: ## follows the lab's logs
down reset logs:
	@exec deploy/lab.sh $@

# Not there where an image builds the programs alone.
-include tests/tests.mk experiments/experiments.mk

# ---- the rest ----------------------------------------------------------------------------------------------------

.PHONY: deps format diff-variants clean help
deps: ## installs every package that a target may need
	@deploy/deps.sh build run test bench plot fuzz check

format: ## formats the C files
	clang-format -i $$(git ls-files '*.c' '*.h')

diff-variants: ## prints each bug beside its fix
	@deploy/diff-variants.sh

clean: ## removes what was built
	@$(if $(filter build,$(BUILD)),[[ ! -x deploy/lab.sh ]] || deploy/lab.sh none)
	rm -rf $(BUILD)

help: ## lists the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | sort | while IFS=$$'\t' read -r target text; do \
		printf '%-16s %s\n' "$$target" "$$text"; done
