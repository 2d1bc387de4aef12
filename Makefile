# Two commands do everything: `make run` and `make test`. CONTRIBUTING.md tells what each part needs.

CARGO ?= cargo
WEB_SOURCES := $(shell find web/src web/sdk web/public web/index.html web/vite.config.ts -type f -not -path '*/node_modules/*' 2>/dev/null)
export CHATROOM_BIN := $(CURDIR)/target/release/chatroom
ON_POSTGRES := test_rest_messages.py test_rest_rooms.py test_socket.py test_kill.py

.PHONY: run build test check web-check outside outside-postgres e2e store-tests tools fmt clean bench

run: build
	./target/release/chatroom

build: web/dist/.built
	$(CARGO) build --release --locked -p chatroom

# Everything that can be shown on one machine: real databases, real browsers, the program from outside.
test: tools check build store-tests outside outside-postgres e2e

# The quick half: formatting, lints, unit tests, dependencies, the web code.
check: web/dist/.built web-check
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy -p chatroom-storage --test '*' --locked -- -D warnings
	$(CARGO) test --workspace --locked --quiet
	scripts/deny

web-check: web/node_modules/.installed
	cd web && npm run check
	cd web && npm test

# The same rules for every store, on a PostgreSQL of our own.
store-tests:
	scripts/with-postgres $(CARGO) test --locked --quiet -p chatroom-storage --lib --test '*'

# The program as a process, by PROTOCOL's word alone.
outside: build
	tests/outside/run

# The heart of the same on PostgreSQL.
outside-postgres: build
	scripts/with-postgres sh -c 'CHATROOM_TEST_DSN="$$CHATROOM_TEST_POSTGRES" tests/outside/run -m quick $(ON_POSTGRES)'

e2e: build web/node_modules/.installed
	cd web && npm run e2e

# What the tests need beside Rust and Node, from Debian's packages.
tools:
	scripts/install-test-tools

fmt:
	$(CARGO) fmt --all

clean:
	$(CARGO) clean
	rm -rf web/dist web/node_modules tests/outside/.venv tests/outside/node/node_modules

web/node_modules/.installed: web/package.json web/package-lock.json web/sdk/package.json
	cd web && npm ci --no-audit --no-fund
	touch $@

web/dist/.built: web/node_modules/.installed $(WEB_SOURCES)
	cd web && npm run build
	touch $@

# What the server costs on this machine, best when nothing else runs: docs/benchmarks.md. Each ends with status 1 when a
# goal is missed.
.PHONY: bench-programs bench-delivery bench-idle bench-storm bench-micro
bench: bench-micro bench-delivery bench-idle bench-storm

bench-programs: build
	$(CARGO) build --release --locked -p chatroom-benches --bins

bench-delivery: bench-programs
	./target/release/chatroom-bench delivery

bench-idle: bench-programs
	./target/release/chatroom-bench idle

bench-storm: bench-programs
	./target/release/chatroom-bench storm
	./target/release/chatroom-bench storm --set RECENT_EVENTS_MAX=100 -- --missed 900

bench-micro:
	$(CARGO) bench --locked -p chatroom-benches

# Foreign suites: Autobahn's 517 cases, Redocly, AsyncAPI's parser, Schemathesis. The quick form is part of `make test`.
.PHONY: conformance conformance-quick clean-conformance
test: conformance-quick
clean: clean-conformance

conformance: build
	scripts/conformance

conformance-quick: build
	scripts/conformance quick

clean-conformance:
	rm -rf tests/conformance/autobahn/.work tests/conformance/documents/.work tests/conformance/documents/.venv
	rm -rf tests/conformance/documents/node_modules
