# Two commands matter: `make demo` and `make test`. Both set up what they need in .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test setup packages tools check lint clean

demo: $(VENV)/.installed packages
	$(BIN)/esmaml demo

test: $(VENV)/.developer tools
	scripts/check

setup: $(VENV)/.developer tools

# what a user needs; the developer's tools, PyTorch among them for the PG-MAML baseline, come on top
$(VENV)/.installed: pyproject.toml scripts/setup
	scripts/setup "$(PYTHON)" $(VENV) .
	touch $@

$(VENV)/.developer: pyproject.toml scripts/setup
	scripts/setup "$(PYTHON)" $(VENV) '.[dev]'
	touch $@ $(VENV)/.installed

# Debian packages that the C parts need, installed only where they are missing; cross compilers and emulators for tests
packages:
	scripts/packages

tools:
	scripts/packages tools

lint: $(VENV)/.developer
	scripts/lint

clean:
	rm -rf $(VENV) build dist *.egg-info
