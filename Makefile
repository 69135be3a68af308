# Aliases; everything works without make (see boot.py).
PY := .venv/bin/python

.PHONY: demo test slow check format bench fuzz
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
# Needs the extra `fuzz` and clang; an hour and more. FUZZ=-runs=10000 for a short one.
FUZZ := -runs=1000000
fuzz:
	for target in header safetensors config quantised gguf vocabulary packed; do \
	  PYTHONPATH=src:. $(PY) -m tests.fuzz.run $$target $(FUZZ) || exit 1; done
	for target in linear packed; do \
	  PYTHONPATH=src:. $(PY) -m tests.fuzz.native_build $$target $(FUZZ) || exit 1; done
