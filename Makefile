# Makefile - builds, runs and tests Service Layer. `make help` lists the targets; sources are found by pattern.
# Settings: SAN=address|thread (sanitizers), DEBUG=1 (no optimisation), V=1 (show commands), PREFIX for install.
SHELL := /bin/bash
.DEFAULT_GOAL := build
VERSION := 0.1.0
PREFIX ?= /usr/local
CC ?= cc
PYTEST ?= /usr/bin/python3 -m pytest
, := ,
VARIANT := $(if $(SAN),-$(SAN))$(if $(DEBUG),-debug)
OUT := build$(VARIANT)
VENV := build/venv
Q := $(if $(V),,@)
# Uses all cores when make itself was not told how many.
SUBMAKE = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

PACKAGES := gcc libc6-dev make pkg-config libuv1-dev node-llhttp libboost-context-dev libcurl4-openssl-dev libpq-dev \
  libsqlite3-dev libssl-dev libsodium-dev libjansson-dev libyaml-dev zlib1g-dev libseccomp-dev libarchive-dev curl jq
TEST_PACKAGES := libcmocka-dev python3-pytest python3-pytest-timeout python3-requests python3-yaml python3-psycopg2 \
  postgresql pgbouncer sqlite3 openssl g++ procps iproute2 passwd wrk zsh fish
# npm fetches the job queues that ours are measured against; a Node.js from elsewhere brings its own.
OPENAPI_PACKAGES := python3-venv
BENCH_PACKAGES := nginx-light $(if $(shell command -v npm),,nodejs npm)
LINT_PACKAGES := clang-format clang-tidy cppcheck
FUZZ_PACKAGES := clang libclang-rt-14-dev

