# The project's commands. `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
LOCKS := requirements-uv.lock requirements-build.lock requirements-dev.lock
# Without what Python keeps of what it compiled, each command compiles Salt and the SDK anew, in a second.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help venv packages lab lab-down test unit lint bench torture by-hand lock

help:      ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

lab:       ## an IDR on this machine, ready to look at (Debian 12, as root)
	@lab/ctl install
	@lab/ctl up

lab-down:  ## stop the lab and keep its data
	@lab/ctl down

test:      ## everything this machine can test, the lab included; says what it couldn't run
	@$(MAKE) --no-print-directory packages
	@lab/ctl install
	@$(MAKE) --no-print-directory venv
	@bash tests/run

unit:      ## the tests that need nothing but .venv, in seconds
	@$(MAKE) --no-print-directory venv
	@$(BIN)/pytest tests/unit

lint:      ## ruff and salt-lint
	@$(MAKE) --no-print-directory venv
	@$(BIN)/ruff check
	@git ls-files 'salt/*.sls' 'pillar/*.sls' | xargs $(BIN)/salt-lint

BENCHES := thumbnail purge refresh highstate environment backup restore release switch
bench:     ## what a page, a purge, a refresh, a highstate, an environment, a backup, a restore and a switch cost, each beside its baseline (as root)
	@$(MAKE) --no-print-directory venv
	@for each in $(BENCHES); do $(BIN)/python -m bench.$$each || exit 1; echo; done

torture:   ## every kind of call of an apply and a destroy spoiled in every way, and fifty backups; hours, goes on where it was stopped
	@$(MAKE) --no-print-directory venv
	@$(BIN)/python -m tests.torture
	@IDR_BACKUP_SETS=50 $(BIN)/pytest tests/lab/test_backup.py -k sets_under_load

by-hand:   ## a copy of servers made by hand, and an IDR of that copy alone on clean ones; ten minutes, in a lab of its own
	@$(MAKE) --no-print-directory venv
	@$(BIN)/python -m tests.by_hand

packages:  ## install the Debian packages of requirements.apt that are missing
	@missing=$$(grep -o '^[a-z0-9.+-]\+' requirements.apt | while read -r package; do \
	  dpkg-query -W -f '$${db:Status-Status}' "$$package" 2>/dev/null | grep -qx installed || echo "$$package"; done); \
	[ -z "$$missing" ] || { set -e; \
	  [ "$$(id -u)" = 0 ] || { echo "missing, and only root can install them: apt-get install" $$missing; exit 1; }; \
	  echo "installing" $$missing; \
	  [ -e /usr/sbin/policy-rc.d ] || { trap 'rm -f /usr/sbin/policy-rc.d' EXIT; \
	    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; }; \
	  apt-get -qq update; DEBIAN_FRONTEND=noninteractive apt-get -qqy --no-install-recommends install $$missing >/dev/null; }

# Made again only when a lock, the Python or the checkout's place changed. All of it comes by hash, what builds too.
venv:      ## make .venv from the locks
	@sum=$$(cat $(LOCKS) <(pwd) <($(PYTHON) --version) | sha256sum | cut -d' ' -f1); set -e; \
	[ "$$(cat .venv/made-from 2>/dev/null)" = "$$sum" ] || { \
	  echo "making .venv from the locks (about a minute)"; \
	  rm -rf .venv; $(PYTHON) -m venv .venv; \
	  $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock; \
	  $(BIN)/uv --no-config pip install --quiet --python $(BIN)/python --require-hashes \
	    --build-constraints requirements-build.lock -r requirements-dev.lock; \
	  pwd > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/idr.pth"; \
	  for command in salt-run salt-call; do \
	    printf '#!%s\nfrom idr.checkout import main\n\nmain()\n' "$$PWD/$(BIN)/python" > $(BIN)/$$command; done; \
	  echo "$$sum" > .venv/made-from; }

lock:      ## resolve the pinned requirements anew, with hashes
	@compile="$(BIN)/uv --no-config pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-annotate \
	  --no-header --python-version 3.11"; set -e; \
	$$compile requirements.in -o requirements.lock; \
	$$compile requirements-build.in -c requirements.lock -o requirements-build.lock; \
	$$compile requirements-dev.in -o requirements-dev.lock; \
	sed -n '/^uv==/,/[^\\]$$/p' requirements-dev.lock > requirements-uv.lock; \
	$$compile lab/jupyter/hub.in -o lab/jupyter/hub.lock; \
	$$compile lab/cloud/requirements.in -o lab/cloud/requirements.lock; \
	$$compile --no-emit-package zeroc-ice lab/jupyter/user.in -o lab/jupyter/user.lock
