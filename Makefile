# sentineld. `make help` lists what there is; README.md says what it is for.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
# A program below /usr has its configuration in /etc, any other below its prefix.
SYSCONFDIR ?= $(if $(filter /usr,$(PREFIX)),/etc,$(PREFIX)/etc)
# COMPAT=1 installs links under the names of the programs that it replaces.
COMPAT ?=

TARGET := $(or $(CARGO_TARGET_DIR),target)
PROGRAM := $(TARGET)/release/sentineld
CONFDIR := $(SYSCONFDIR)/sentineld
COMPAT_NAMES := redis-sentinel valkey-sentinel
# The program to be installed; packagers may give one that they built.
INSTALL_PROGRAM ?= $(PROGRAM)

export PREFIX DESTDIR BINDIR MANDIR UNITDIR SYSUSERSDIR CONFDIR COMPAT COMPAT_NAMES INSTALL_PROGRAM

.DEFAULT_GOAL := build
.PHONY: build demo bench test sim sim-mutants chaos fuzz test-clients conformance lint fmt
.PHONY: install uninstall clean help

build: ## Build the daemon, optimized (this is what plain `make` does)
	@utils/get-redis cargo cc
	$(CARGO) build --release --locked --bin sentineld

demo: ## Kill a primary and watch three sentinels fail over (about half a minute)
	@utils/get-redis cargo cc redis-server
	@$(CARGO) build --release --locked --bin sentineld --example demo
	@$(TARGET)/release/examples/demo

bench: ## Measure beside redis-sentinel, writes docs/bench.md
#= FULL=1 with 3000 masters, more groups and more runs: an hour
#= ONLY=farm one measurement; a wrong name lists them all
#= MASTERS=1000 so many in the farm
#= RUNS=5 so many of each fault
#= OURS=1 without redis-sentinel
#= OUT=FILE instead of docs/bench.md; - for none
	@utils/get-redis cargo cc redis-server redis-sentinel
	@$(CARGO) build --release --locked --bin sentineld --example bench --example farm
	@$(TARGET)/release/examples/bench $(if $(FULL),--full) $(if $(ONLY),--only $(ONLY)) \
		$(if $(MASTERS),--masters $(MASTERS)) $(if $(RUNS),--runs $(RUNS)) $(if $(OURS),--ours) \
		$(if $(OUT),--out $(OUT))

test: ## Run all tests; those against real servers need redis-server and redis-sentinel
	@utils/get-redis cargo cc redis-server redis-sentinel redis-cli
	@utils/get-redis ip || true
	@CARGO="$(CARGO)" utils/run-tests

sim: ## Sweep whole groups in virtual time over many seeds, or replay one
#= SEEDS=1..5000 these seeds; by default as many as go into a minute
#= SECONDS=60 no seed begins after so long
#= SEED=7 replay one, with a line per event (without them: QUIET=1)
#= ELECTIONS=1000 count how elections go
#= SENTINELS=5 so many for every seed; likewise MASTERS, REPLICAS, ROUNDS
#= BUNDLE_LINKS=1 from so many links on sentinels do what only large ones do
#= NAMES=1 every world has host names
#= PLAIN=1 only masters that die or hang
#= HASH=1 print one number of all that happens, and one of all transcripts
	@utils/get-redis cargo cc
	@$(CARGO) build --locked --profile sim $(if $(ELECTIONS),--features defects) --example sim
	@$(TARGET)/sim/examples/sim $(if $(SEED),--seed $(SEED),$(if $(SEEDS),--seeds $(SEEDS)) $(if $(SECONDS),--seconds $(SECONDS))) \
		$(if $(SENTINELS),--sentinels $(SENTINELS)) $(if $(MASTERS),--masters $(MASTERS)) \
		$(if $(REPLICAS),--replicas $(REPLICAS)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(BUNDLE_LINKS),--bundle-links $(BUNDLE_LINKS)) \
		$(if $(PLAIN),--plain) $(if $(NAMES),--names) $(if $(HASH),--hash) $(if $(QUIET),--quiet) \
		$(if $(ELECTIONS),--elections $(ELECTIONS))

sim-mutants: ## Put every deliberate defect into the core and see that the simulator finds it
#= MUTANTS=NAME only these defects; a wrong name lists them all
#= SEEDS=400 at most so many seeds for each
	@utils/get-redis cargo cc
	@$(CARGO) build --locked --profile sim --features defects --example sim-mutants
	@$(TARGET)/sim/examples/sim-mutants $(if $(SEEDS),--seeds $(SEEDS)) $(MUTANTS)

fuzz: ## Fuzz everything that reads foreign text, guided by the code that is reached
#= MINUTES=1 for each target
#= ONLY=config one of tests/fuzz/corpus
	@utils/get-redis cargo cc
	@CARGO="$(CARGO)" MINUTES="$(or $(MINUTES),1)" utils/fuzz $(ONLY)

test-clients: ## Let real clients (Python, Node, Rust, C) work through a failover; needs a network
#= CLIENTS=redis-py only these; a wrong name lists them all
	@utils/get-redis cargo cc redis-server redis-cli
	@utils/get-redis python3 node npm || true
	@CARGO="$(CARGO)" $(CARGO) test --locked --test clients -- $(CLIENTS)

chaos: ## Random faults over real groups of processes; needs root
#= MINUTES=10 so long
#= SEED=7 the choices of that run; ROUNDS=1 ends it after the first
	@utils/get-redis cargo cc redis-server redis-sentinel
	@utils/get-redis ip || true
	@$(CARGO) test --locked --test chaos -- --ignored --exact long::chaos --nocapture

conformance: ## Compare with redis-sentinel request by request, writes docs/conformance.md
	@utils/get-redis cargo cc redis-server redis-sentinel
	$(CARGO) test --locked --test oracle
	@mkdir -p docs
	@utils/conformance target/conformance.txt target/clients-commands.txt >docs/conformance.md.new
	@mv docs/conformance.md.new docs/conformance.md

lint: ## Check the formatting and let clippy read everything
	@utils/get-redis cargo
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

fmt: ## Format the sources
	$(CARGO) fmt

install: ## Install below PREFIX
#= PREFIX=/usr/local where to; below it BINDIR, MANDIR, UNITDIR, SYSUSERSDIR
#= SYSCONFDIR=DIR in place of PREFIX/etc; /etc with PREFIX=/usr
#= DESTDIR=DIR put before every path, for packagers
#= COMPAT=1 adds links redis-sentinel and valkey-sentinel
#= INSTALL_PROGRAM=FILE another program than the one built here
	@test -f "$(INSTALL_PROGRAM)" || { echo "$(INSTALL_PROGRAM) is missing: run make first" >&2; exit 1; }
	@utils/install

uninstall: ## Remove what install brought, but neither the configuration nor its state
	@utils/install --remove

clean: ## Remove everything that was built
	$(CARGO) clean

help: ## List the targets and their variables
	@echo 'Targets, each with its variables:'
	@sed -n 's/^\([a-z-]*\):.*## /\1 /p; s/^#= /= /p' Makefile | while read -r name text; do \
		case $$name in =) printf '      %-20s %s\n' "$${text%% *}" "$${text#* }" ;; \
		*) printf '  %-12s %s\n' "$$name" "$$text" ;; esac; done
	@echo
	@echo 'Every target takes CARGO and, from the environment, CARGO_TARGET_DIR; uninstall takes'
	@echo 'what install was given.'
