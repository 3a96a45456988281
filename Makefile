# Every target sets up what it needs in .venv; a second call finds it there.
#   make PYTHON=python3.12           another interpreter
#   make TORCH="torch --index-url …" another build of torch, for example for one CUDA version
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install -qq --disable-pip-version-check

# Without a GPU, Linux takes the CPU build, which spares it gigabytes: from the configured package
# index where that has one, else from PyTorch's own.
CPU_TORCH := torch==2.13.0+cpu
ifdef TORCH
install_torch = $(PIP) $(TORCH)
else ifeq ($(shell nvidia-smi >/dev/null 2>&1 || uname -s),Linux)
install_torch = $(PIP) $(CPU_TORCH) || { echo "Asking PyTorch's own index for $(CPU_TORCH)"; \
	$(PIP) $(CPU_TORCH) --index-url https://download.pytorch.org/whl/cpu; }
else
install_torch = $(PIP) torch
endif

.DEFAULT_GOAL := help
.PHONY: help demo test wheel docs tutorial stress lint fmt ci clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## measure d90 on an encoder and texts that come with the install: minutes, no GPU
	$(BIN)/python train.py -m experiment=demo
	$(BIN)/said d90 multirun_outputs/demo

test: $(VENV)/.dev ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --dist worksteal --durations=15

wheel: ## build the wheel, install it into a fresh environment, and use it from an empty folder
	$(PYTHON) .ci/wheel

docs: $(VENV)/.dev ## build the site into site/, with warnings as errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

tutorial: $(VENV)/.dev ## run the tutorial again, and keep what it prints
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.docs.tutorial

stress: $(VENV)/.stress ## run what repeats for minutes or hours too
	OMP_NUM_THREADS=1 $(BIN)/pytest -v -n auto --durations=0 -m "stress or slow"

lint: $(VENV)/.dev ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

fmt: $(VENV)/.dev ## mend style where a tool can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

ci: lint docs wheel test ## everything that a change must pass

clean: ## remove .venv and the tools' caches; runs stay
	rm -rf .venv .*_cache build dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "Python >= 3.11 is needed; $(PYTHON) is $$($(PYTHON) -V). Try make PYTHON=python3.12" >&2; \
	exit 2; }
	@echo "Setting up $(VENV): a few minutes, once."
	$(PYTHON) -m venv $(VENV)
	$(install_torch)
	@touch $@

$(VENV)/.demo: extras := demo
$(VENV)/.dev: extras := dev
$(VENV)/.stress: extras := dev,ray
$(VENV)/.demo $(VENV)/.dev $(VENV)/.stress: pyproject.toml $(VENV)/.torch
	$(PIP) --editable '.[$(extras)]'
	@touch $@
