# Two commands: `make demo` sets everything up and runs the main job, `make test` sets up and runs all the tests.

VENV     := .venv
BIN      := $(VENV)/bin
PYTHON   ?= python3
PACKAGES := dcmtk dicom3tools orthanc orthanc-dicomweb orthanc-wsi postgresql chromium python3-hl7 poppler-utils qpdf
WEB      := node/web/pages
STATIC   := node/web/static

.PHONY: demo test check lint unit picture install packages web bench clean

demo: install web
	$(BIN)/marrow-node demo $(ARGS)

# Two files at a time with one thread each, in their order: the long ones come first. Then what needs the whole machine.
test: install packages web
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not alone"
	$(BIN)/python -m pytest -m alone

check: install packages web lint
	$(MAKE) test

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: install
	$(BIN)/python -m pytest tests/unit $(ARGS)

bench: install packages web
	$(BIN)/python -m tests.bench $(ARGS)
	$(BIN)/python -m tests.browser.bench $(ARGS)

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[convert,dev]'
	$(BIN)/python -m pipeline.bundle fetch-sam
	touch $@

# The peers of the tests come from Debian: installed when root, else named in one line.
packages:
	@missing=$$(for p in $(PACKAGES); do dpkg-query -W -f='$${Status}\n' $$p 2>/dev/null | grep -q '^install ok installed' || echo $$p; done); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing >/dev/null; \
	else \
		echo "the tests need Debian packages: sudo apt-get install" $$missing; exit 1; \
	fi

web: $(STATIC)/.built

$(STATIC)/.built: $(shell find $(WEB) -type f -not -path '*/node_modules/*' 2>/dev/null)
	npm --prefix $(WEB) ci --no-audit --no-fund --loglevel=error
	npm --prefix $(WEB) run build
	touch $@

# The README's picture.
picture: install packages web
	$(BIN)/python -m tests.browser.picture docs/case-page.png

clean:
	rm -rf $(VENV) $(STATIC) $(WEB)/node_modules
