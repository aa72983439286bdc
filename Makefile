PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)

.PHONY: check fix lint types test bench-scenarios
check: lint types test
lint:
	$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .
types:
	$(PYTHON) -m mypy
test:
	$(PYTHON) -m pytest -n 2 -m "not slow"
fix:
	$(PYTHON) -m ruff check --fix . && $(PYTHON) -m ruff format .
bench-scenarios:
	$(PYTHON) -m skillrun test --scenarios --benchmark --jobs 2
