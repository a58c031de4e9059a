# Short names for what the scripts do. `make check` is what CI runs.
.PHONY: install check test unit integration functional load chaos coverage lint lock dist clean

VENV ?= .venv-dev
PY := $(VENV)/bin/python

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

chaos:
	./run_tests.sh tests/faults -m chaos

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
