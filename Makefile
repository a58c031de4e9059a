# Short names for what the scripts do. `make check` is what CI runs.
.PHONY: install check test unit integration functional load coverage lint lock dist clean \
	chaos judges fuzz fuzz-coverage audit slow-clients scoreboard speed speed-quick

VENV ?= .venv-dev
PY := $(VENV)/bin/python
SPEED := batching digits_overhead onnx_mlp loading streaming

install:
	scripts/bootstrap.sh $(VENV) requirements-dev.lock
	$(PY) -m pre_commit install

check:
	./run_tests.sh

test:
	./run_tests.sh tests

unit integration functional:
	./run_tests.sh tests/$@

load:
	./run_tests.sh tests/load -m load

# Faults under load, with figures: about nine minutes.
chaos:
	./run_tests.sh tests/faults tests/functional/test_faults_hangs.py -m chaos

# What others say; docs/howto/judge.md has the answers.
judges:
	./run_tests.sh tests/judges -m judges

fuzz:
	./run_tests.sh tests/judges -m judges -k fuzz --hypothesis-profile=long --timeout=0

scoreboard:
	scripts/bootstrap.sh $(VENV) requirements-dev.lock
	$(PY) benchmarks/scoreboard.py --write-docs

fuzz-coverage:
	scripts/bootstrap.sh .venv-fuzz requirements-dev.lock
	.venv-fuzz/bin/python -m pip install --quiet --only-binary :all: --no-deps 'atheris>=3'
	.venv-fuzz/bin/python tests/judges/coverage_guided.py

audit:
	./run_tests.sh tests/judges/test_bandit.py tests/judges/test_secrets.py -m judges
	scripts/audit.sh

slow-clients:
	scripts/bootstrap.sh $(VENV) requirements-dev.lock
	$(PY) benchmarks/slow_clients.py

# Every program about speed, one after the other: a missed target does not stop the others.
speed:
	scripts/bootstrap.sh $(VENV) requirements-dev.lock
	missed=0; for program in $(SPEED); do \
		$(PY) benchmarks/$$program.py --markdown || missed=1; done; exit $$missed

speed-quick:
	scripts/bootstrap.sh $(VENV) requirements-dev.lock
	missed=0; for program in $(SPEED); do \
		$(PY) benchmarks/$$program.py --quick || missed=1; done; exit $$missed

coverage:
	scripts/bootstrap.sh $(VENV) requirements-dev.lock
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest
	$(PY) -m coverage combine
	$(PY) -m coverage report

lint:
	scripts/bootstrap.sh $(VENV) requirements-dev.lock
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

lock:
	scripts/lock.sh

dist:
	scripts/bootstrap.sh $(VENV) requirements-dev.lock
	$(PY) -m build

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -f .coverage .coverage.*
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