LIBS := libuv libcurl libpq sqlite3 openssl libsodium jansson yaml-0.1 libseccomp zlib
# llhttp: a system library where there is one, else the C sources that node-llhttp ships, in strict mode.
LLHTTP_SYSTEM := $(shell pkg-config --exists libllhttp && echo yes)
LLHTTP_SRC := $(if $(LLHTTP_SYSTEM),,$(wildcard /usr/share/llhttp/*.c))
LLHTTP_CFLAGS := $(if $(LLHTTP_SYSTEM),$(shell pkg-config --cflags libllhttp),-I/usr/share/include/llhttp -DLLHTTP_STRICT_MODE=1)

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith -Wwrite-strings -Werror
OPT := $(if $(DEBUG),-O0 -g3,-O2 -g)
SANFLAGS := $(if $(filter address,$(SAN)),-fsanitize=address$(,)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)\
  $(if $(filter thread,$(SAN)),-fsanitize=thread -fno-omit-frame-pointer)\
  $(if $(filter valgrind,$(SAN)),-DSL_VALGRIND -fno-omit-frame-pointer)\
  $(if $(filter fuzz,$(SAN)),-fsanitize=fuzzer-no-link$(,)address -fno-omit-frame-pointer)
HARDEN := -fstack-protector-strong -fPIE $(if $(DEBUG)$(SAN),,-D_FORTIFY_SOURCE=2)
CFLAGS_HOST = -std=c11 -D_GNU_SOURCE $(OPT) $(WARN) $(SANFLAGS) $(HARDEN) -Iinclude -Ihost -MMD -MP \
  -DSL_VERSION='"$(VERSION)"' $(shell pkg-config --cflags $(LIBS)) $(LLHTTP_CFLAGS)
# libcurl and libpq are loaded when they are needed: host/net/curl.h, host/store/libpq.h.
LDLIBS_HOST = $(shell pkg-config --libs $(filter-out libcurl libpq,$(LIBS))) $(if $(LLHTTP_SYSTEM),-lllhttp) -l:libboost_context.a -lcrypt -ldl -lpthread -lm
SLCTL_LIBS := libcurl openssl jansson yaml-0.1 libarchive
CFLAGS_SLCTL = -std=c11 -D_GNU_SOURCE $(OPT) $(WARN) $(SANFLAGS) $(HARDEN) -Ihost -MMD -MP \
  -DSL_VERSION='"$(VERSION)"' $(shell pkg-config --cflags $(SLCTL_LIBS))
LDLIBS_SLCTL = $(shell pkg-config --libs $(SLCTL_LIBS))
CFLAGS_PLUGIN := -std=c11 -D_GNU_SOURCE $(OPT) $(WARN) $(SANFLAGS) -fPIC -fvisibility=hidden -fno-plt \
  -ftls-model=global-dynamic -Iinclude -Isdk -MMD -MP
LDFLAGS_PLUGIN := -shared -Wl,-z,now -Wl,-z,relro -Wl,--exclude-libs,ALL -Wl,--version-script=sdk/plugin.map \
  -Wl,--build-id $(if $(SAN),,-Wl$(,)-z$(,)defs)

HOST_SRC := $(filter-out host/main.c,$(sort $(wildcard host/*/*.c)))
HOST_OBJ := $(HOST_SRC:host/%.c=$(OUT)/host/%.o) $(patsubst /usr/share/llhttp/%.c,$(OUT)/llhttp/%.o,$(LLHTTP_SRC))
PLUGINS := $(sort $(notdir $(patsubst %/,%,$(dir $(wildcard plugins/*/*.c)))))
PLUGIN_SO := $(PLUGINS:%=$(OUT)/plugins/%.so)
TEST_PLUGIN_SO := $(patsubst tests/contract/plugins/%.c,$(OUT)/test-plugins/%.so,$(sort $(wildcard tests/contract/plugins/*.c)))
UNIT := $(patsubst tests/unit/%.c,$(OUT)/unit/%,$(sort $(wildcard tests/unit/test_*.c)))
FUZZ := $(patsubst tests/fuzz/%.c,$(OUT)/fuzz/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
SLCTL_OBJ := $(patsubst sdk/slctl/%.c,$(OUT)/slctl/%.o,$(sort $(wildcard sdk/slctl/*.c)))
SLCTL := $(if $(VARIANT),$(OUT)/bin/slctl,slctl)
APPSERVER := $(if $(VARIANT),$(OUT)/appserver,appserver)

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

# A fresh machine has no pkg-config when make first reads this file: packages first, then make again for the rest.
build: deps ## build ./appserver, its plugins and ./slctl
	+@$(SUBMAKE) compile
compile: $(APPSERVER) $(PLUGIN_SO) $(SLCTL)

# Root is asked for only when a package is missing.
install_missing = missing=$$(for p in $(1); do dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null | grep -qx installed || echo $$p; done); \
  if [ -n "$$missing" ]; then echo "installing:" $$missing; sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
    $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
deps:
	@$(call install_missing,$(PACKAGES))
test-deps: deps
	@$(call install_missing,$(TEST_PACKAGES))

run: build ## build and start on 127.0.0.1:8080 with an embedded durable store in ./data
	@packaging/run-local

$(APPSERVER): $(OUT)/host/main.o $(OUT)/libhost.a
	@echo "  LD $@"
	$(Q)$(CC) $(SANFLAGS) -pie -Wl,-z,relro -Wl,-z,now -o $@ $^ $(LDLIBS_HOST)
$(OUT)/libhost.a: $(HOST_OBJ)
	$(Q)rm -f $@ && ar rcs $@ $^
$(OUT)/host/%.o: host/%.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CC) $(CFLAGS_HOST) -c -o $@ $<
$(OUT)/host/api/reference.o: host/api/reference.html
$(OUT)/llhttp/%.o: /usr/share/llhttp/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) -O2 -g -fPIE $(SANFLAGS) $(LLHTTP_CFLAGS) -c -o $@ $<

# The command line client knows nothing of the host but its OpenAPI document; the check of audit logs is shared.
$(SLCTL): $(SLCTL_OBJ) $(OUT)/host/base/chain.o
	@mkdir -p $(@D)
	@echo "  LD $@"
	$(Q)$(CC) $(SANFLAGS) -pie -Wl,-z,relro -Wl,-z,now -o $@ $^ $(LDLIBS_SLCTL)
$(OUT)/slctl/%.o: sdk/slctl/%.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CC) $(CFLAGS_SLCTL) -c -o $@ $<

# A plugin is all C files of its directory; a file LIBS there names what it links (statically, hidden).
define plugin_rule
$(OUT)/plugins/$(1).so: $(patsubst plugins/%.c,$(OUT)/plugin-obj/%.o,$(wildcard plugins/$(1)/*.c)) sdk/plugin.map $(wildcard plugins/$(1)/LIBS)
	@mkdir -p $$(@D)
	@echo "  SO $$@"
	$(Q)$(CC) $(SANFLAGS) $(LDFLAGS_PLUGIN) -o $$@ $$(filter %.o,$$^) $(shell cat plugins/$(1)/LIBS 2>/dev/null)
endef
$(foreach p,$(PLUGINS),$(eval $(call plugin_rule,$(p))))
$(OUT)/plugin-obj/%.o: plugins/%.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CC) $(CFLAGS_PLUGIN) -c -o $@ $<
$(OUT)/test-plugins/%.so: tests/contract/plugins/%.c sdk/plugin.map
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_PLUGIN) $(LDFLAGS_PLUGIN) -o $@ $<
test-plugins: $(TEST_PLUGIN_SO)

# Unit tests reach statics by including the source; archive members already satisfied that way are not pulled in again.
$(OUT)/unit/%: tests/unit/%.c $(OUT)/libhost.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_HOST) -Itests/unit -o $@ $< $(OUT)/libhost.a -lcmocka $(LDLIBS_HOST) -lpq
# Tests with replicas fork from a process that has threads already.
export TSAN_OPTIONS ?= die_after_fork=0
unit: $(UNIT)
	$(Q)tests/unit/run $(UNIT)

test: test-deps ## install what is missing, build, run every test (T=pattern picks)
	+@$(SUBMAKE) compile test-plugins unit
	$(Q)APPSERVER=$(abspath $(APPSERVER)) SLCTL=$(abspath $(SLCTL)) BUILD=$(abspath $(OUT)) $(PYTEST) -q -c tests/pytest.ini --rootdir=. -p no:cacheprovider tests/api tests/contract $(if $(T),-k "$(T)")

test-fault: test-deps ## kill -9, full disk, lost network, hostile peers, a model of store and jobs (SEED=n replays)
	+@$(SUBMAKE) compile test-plugins
	$(Q)APPSERVER=$(abspath $(APPSERVER)) SLCTL=$(abspath $(SLCTL)) BUILD=$(abspath $(OUT)) $(PYTEST) -q -c tests/pytest.ini --rootdir=. -p no:cacheprovider tests/fault $(if $(T),-k "$(T)")

# Tools from PyPI, each by version and hash, in a directory of their own.
$(VENV)/ready: tests/openapi/requirements.txt
	$(Q)rm -rf $(VENV) && /usr/bin/python3 -m venv $(VENV)
	$(Q)$(VENV)/bin/pip install -q --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	$(Q)touch $@
test-openapi: test-deps ## the OpenAPI document against its schema, and schemathesis against every route
	@$(call install_missing,$(OPENAPI_PACKAGES))
	+@$(SUBMAKE) compile $(VENV)/ready
	$(Q)APPSERVER=$(abspath $(APPSERVER)) BUILD=$(abspath $(OUT)) /usr/bin/python3 tests/openapi/run $(abspath $(VENV))

# What is about the server's own process (checks of files, unloading) is left out.
test-isolated: test-deps ## the API and contract suites with every plugin in a child process of its own
	+@$(SUBMAKE) compile test-plugins
	$(Q)SL_ISOLATION=process APPSERVER=$(abspath $(APPSERVER)) BUILD=$(abspath $(OUT)) $(PYTEST) -q -c tests/pytest.ini --rootdir=. -p no:cacheprovider \
	  tests/api tests/contract $(addprefix --ignore=tests/api/test_,docs.py operations.py promises.py profiles.py) $(addprefix --ignore=tests/contract/test_,checks.py loading.py isolation.py bad_plugins.py parity.py abi.py) \
	  -k "not postgres$(if $(T), and ($(T)))"

bench: test-deps ## ratios against nginx, sqlite3, pgbench, graphile-worker and pg-boss in one run (T=name picks)
	+@$(SUBMAKE) compile test-plugins
	@$(call install_missing,$(BENCH_PACKAGES))
	$(Q)APPSERVER=$(abspath $(APPSERVER)) SLCTL=$(abspath $(SLCTL)) BUILD=$(abspath $(OUT)) /usr/bin/python3 tests/bench/run $(T)

graphs: ## draw the table of docs/benchmarks.md as docs/img/*.svg
	$(Q)tests/bench/graphs

fuzz: deps ## each libFuzzer target for FUZZ_SECONDS=10 (T=pattern picks)
	@$(call install_missing,$(FUZZ_PACKAGES))
	+@$(SUBMAKE) SAN=fuzz CC=clang run-fuzz
run-fuzz: $(FUZZ)
	$(Q)tests/fuzz/run $(if $(T),$(filter %$(T),$(FUZZ)),$(FUZZ))
$(OUT)/fuzz/%: tests/fuzz/%.c $(OUT)/libhost.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_HOST) -Itests/fuzz -fsanitize=fuzzer -o $@ $< $(OUT)/libhost.a $(LDLIBS_HOST)
$(OUT)/fuzz/fuzz_slctl: tests/fuzz/fuzz_slctl.c $(filter-out %/main.o,$(SLCTL_OBJ)) $(OUT)/host/base/chain.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_SLCTL) -fsanitize=fuzzer -Wl,--wrap=exit -o $@ $< $(filter %.o,$^) $(LDLIBS_SLCTL)

test-valgrind: test-deps ## the API suite with the server under valgrind: no error, no definite leak
	@$(call install_missing,valgrind)
	+@$(SUBMAKE) SAN=valgrind compile test-plugins
	$(Q)APPSERVER=$(abspath tests/lib/valgrind) BUILD=$(abspath build-valgrind) $(PYTEST) -q -c tests/pytest.ini --rootdir=. -p no:cacheprovider \
	  --ignore=tests/api/test_docs.py tests/api $(if $(T),-k "$(T)")

analyze: deps ## gcc's static analyzer over every C file
	$(Q)tests/analyze

lint: test-deps ## formatting, cppcheck, file and function sizes, floors
	@$(call install_missing,$(LINT_PACKAGES))
	$(Q)tests/lint

format: ## rewrite the C sources by .clang-format
	@$(call install_missing,$(LINT_PACKAGES))
	$(Q)git ls-files '*.c' '*.h' | xargs clang-format-14 -i

INSTALL_SDK = $(PREFIX)/share/service-layer/sdk
SLCTL_SHARE := bash-completion/completions zsh/site-functions fish/vendor_completions.d man/man1
install: build ## install under PREFIX (DESTDIR honoured), with all that a plugin's author needs
	install -Dm755 $(APPSERVER) $(DESTDIR)$(PREFIX)/bin/appserver
	install -Dm755 $(SLCTL) $(DESTDIR)$(PREFIX)/bin/slctl
	mkdir -p $(SLCTL_SHARE:%=$(DESTDIR)$(PREFIX)/share/%)
	$(abspath $(SLCTL)) completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/slctl
	$(abspath $(SLCTL)) completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_slctl
	$(abspath $(SLCTL)) completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/slctl.fish
	$(abspath $(SLCTL)) help man > $(DESTDIR)$(PREFIX)/share/man/man1/slctl.1
	for p in $(PLUGIN_SO); do install -Dm644 $$p $(DESTDIR)$(PREFIX)/lib/service-layer/plugins/$$(basename $$p); done
	for h in include/service_layer/*.h; do install -Dm644 $$h $(DESTDIR)$(PREFIX)/include/service_layer/$$(basename $$h); done
	find migrations -name '*.sql' -exec install -Dm644 {} $(DESTDIR)$(PREFIX)/share/service-layer/{} \;
	install -Dm644 configs/config.yaml $(DESTDIR)$(PREFIX)/share/doc/service-layer/config.yaml
	for f in sdk/*.h sdk/plugin.map sdk/template/*; do install -Dm644 $$f $(DESTDIR)$(INSTALL_SDK)/$${f#sdk/}; done
	install -Dm755 sdk/new-plugin $(DESTDIR)$(INSTALL_SDK)/new-plugin
	ln -sf ../share/service-layer/sdk/new-plugin $(DESTDIR)$(PREFIX)/bin/service-layer-new-plugin
	mkdir -p $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/lib/pkgconfig
	sed -e 's|/usr/local/bin|$(PREFIX)/bin|' packaging/service-layer.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/service-layer.service
	sed -e 's|^sdkdir=.*|sdkdir=$(INSTALL_SDK)|' -e 's|^includedir=.*|includedir=$(PREFIX)/include|' \
	  -e 's|^Version:.*|Version: $(VERSION)|' sdk/service-layer.pc > $(DESTDIR)$(PREFIX)/lib/pkgconfig/service-layer.pc

clean: ## remove what was built
	rm -rf build build-* appserver slctl

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
.PHONY: help build compile deps test-deps run unit test test-plugins test-fault test-openapi test-valgrind analyze test-isolated bench graphs fuzz run-fuzz lint format install clean
