# Everything on a bare Linux machine with Python 3.11+: `make demo`, `make test`, `make check`, `make bench`.
PYTHON ?= python3
BIN := .venv/bin
unexport PYTHONDONTWRITEBYTECODE  # tests start many programs: each would compile the package again
INSTALLED := .venv/.installed

.PHONY: demo test check bench clean

demo: $(INSTALLED)
	$(BIN)/latentscape demo

test: $(INSTALLED)
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered --cov-fail-under=90 -n 2

check: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyrefly check --summarize-errors
	$(BIN)/lint-imports

bench: $(INSTALLED)
	$(BIN)/python benchmarks/step_time.py
	$(BIN)/python benchmarks/phase_recovery.py

# One stamp: packages are installed again when their versions or the project's metadata change.
$(INSTALLED): constraints.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(INSTALLED)

clean:
	rm -rf .venv build dist src/*.egg-info .pytest_cache .ruff_cache .coverage*
