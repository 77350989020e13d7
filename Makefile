# Sluice. `make help` lists the targets; README.md says what they promise.
#
# Rooms are folders with an archive each; a room links with the rooms it may
# include (see the map in README.md) and nothing else, so a forbidden arrow
# does not even link. A flavour (release, faults, asan, tsan, fuzz) is a set of
# compiler flags with a build folder of its own.

BUILD   ?= build
FLAVOUR ?= release
OUT     := $(BUILD)/$(FLAVOUR)

# ---- rooms and their arrows ------------------------------------------------
ROOMS := base columns parquet object delta snapshot jobs catalog journal intake audit remote handlers workers server

dir_base     := storage/base
dir_columns  := storage/columns
dir_parquet  := storage/parquet
dir_object   := storage/object
dir_delta    := storage/delta
dir_snapshot := storage/snapshot
dir_catalog  := storage/catalog
dir_journal  := storage/journal
dir_intake   := storage/intake
dir_audit    := storage/audit
dir_jobs     := storage/jobs
dir_remote   := storage/remote
dir_handlers := handlers
dir_workers  := workers
dir_server   := server server/cli

deps_base     :=
deps_columns  := base
deps_parquet  := columns base
deps_object   := base
deps_delta    := parquet object columns base
deps_snapshot := delta parquet object columns base
deps_catalog  := jobs columns base
deps_journal  := base
deps_intake   := catalog jobs journal columns base
deps_audit    := journal base
deps_jobs     := columns base
deps_remote   := base
deps_handlers := snapshot intake catalog jobs journal audit remote columns delta parquet object base
deps_workers  := snapshot intake catalog jobs journal audit remote delta parquet object columns base
deps_server   := handlers workers snapshot intake catalog jobs journal audit remote delta parquet object columns base

# what the tests of a room link besides (tests may see everything)
testdeps_catalog := journal

# ---- tools and flags -------------------------------------------------------
PACKAGES := libmicrohttpd jansson sqlite3 libsodium libcurl libzstd libxxhash \
           yaml-0.1 gnutls libpcre2-8 zlib liblz4
# snappy and roaring ship no pkg-config file with C flags
LIBS = $(shell pkg-config --libs $(PACKAGES)) -lsnappy -lroaring -lpthread -lm

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wold-style-definition -Wpointer-arith -Wcast-qual -Wcast-align -Wwrite-strings -Wvla \
            -Wformat=2 -Wundef -Wimplicit-fallthrough -Wnull-dereference
WERROR   ?= -Werror

cc_release  := gcc
cc_faults   := gcc
cc_asan     := gcc
cc_tsan     := gcc
cc_fuzz     := clang
cc_cover    := clang
flags_release := -O2 -D_FORTIFY_SOURCE=2 -fstack-clash-protection -fcf-protection
flags_faults  := $(flags_release) -DSLUICE_FAULTS
flags_asan    := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -DSLUICE_FAULTS
flags_tsan    := -O1 -fsanitize=thread
# enumerations are unsigned to clang alone, and assert(!"reason") is meant
flags_fuzz    := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
                 -Wno-sign-conversion -Wno-string-conversion
flags_cover   := -O1 -fsanitize=fuzzer-no-link -fprofile-instr-generate -fcoverage-mapping \
                 -Wno-sign-conversion -Wno-string-conversion
link_release  := -pie -Wl,-z,relro,-z,now
link_faults   := $(link_release)
link_asan     := -fsanitize=address,undefined
link_tsan     := -fsanitize=thread
link_fuzz     := -fsanitize=fuzzer,address,undefined
link_cover    := -fsanitize=fuzzer -fprofile-instr-generate

CC     := $(cc_$(FLAVOUR))
CFLAGS := -std=gnu11 -g -fPIE -fno-common -fno-omit-frame-pointer -fstack-protector-strong \
          -D_GNU_SOURCE $(WARNINGS) $(WERROR) -I. -I$(OUT) -include storage/base/banned.h \
          $(flags_$(FLAVOUR)) -MMD -MP
LDFLAGS := $(link_$(FLAVOUR))

