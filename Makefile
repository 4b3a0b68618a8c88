# `make` alone lists the targets. Every target builds the environment first when it is missing.
PROFILE ?= paper
LAUNCHER ?= local
JOBS ?= 1
ARGS ?=
EXTRAS ?=
PYTHON ?= python3

RUN := .venv/bin/python
BUILT := .venv/.built
# Each extra has its own lock; an extra that was installed once is updated whenever its lock changes.
KNOWN_EXTRAS := $(patsubst requirements-%.lock,%,$(wildcard requirements-*.lock))
COMMA := ,
UNKNOWN_EXTRAS := $(filter-out $(KNOWN_EXTRAS),$(subst $(COMMA), ,$(EXTRAS)))
ifneq ($(UNKNOWN_EXTRAS),)
$(error EXTRAS=$(EXTRAS): there is no extra $(UNKNOWN_EXTRAS); there are: $(or $(KNOWN_EXTRAS),none))
endif
BUILT_EXTRAS := $(filter $(KNOWN_EXTRAS:%=.venv/.built-%),$(wildcard .venv/.built-*))
BUILT_EXTRAS := $(sort $(BUILT_EXTRAS) $(patsubst %,.venv/.built-%,$(subst $(COMMA), ,$(EXTRAS))))
TABLES := $(sort $(wildcard configs/tables/table_*.yaml))
# Tables of times. Nothing may run beside them, so reproduce-all gives them one job whatever JOBS is.
TIMED := $(patsubst configs/tables/table_%.yaml,%,$(shell grep -l '^timed: true' configs/tables/*.yaml 2>/dev/null))

.PHONY: help setup demo test test-faults test-paper lint lock data verify-data verify-released headline recipes claims verify-results accept-results report reproduce-all clean
.NOTPARALLEL:
.DEFAULT_GOAL := help

help:  ## this list
	@sed -n 's/^\([a-z%-]*\):.*## /  make \1	/p' Makefile | expand -t 24
	@echo "  PROFILE=paper|lite|demo  LAUNCHER=local|ray  JOBS=1  ARGS=\"hydra overrides\"  EXTRAS=$(KNOWN_EXTRAS)"

setup: $(BUILT) $(BUILT_EXTRAS)  ## build .venv from requirements.lock; EXTRAS=use adds TensorFlow, EXTRAS=peers ONNX Runtime and OpenVINO, EXTRAS=lite the models of PROFILE=lite, EXTRAS=ray LAUNCHER=ray

$(BUILT): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON) on this machine: install Python 3.11 or newer"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "error: $(PYTHON) is %d.%d, 3.11 or newer is needed: make setup PYTHON=python3.11" % v[:2])'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "error: $(PYTHON) has no venv module: install it (on Debian: apt install python3-venv)"; exit 1; }
	@echo "building .venv: a few minutes and a few GB the first time"
	@$(PYTHON) -m venv .venv
	@$(RUN) -m pip install -qq --disable-pip-version-check -r requirements.lock
	@$(RUN) -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/.built-%: requirements-%.lock $(BUILT)
	@echo "adding the extra $* to .venv"
	@$(RUN) -m pip install -qq --disable-pip-version-check -r $<
	@touch $@

demo: setup  ## every table on synthetic data with a tiny model, in minutes, without a network
	@$(MAKE) --no-print-directory reproduce-all PROFILE=demo
	@echo "The demo's tables (of synthetic data, not the paper's) are in results/demo/:"
	@ls results/demo/*.md

test: setup  ## the tests: no network, no GPU
	@OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 WANDB_MODE=disabled $(RUN) -m pytest -n 2 $(ARGS)

test-faults: setup  ## the long tests: tables killed, run by many processes, cut off from the network
	@OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 WANDB_MODE=disabled $(RUN) -m pytest -m faults tests/faults $(ARGS)

test-paper: setup  ## PROFILE=paper from `make data` to the last cell, against a miniature Hub: minutes, no network
	@OMP_NUM_THREADS=1 $(RUN) tests/hub/paper.py $(ARGS)

lint: setup  ## style, types, docstrings, spelling
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@.venv/bin/pydoclint --quiet src scripts train.py
	@.venv/bin/codespell

lock: setup  ## resolve requirements.in into requirements.lock again
	@$(RUN) scripts/lock.py

data: setup  ## get what the tables need: data sets, word vectors, models; ARGS="sets=[NAME,…]" for others
	@$(RUN) scripts/download.py $(ARGS)

verify-data: setup  ## compare the rows of each data set with those expected
	@$(RUN) scripts/verify_data.py $(ARGS)

verify-released: setup  ## score released models and compare with their published scores
	@$(RUN) scripts/verify_released.py $(ARGS)

headline: setup  ## the most similar pair of 10,000 sentences, timed beside the cross-encoder
	@$(RUN) scripts/headline.py profile=$(PROFILE) $(TIMED_ARGS)

# reproduce-all gives every command the words of ARGS but those that only the others know.
OF_TRAINING := trainer.% optimizer.% classifier.% wandb.% checkpoint=%
OF_TIMES := repeats=% sentences=% batch_size=% pairs=% largest=% again=%
TIMED_ARGS = $(if $(ALL),$(filter-out $(OF_TRAINING),$(ARGS)),$(ARGS))
TRAINED_ARGS = $(if $(ALL),$(filter-out $(OF_TIMES),$(ARGS)),$(ARGS))

table-%: setup  ## one table of the paper, such as table-1
	@$(RUN) scripts/table.py table=$* profile=$(PROFILE) launcher=$(LAUNCHER) jobs=$(if $(and $(ALL),$(filter $*,$(TIMED))),1,$(JOBS)) $(if $(filter $*,$(TIMED)),$(TIMED_ARGS),$(TRAINED_ARGS))

recipes: setup  ## why replications fall short: the paper's models under the recipes that differ
	@$(RUN) scripts/table.py table=recipes profile=$(PROFILE) launcher=$(LAUNCHER) jobs=$(JOBS) $(TRAINED_ARGS)

claims: setup  ## the paper's sentences, checked on the tables that are there: holds, fails or cannot say
	@$(RUN) scripts/claims.py profile=$(PROFILE) $(TRAINED_ARGS)

verify-results: setup  ## what has moved in the tables since it was accepted; status 1 if too far
	@$(RUN) scripts/verify_results.py profile=$(PROFILE) $(ARGS)

accept-results: setup  ## write down what the records behind the tables give now
	@$(RUN) scripts/verify_results.py profile=$(PROFILE) --accept $(ARGS)

report: setup  ## results/PROFILE/report.html: every result on one page, made from the files that are there
	@$(RUN) scripts/report.py profile=$(PROFILE)

# A table that fails stops none of the others. With SBERT_STOP_MAKE=1, one that the user stops stops make as well.
# The demo leaves the recipes out: on made-up sentences they say nothing, and take half of its time.
reproduce-all: setup  ## every table that has a file in configs/tables, the recipes, the headline, and the claims
ifneq ($(filter --dry-run,$(ARGS)),)
	@$(RUN) scripts/table.py table=all profile=$(PROFILE) launcher=$(LAUNCHER) jobs=$(JOBS) $(ARGS)
else
	@$(MAKE) --no-print-directory --keep-going ALL=1 SBERT_STOP_MAKE=1 $(TABLES:configs/tables/table_%.yaml=table-%) $(if $(filter demo,$(PROFILE)),,recipes) headline claims report
endif

clean:  ## remove caches; keeps .venv, data and results
	@rm -rf .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build
	@find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
