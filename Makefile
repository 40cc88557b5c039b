# Every command prepares what it needs first (see scripts/setup); the second time at once.
.PHONY: run test lint bench clean

# Modules whose every branch must be tried by a test: they read what strangers send.
EVERY_BRANCH := fastcgi/*

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
	@exec $(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf .venv build *.egg-info .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