# one word and a file a step; make V=1 shows the commands
V ?= 0
say_0 = @printf '  %-5s %s\n' $(1) $(2);
say = $(if $(filter 0,$(V)),$(call say_0,$(1),$(2)))

# ---- what is built ---------------------------------------------------------
# main.c stays out of its archive: unit tests bring a main of their own
src = $(filter-out server/main.c,$(sort $(foreach d,$(dir_$(1)),$(wildcard $(d)/*.c))))
obj = $(patsubst %.c,$(OUT)/%.o,$(call src,$(1)))
lib = $(OUT)/lib$(1).a
libs = $(foreach r,$(1) $(deps_$(1)),$(call lib,$(r)))

.DEFAULT_GOAL := all
.PHONY: all help
all: $(BUILD)/sluice

help:
	@sed -n 's/^#: //p' $(MAKEFILE_LIST)

$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(CFLAGS) -c $< -o $@

define room_rules
$(call lib,$(1)): $(call obj,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(call say,AR,$$@)ar rcs $$@ $$(filter %.o,$$^)
endef
$(foreach r,$(ROOMS),$(eval $(call room_rules,$(r))))

# ---- the contract: openapi.yaml → route table, prototypes, JSON and page ----
GENERATOR := $(BUILD)/openapi-generate
GENERATED := $(OUT)/generated
$(GENERATOR): $(wildcard openapi/*.c) $(addprefix storage/base/,err.c mem.c buffer.c) $(wildcard openapi/*.h)
	@mkdir -p $(@D)
	$(call say,CC,$@)gcc -std=gnu11 -O1 -g -D_GNU_SOURCE $(WARNINGS) $(WERROR) -I. -include storage/base/banned.h \
	    -o $@ $(filter %.c,$^) -lyaml

$(GENERATED)/routes.c $(GENERATED)/operations.h $(GENERATED)/contract.c &: openapi/openapi.yaml $(GENERATOR)
	@mkdir -p $(GENERATED)
	$(call say,GEN,$(GENERATED))$(GENERATOR) $< $(GENERATED)

$(GENERATED)/%.o: $(GENERATED)/%.c
	$(call say,CC,$@)$(CC) $(CFLAGS) -c $< -o $@

$(call obj,handlers) $(call obj,server) $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/unit/handlers/*.c tests/unit/server/*.c tests/stress/server/*.c)): \
    | $(GENERATED)/operations.h
$(GENERATED)/routes.o: $(GENERATED)/operations.h
$(call lib,server): $(GENERATED)/routes.o
$(call lib,handlers): $(GENERATED)/contract.o

#: make                build/sluice
$(BUILD)/sluice: $(OUT)/sluice
	@cp -f $< $@

$(OUT)/sluice: $(OUT)/server/main.o $(call libs,server)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $(OUT)/server/main.o -Wl,--whole-archive $(call lib,server) -Wl,--no-whole-archive \
	    -Wl,--start-group $(filter-out $(call lib,server),$(call libs,server)) -Wl,--end-group $(LIBS)

# ---- unit tests: one program a room, linked with that room and its arrows ---
unit_src = $(sort $(foreach d,$(dir_$(1)),$(wildcard tests/unit/$(d)/*.c)))
UNIT_ROOMS := $(foreach r,$(ROOMS),$(if $(call unit_src,$(r)),$(r)))
SUPPORT_OBJ := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/support/*.c))

# Criterion's runner leaks its own bookkeeping when it runs tests side by side
unit_jobs = $(if $(filter asan,$(FLAVOUR)),1,2)
# of one room: a test that hangs is a failure, not the end of the run (Criterion's own --timeout
# does not end a test that sleeps)
unit_seconds := 900

define unit_rules
$(OUT)/unit/$(1): $(patsubst %.c,$(OUT)/%.o,$(call unit_src,$(1))) $(SUPPORT_OBJ) $(call libs,$(1)) $(foreach r,$(testdeps_$(1)),$(call lib,$(r)))
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)$(CC) $(LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $(LIBS) -lcriterion
.PHONY: unit-$(1)
unit-$(1): $(OUT)/unit/$(1)
	ASAN_OPTIONS=abort_on_error=1 timeout --kill-after=10 $(unit_seconds) $$< -j$(unit_jobs)
endef
$(foreach r,$(UNIT_ROOMS),$(eval $(call unit_rules,$(r))))

#: make unit           unit tests of every room (make unit-parquet: of one)
.PHONY: unit
unit: $(foreach r,$(UNIT_ROOMS),unit-$(r))

# ---- fuzz targets: tests/fuzz/<room>/fuzz_<name>.c, corpus in tests/fuzz/corpus/<name> ---
define fuzz_rules
$(OUT)/fuzz/$(2): $(OUT)/tests/fuzz/$(1)/$(2).o $(call libs,$(1))
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)$(CC) $(LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $(LIBS)
FUZZ_PROGRAMS += $(OUT)/fuzz/$(2)
endef
$(foreach r,$(ROOMS),$(foreach f,$(wildcard tests/fuzz/$(r)/fuzz_*.c),$(eval $(call fuzz_rules,$(r),$(basename $(notdir $(f)))))))

# ---- stress programs: tests/stress/<room>/stress_<name>.c, plain main, run under TSan ---
stress_support_server := $(OUT)/tests/support/http_client.o
define stress_rules
$(OUT)/stress/$(2): $(OUT)/tests/stress/$(1)/$(2).o $(stress_support_$(1)) $(call libs,$(1)) $(foreach r,$(testdeps_$(1)),$(call lib,$(r)))
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)$(CC) $(LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $(LIBS)
STRESS_PROGRAMS += $(OUT)/stress/$(2)
endef
$(foreach r,$(ROOMS),$(foreach f,$(wildcard tests/stress/$(r)/stress_*.c),$(eval $(call stress_rules,$(r),$(basename $(notdir $(f)))))))

# ---- what everyone relies on -----------------------------------------------
# Targets that start from a bare machine install what is missing first and then
# run make again, because the flags above need pkg-config to be there already.
.PHONY: packages-build packages-test packages-lint packages-proof packages-count packages-bench
packages-build packages-test packages-lint packages-proof packages-count packages-bench: packages-%:
	@docker/install-packages.sh build $(filter-out build,$*)

#: make demo           install, build, serve, ingest a realistic data set, look members up
.PHONY: demo
demo: packages-build
	@docker/install-packages.sh run
	@$(MAKE) --no-print-directory -j2 all
	@tests/demo/demo.sh $(BUILD)/sluice

#: make run            serve ./data
.PHONY: run
run: packages-build
	@$(MAKE) --no-print-directory -j2 all
	$(BUILD)/sluice serve --data data

#: make test           install, build, unit and end-to-end tests
.PHONY: test e2e
test: packages-test
	@$(MAKE) --no-print-directory -j2 all unit-programs tools-programs
	@$(MAKE) --no-print-directory unit e2e

e2e: all tools-programs
	SLUICE=$(BUILD)/sluice TOOLS=$(OUT)/tools tests/e2e/run.sh

.PHONY: unit-programs fuzz-programs stress-programs
unit-programs: $(foreach r,$(UNIT_ROOMS),$(OUT)/unit/$(r))
fuzz-programs: $(FUZZ_PROGRAMS)
stress-programs: $(STRESS_PROGRAMS)

#: make asan           unit and end-to-end tests under ASan, UBSan and LSan
.PHONY: asan
asan: packages-test
	@$(MAKE) --no-print-directory -j2 FLAVOUR=asan BUILD=$(BUILD)/asan-run all unit-programs tools-programs
	@$(MAKE) --no-print-directory FLAVOUR=asan BUILD=$(BUILD)/asan-run unit e2e

#: make tsan           stress programs under TSan
.PHONY: tsan
tsan: packages-test
	@$(MAKE) --no-print-directory -j2 FLAVOUR=tsan BUILD=$(BUILD)/tsan-run stress-programs
	@tests/stress/run.sh $(BUILD)/tsan-run/tsan/stress

#: make fuzz-smoke     every fuzz target FUZZ_SECONDS (default 10) on its corpus
.PHONY: fuzz-smoke
FUZZ_SECONDS ?= 10
fuzz-smoke: packages-lint
	@$(MAKE) --no-print-directory -j2 FLAVOUR=fuzz BUILD=$(BUILD)/fuzz-run fuzz-programs
	@tests/fuzz/run.sh $(BUILD)/fuzz-run/fuzz/fuzz $(FUZZ_SECONDS)

#: make fuzz-record    the same; executions are added to tests/fuzz/RESULTS.md
.PHONY: fuzz-record
fuzz-record: packages-lint
	@$(MAKE) --no-print-directory -j2 FLAVOUR=fuzz BUILD=$(BUILD)/fuzz-run fuzz-programs
	@tests/fuzz/run.sh $(BUILD)/fuzz-run/fuzz/fuzz $(FUZZ_SECONDS) > $(BUILD)/fuzz-run/results; \
	    code=$$?; cat $(BUILD)/fuzz-run/results; tests/fuzz/record.sh $(BUILD)/fuzz-run/results; exit $$code

#: make fuzz-coverage  lines of each decoder that the corpus reaches; grows it first with FUZZ_GROW=FOLDER
.PHONY: fuzz-coverage
fuzz-coverage: packages-lint packages-test
	@$(MAKE) --no-print-directory -j2 FLAVOUR=cover BUILD=$(BUILD)/cover-run fuzz-programs
	@tests/fuzz/coverage.sh $(BUILD)/cover-run/cover/fuzz $(FUZZ_GROW)

#: make lint           house rules, layout, clang, clang-tidy, cppcheck, gcc -fanalyzer
.PHONY: lint
lint: packages-lint
	@$(MAKE) --no-print-directory $(GENERATED)/operations.h
	@tests/lint/lint.sh $(OUT)

#: make lint-quick     lint without the analysers that take minutes (clang-tidy, gcc -fanalyzer)
.PHONY: lint-quick
lint-quick: packages-lint
	@$(MAKE) --no-print-directory $(GENERATED)/operations.h
	@LINT_ONLY='rules format shell clang cppcheck' tests/lint/lint.sh $(OUT)

#: make crash          kill and restart under load, CRASH_CYCLES (default 50); JOB_KILLS (100) of a job; planted faults
.PHONY: crash
CRASH_CYCLES ?= 50
JOB_KILLS ?= 100
crash: packages-test
	@$(MAKE) --no-print-directory -j2 FLAVOUR=faults BUILD=$(BUILD)/crash-run all crash-programs tools-programs
	@tests/crash/run.sh $(BUILD)/crash-run $(CRASH_CYCLES)
	@tests/crash/jobs.sh $(BUILD)/crash-run $(JOB_KILLS)
	@SLUICE=$(BUILD)/crash-run/sluice TOOLS=$(BUILD)/crash-run/faults/tools SLUICE_FAULTS_PROGRAM=$(BUILD)/crash-run/sluice \
	    tests/e2e/run.sh tests/e2e/test_faults.sh

#: make interop        other engines and we read each other's tables (packages from PyPI, jars of Maven Central)
.PHONY: interop
interop: packages-proof
	@$(MAKE) --no-print-directory -j2 all
	@SLUICE=$(BUILD)/sluice tests/interop/run.sh --compare README.md

#: make interop-readme the same, and its matrix goes into README.md
.PHONY: interop-readme
interop-readme: packages-proof
	@$(MAKE) --no-print-directory -j2 all
	@SLUICE=$(BUILD)/sluice tests/interop/run.sh --readme README.md

#: make powercut       power loss on real file systems (root; not part of check)
.PHONY: powercut
powercut: packages-proof
	@$(MAKE) --no-print-directory -j2 FLAVOUR=faults BUILD=$(BUILD)/crash-run all crash-programs tools-programs
	@tests/crash/powercut.sh $(BUILD)/crash-run

#: make bench          the benchmark set with all peers, about an hour; writes tests/bench/RESULTS.md
.PHONY: bench bench-quick
bench: packages-proof packages-bench
	@$(MAKE) --no-print-directory -j2 all bench-programs
	@SLUICE=$(BUILD)/sluice tests/bench/run.sh $(OUT) --json $(BUILD)/bench.json --results tests/bench/RESULTS.md

#: make bench-quick    the same in small, with the peers that Debian has; under five minutes
bench-quick: packages-bench
	@$(MAKE) --no-print-directory -j2 all bench-programs
	@SLUICE=$(BUILD)/sluice tests/bench/run.sh $(OUT) --quick --json $(BUILD)/bench-quick.json

#: make soak           SOAK_SECONDS (7200) at half load: nothing grows, slows down or fails
SOAK_SECONDS ?= 7200
.PHONY: soak
soak: packages-proof
	@$(MAKE) --no-print-directory -j2 all $(OUT)/bench/bench_http
	@SLUICE=$(BUILD)/sluice python3 tests/bench/soak.py --programs $(OUT)/bench --seconds $(SOAK_SECONDS)

#: make instructions   instructions a record of each stage, against tests/bench/instructions.txt
.PHONY: instructions
instructions: packages-count
	@$(MAKE) --no-print-directory -j2 $(OUT)/bench/bench_stages
	@tests/bench/instructions.sh $(OUT)

#: make instructions-record   makes what is counted now the baseline
.PHONY: instructions-record
instructions-record: packages-count
	@$(MAKE) --no-print-directory -j2 $(OUT)/bench/bench_stages
	@tests/bench/instructions.sh $(OUT) --record

#: make fresh          README's commands in an empty debootstrap folder (root)
.PHONY: fresh
fresh: packages-proof
	@tests/e2e/fresh.sh

#: make check          everything .ci/run calls
.PHONY: check
check: test lint asan tsan fuzz-smoke fuzz-coverage instructions crash interop
	@$(MAKE) --no-print-directory soak SOAK_SECONDS=300

# ---- tool programs: tests/crash/*.c, tests/bench/*.c, tests/tools/*.c (of end-to-end tests); may use every room below server ---
tool_libs := $(call lib,base) $(foreach r,$(filter-out base server,$(ROOMS)),$(call lib,$(r)))
define tool_rules
$(OUT)/$(1)/$(2): $(OUT)/tests/$(1)/$(2).o $(SUPPORT_OBJ) $(tool_libs)
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)$(CC) $(LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LIBS)
$(1)_PROGRAMS += $(OUT)/$(1)/$(2)
endef
$(foreach k,crash bench tools,$(foreach f,$(wildcard tests/$(k)/*.c),$(eval $(call tool_rules,$(k),$(basename $(notdir $(f)))))))
$(OUT)/bench/bench_postgres: LIBS += -lpq
$(OUT)/tests/bench/bench_postgres.o: CFLAGS += -isystem $(shell pkg-config --variable=includedir libpq)

#: make lib            build/libsluice_delta.a: Delta and Parquet alone (storage/delta/delta.h), and a program on it
LIBRARY_ROOMS := delta parquet object columns base
LIBRARY_LIBS = $(shell pkg-config --libs jansson libsodium gnutls libzstd libxxhash libpcre2-8 zlib liblz4) -lsnappy -lroaring -lpthread -lm
library_obj = $(filter-out %/field_name.o,$(foreach r,$(LIBRARY_ROOMS),$(call obj,$(r))))
$(BUILD)/libsluice_delta.a: $(library_obj)
	@rm -f $@
	$(call say,AR,$@)ar rcs $@ $^

$(OUT)/tools/append_rows: $(OUT)/tests/library/append_rows.o $(BUILD)/libsluice_delta.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBRARY_LIBS)
tools_PROGRAMS += $(OUT)/tools/append_rows
.PHONY: lib
lib: packages-build
	@$(MAKE) --no-print-directory -j2 $(BUILD)/libsluice_delta.a $(OUT)/tools/append_rows

.PHONY: crash-programs bench-programs tools-programs
crash-programs: $(crash_PROGRAMS)
bench-programs: $(bench_PROGRAMS)
tools-programs: $(tools_PROGRAMS)

#: make clean          remove what was built
.PHONY: clean
clean:
	rm -rf $(BUILD)

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
