# make demo      renders the benchmark, trains HERO, tests it, draws a report
# make test      runs the quick tests
# make test-all  these, and what takes longer: kills, trainings, generated
#                videos, the suites of the hosts (HERO_MM_HOSTS), the page
#                in a browser (Chromium)
# make screenshot  takes the picture of the page in docs/images
# make lint      checks style and types
# make docs      builds the site of docs/ into build/docs
#
# An active environment (virtualenv, conda) that has torch is used as it is;
# otherwise .venv is made, over the torch of PYTHON where that has one. PYTHON
# names the Python to make it with, TORCH what to install where no torch is:
#   make demo TORCH="torch --index-url https://download.pytorch.org/whl/cpu"

SHELL := /bin/bash
PYTHON ?= python3
TORCH ?= torch==2.13.0
WORKERS ?= 2
# One process on a GPU; on a CPU one a core is faster than threads.
PROCESSES ?= $(shell $(PY) -c 'import torch; print(1 if torch.cuda.is_available() else 2)')
DEMO := work_dirs/hero_shapes
# What guesses score, beside the data that the training renders.
ORACLES := data/shapes/test.oracles.json

HAS_TORCH := -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)'
HAS_MMCV := -c 'import importlib.metadata as m; m.version("mmcv")'
ACTIVE := $(or $(VIRTUAL_ENV),$(CONDA_PREFIX))
ENVDIR := $(if $(ACTIVE),$(shell $(ACTIVE)/bin/python $(HAS_TORCH) && echo $(ACTIVE)))
ENVDIR := $(or $(ENVDIR),.venv)
PY := $(ENVDIR)/bin/python
# One stamp a checkout: an active environment may serve several.
STAMP := $(ENVDIR)/.hero_mm-$(shell pwd | cksum | cut -d' ' -f1)

.PHONY: demo test test-all screenshot lint docs install install-dev clean
.DELETE_ON_ERROR:

demo: $(STAMP)
	PYTHON=$(PY) OMP_NUM_THREADS=1 bash tools/dist_train.sh configs/hero_shapes.py $(PROCESSES) --seed 0
	$(PY) tools/test.py configs/hero_shapes.py $(DEMO) --dump $(DEMO)/predictions.json
	test $(ORACLES) -nt data/shapes/test.json || $(PY) tools/analysis_tools/shapes_oracles.py data/shapes --split test --json $(ORACLES)
	$(PY) tools/analysis_tools/report.py $(DEMO)
	@echo
	@echo "Report:      $(DEMO)/report/index.html"
	@echo "Checkpoint:  $(DEMO)/best_*.pth"
	@echo "Ask it:      $(ENVDIR)/bin/hero-mm ground VIDEO \"SENTENCE\" --model $(DEMO) --out outputs"
	@echo "Next:        README.md, section 'Where things are'; make test"

PYTEST = OMP_NUM_THREADS=1 $(PY) -m pytest -q -n $(WORKERS) --dist loadfile

test: $(STAMP)-dev
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)
	@echo
	@echo "Next: make demo; docs/install.md and docs/faq.md when something is amiss"

test-all: test $(STAMP)-web
	$(PYTEST) -m slow $(PYTEST_ARGS)

screenshot: $(STAMP)-web
	HERO_MM_SCREENSHOT=docs/images/web.png $(PY) -m pytest -q tests/test_web/test_page.py -k user_in_a_browser

lint: $(STAMP)-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy hero_mm

# -W: a warning is an error.
docs: $(STAMP)-dev
	$(PY) -m sphinx -W --keep-going -q -b html docs build/docs

install: $(STAMP)
install-dev: $(STAMP)-dev

.venv/bin/python:
	$(PYTHON) -m venv $$($(PYTHON) $(HAS_TORCH) && echo --system-site-packages) .venv

# A compiled mmcv is kept: mmcv-lite (extra `lite`) would write over it.
$(STAMP): setup.py pyproject.toml | $(PY)
	@$(PY) $(HAS_TORCH) || $(PY) -m pip install $(TORCH)
	@if $(PY) $(HAS_MMCV) 2>/dev/null; then extras=mmdet,mmaction,text,demo; else extras=all; fi; \
	set -x; $(PY) -m pip install -e ".[$$extras]"
	@touch $@

$(STAMP)-dev: $(STAMP)
	$(PY) -m pip install -e '.[dev]'
	@touch $@

$(STAMP)-web: $(STAMP)-dev
	$(PY) -m pip install -e '.[web,browser]'
	@touch $@

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
