# Aliases; everything works without make (see boot.py).
PY := .venv/bin/python

.PHONY: demo test slow check format bench
demo:
	python3 boot.py demo
test:
	python3 boot.py test
slow:
	SPARING_SLOW=1 python3 boot.py test
check:
	$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m pyrefly check && \
	$(PY) -m pytest -q tests/house tests/base
format:
	$(PY) -m ruff check --fix . ; $(PY) -m ruff format .
bench:
	$(PY) benchmarks/quickstart.py && $(PY) benchmarks/small.py && $(PY) benchmarks/attention.py && $(PY) benchmarks/table.py
