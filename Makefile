# The project's commands. `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
LOCKS := requirements-uv.lock requirements-build.lock requirements-dev.lock

.DEFAULT_GOAL := help
.PHONY: help venv lock

help:    ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Made again only when a lock or the checkout's place changed. Everything comes by hash, what builds from source too.
venv:    ## make .venv from the locks
	@sum=$$(cat $(LOCKS) <(pwd) <($(PYTHON) --version) | sha256sum | cut -d' ' -f1); \
	[ "$$(cat .venv/made-from 2>/dev/null)" = "$$sum" ] || { set -e; \
	  echo "making .venv from the locks"; \
	  rm -rf .venv; $(PYTHON) -m venv .venv; \
	  $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock; \
	  $(BIN)/uv --no-config pip install --quiet --python $(BIN)/python --require-hashes \
	    --build-constraints requirements-build.lock -r requirements-dev.lock; \
	  pwd > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/idr.pth"; \
	  echo "$$sum" > .venv/made-from; }

lock:    ## resolve the pinned requirements anew, with hashes
	@compile="$(BIN)/uv --no-config pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11"; \
	set -e; \
	$$compile requirements.in -o requirements.lock; \
	$$compile requirements-build.in -c requirements.lock -o requirements-build.lock; \
	$$compile requirements-dev.in -o requirements-dev.lock; \
	sed -n '/^uv==/,/[^\\]$$/p' requirements-dev.lock > requirements-uv.lock
