.PHONY: help setup demo test check bench clean

help:  ## what there is to make
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /	/' | expand -t 10

setup:  ## .venv with cupola and all it needs
	@scripts/setup

demo: setup  ## a model of one's own from 4,000 tunes, and twelve new tunes, in five minutes: out/index.html
	@.venv/bin/cupola make recipes/tunes --yes

test: setup check  ## the whole test suite
	@.venv/bin/python -m pytest -q

check: setup  ## format, lint, types
	@.venv/bin/ruff format --check -q . && .venv/bin/ruff check -q . && .venv/bin/pyrefly check --summary=none

bench: setup  ## the benches that need no other software, one JSON line each
	@for b in benches/bench_*.py; do .venv/bin/python $$b; done

clean:  ## remove .venv and what the recipes made
	@rm -rf .venv recipes/*/.cupola recipes/*/out
