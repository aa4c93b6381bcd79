# Everything runs in .venv, which is made when it is missing. Needs Python >= 3.11 and make, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test lint course test-notebooks docs try-site try-course try-playground parity test-distributed kill-ranks conformance c-export bench gradcheck mutants kill-and-resume hammer-threads slow-link coverage test-floor dist clean

demo: $(VENV)/.core ## train, prune and fine-tune LeNet on MNIST; writes runs/demo
	$(BIN)/minigrad demo

test: $(VENV)/.test ## the whole test suite
	$(BIN)/python -m pytest -q

lint: $(VENV)/.test ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python tools/typecheck.py

course: $(VENV)/.notebooks ## install Jupyter, write your copies of the notebooks to my-course, open the first; OPEN=--no-browser shows no browser
	$(BIN)/minigrad course open 00 $(OPEN)

test-notebooks: $(VENV)/.notebooks $(VENV)/.test ## run every notebook from a clean kernel
	$(BIN)/python -m pytest -q tests/notebooks --notebooks

docs: $(VENV)/.docs ## the site in build/site: the course with its outputs, documents, results, every public name
	$(BIN)/python -m tools.docs

try-site: docs $(VENV)/.browser ## build the site, and open each of its pages in a Chromium without a window
	$(BIN)/python -m tools.try_site runs/site

try-course: $(VENV)/.browser ## run notebooks in JupyterLab and move their sliders, in a Chromium without a window
	$(BIN)/python -m tools.try_course runs/course

try-playground: $(VENV)/.browser ## draw on the playground page and feed it 1,000 test images, in a Chromium without a window
	$(BIN)/python -m tools.try_playground runs/playground

parity: $(VENV)/.parity ## compare with PyTorch; integer models with TensorFlow Lite Micro, LiteRT and onnxruntime
	$(BIN)/python -m pytest -q -m parity

test-distributed: $(VENV)/.test $(VENV)/.distributed ## the tests that start several processes, by MPI and Dask
	$(BIN)/python -m pytest -q -m distributed

kill-ranks: $(VENV)/.distributed ## kill one process of a data-parallel training, 10 times, and compare what comes of it
	$(BIN)/python -m tools.kill_ranks --points 10

conformance: $(VENV)/.parity ## integer models in other runtimes, on all test images; prints the tables and writes docs/conformance.md
	$(BIN)/python -m tools.conformance

c-export: $(VENV)/.parity ## models as C on all test images, and on an 8-bit chip; needs gcc, valgrind, gcc-avr, avr-libc, simavr
	$(BIN)/python -m tools.c_export

bench: $(VENV)/.bench ## time against PyTorch, onnxruntime and micrograd's algorithm; prints one table
	$(BIN)/python benchmarks/run.py

gradcheck: $(VENV)/.test ## check every op's gradients in every way; prints the matrix and writes docs/gradcheck.md
	$(BIN)/python -m tools.gradcheck_matrix

mutants: $(VENV)/.mutation ## mutants of the engine; the suite must kill them (two to three hours)
	$(BIN)/python -m tools.mutants
	$(BIN)/python -m tools.mutants --random 100 --seed 0

kill-and-resume: $(VENV)/.core ## kill a training run 20 times and compare its end with an undisturbed one
	$(BIN)/python tools/kill_and_resume.py --points 20

hammer-threads: $(VENV)/.core ## four Python threads infer at once, on every threading layer, for 30 s each
	$(BIN)/python tools/hammer_threads.py

slow-link: $(VENV)/.distributed ## train over a slowed network of namespaces, and compare with the prediction (needs root; a minute)
	$(BIN)/python -m tools.slow_link

coverage: $(VENV)/.test ## lines of minigrad/ that the suite runs, kernels as Python among them (about 3 minutes)
	NUMBA_CACHE_DIR=$$(mktemp -d) $(BIN)/python -m pytest -q --cov=minigrad --cov-report=term-missing:skip-covered \
		--cov-fail-under=98 --ignore=tests/compression --ignore=tests/test_readme.py --ignore=tests/test_packaging.py tests

test-floor: ## the suite on the oldest supported dependencies
	test -x $(VENV)-floor/bin/python || $(PYTHON) -m venv $(VENV)-floor
	$(VENV)-floor/bin/python -m pip --disable-pip-version-check install -q -e '.[test]' -c constraints/floor.txt
	$(VENV)-floor/bin/python -m pytest -q

dist: $(VENV)/.test ## wheel and sdist in dist/
	$(BIN)/python -m build

clean: ## remove what the targets made, the environments included
	rm -rf $(VENV) $(VENV)-floor build dist runs *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "minigrad needs Python 3.11 or later; name one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Each stamp stands for an installed extra. Parity and bench use exact versions of the peers they compare with, and
# mutation that of the tool whose mistakes are explained.
$(VENV)/.core: pyproject.toml | $(BIN)/python
	$(PIP) install -q -e .
	@touch $@

$(VENV)/.test $(VENV)/.notebooks $(VENV)/.docs $(VENV)/.browser $(VENV)/.distributed: $(VENV)/.%: pyproject.toml | $(BIN)/python
	$(PIP) install -q -e '.[$*]'
	@touch $@ $(VENV)/.core

$(VENV)/.parity $(VENV)/.bench $(VENV)/.mutation: $(VENV)/.%: pyproject.toml constraints/peers.txt | $(BIN)/python
	$(PIP) install -q -e '.[$*]' -c constraints/peers.txt
	@touch $@ $(VENV)/.core
