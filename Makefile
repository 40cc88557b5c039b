# Every command prepares what it needs first (see scripts/setup); the second time at once.
.PHONY: run test lint bench clean

# Modules whose every branch must be tried by a test: they read what strangers send.
EVERY_BRANCH := fastcgi/* \
  gateway/backend/cookies.py gateway/backend/effects.py gateway/backend/environ.py \
  gateway/backend/reply.py gateway/brokers/book.py gateway/brokers/books.py \
  gateway/brokers/hub_messages.py gateway/brokers/hub_wire.py gateway/brokers/wire.py \
  gateway/sessions/positions.py gateway/transports/deflate.py gateway/transports/events.py \
  gateway/transports/frames.py gateway/transports/guard.py gateway/transports/handshake.py \
  gateway/transports/head.py gateway/transports/proxies.py gateway/transports/utf8.py

BIN := .venv/bin

# The gateway with the examples on http://127.0.0.1:8080/; options: make run ARGS="--port 9000"
run:
	@scripts/setup run
	@exec $(BIN)/wsgate dev $(ARGS)

# All tests; one file: make test TESTS=tests/gateway/cli
TESTS ?= tests
test:
	@scripts/setup test
	@scripts/test "$(EVERY_BRANCH)" $(TESTS)

lint:
	@scripts/setup lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench:
	@scripts/setup bench
	@exec .venv-bench/bin/python -m benchmarks $(ARGS)

clean:
	rm -rf .venv .venv-bench build *.egg-info .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
