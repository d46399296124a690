# make test   the tests, in an environment of their own     make demo   train on drawn shapes, in about 5 minutes
# make test-slow  those of large graphs and killed runs        make docs  the pages, in site/
# make venv   only the environment                          make bench  the works of benchmarks/, one JSON line each
# make peers  the two environments of the systems that make bench compares with, 5 GB
# Another MindSpore than the pinned one: make test MINDSPORE=2.7.0

PINNED := 2.10.0
MINDSPORE ?= $(PINNED)
PYTHON ?= python3
VENV := .venv$(if $(filter-out $(PINNED),$(MINDSPORE)),-$(MINDSPORE))
READY := $(VENV)/.ready
RUN := $(VENV)/bin/python
# Two processes, as the tests mostly wait for one compiler thread, and three for the slow ones, some of which wait for processes
# that hang. A file stays in one. In the order of the folders, so that files of few long tests do not come last, when one
# process has nothing left to do.
TOGETHER := --dist loadfile --no-loadscope-reorder

PEERS := .venv-megvii/.ready .venv-mindyolo/.ready

.PHONY: venv test test-slow demo bench peers docs lint clean

venv: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 12) else f"MindSpore needs Python 3.10 to 3.12, this is {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[test]' 'mindspore==$(MINDSPORE)'
	-$(RUN) -c 'import yolox.native; print("native kernels:", yolox.native.native_status().reason or "built")'
	@touch $@

lint: $(READY)
	$(VENV)/bin/ruff check .

test: $(READY) lint
	$(RUN) -m pytest -n 2 $(TOGETHER)

# Runtimes and tools that cannot be installed here are skipped by their tests, with that reason.
test-slow: $(READY)
	-$(VENV)/bin/pip install --quiet --constraint constraints.txt ncnn MNN
	-$(VENV)/bin/pip install --quiet --constraint constraints.txt --no-deps pnnx
	-$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	-$(VENV)/bin/pip install --quiet --constraint constraints.txt pip-audit
	-$(VENV)/bin/pip install --quiet --constraint constraints.txt atheris
	$(RUN) -m pytest -m slow -n 3 $(TOGETHER)

demo: $(READY)
	$(RUN) examples/demo.py --output demo

bench: $(READY) peers
	$(RUN) benchmarks/run.py
	$(RUN) benchmarks/run.py --peers

peers: $(PEERS)

$(PEERS): .venv-%/.ready: benchmarks/peer_%.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/pip install --quiet --requirement $<
	@touch $@

docs: $(READY)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet

clean:
	rm -rf .venv .venv-* demo site
