# On a fresh machine with Python 3.11 or later: `make play` to play with rtgen, `make test` to check a change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# None of the tests that run side by side computes on more than its own core.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt --build-constraint constraints.txt

# As root on Debian or Ubuntu, installs the packages named; elsewhere names them and goes on.
define system_packages
if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) \
		|| echo "make: could not install $(1); going on without" >&2; \
else \
	echo "make: not found: $(1) (names as in Debian); install them. Going on without" >&2; \
fi
endef

.PHONY: help play demo test test-all programs lint bench

help:  ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

play: $(VENV)/runtime.stamp  ## play and hear it in the browser; needs no MIDI device
	$(BIN)/rtgen play

demo: $(VENV)/runtime.stamp  ## play the demo without any MIDI device; leaves demo.mid and demo.png here
	$(BIN)/rtgen demo
	@echo "Here rtgen is $(BIN)/rtgen; make play is short for $(BIN)/rtgen play."

test: lint programs  ## before a commit: ruff, mypy, all tests but those marked timed, slow or long; passes on a busy machine, too
	@status=0; \
	$(PYTEST) --numprocesses 4 --dist worksteal -m 'not (jack or timed or slow or long)' || status=$$?; \
	$(PYTEST) --numprocesses 4 --maxschedchunk 1 tests/bench tests/rig -m 'jack and not (timed or slow or long)' || status=$$?; \
	exit $$status

test-all: test programs  ## everything: the above, then the slow tests, then those of time, which need the machine to themselves
	@status=0; \
	$(PYTEST) --numprocesses 2 -m 'slow and not (timed or long)' || status=$$?; \
	$(BIN)/python -m pytest -m 'timed and not long' || status=$$?; \
	exit $$status

programs:
	@command -v jackd >/dev/null && command -v jack_midi_clock >/dev/null || { $(call system_packages,jackd2 jack-midi-clock); }
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { $(call system_packages,chromium chromium-driver); }

lint: $(VENV)/develop.stamp  ## ruff, and mypy for Linux, Windows and macOS
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin

bench: $(VENV)/develop.stamp  ## measure timing on this machine
	$(BIN)/rtgen bench

# The wheel of python-rtmidi brings JACK's library and not ALSA's, whose package has two names; the one with the headers
# needs it under either. Playing does without it where there is no wheel, the tests do not: then it is compiled.
$(VENV)/runtime.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "make: rtgen needs Python 3.11 or later, $(PYTHON) is older; say make PYTHON=python3.12, or what yours is called")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(PIP) --editable '.[panel]'
	@$(BIN)/python -c 'from importlib.util import find_spec; find_spec("rtmidi") and __import__("rtmidi")' 2>/dev/null || { $(call system_packages,libasound2-dev); }
	@touch $@

$(VENV)/develop.stamp: $(VENV)/runtime.stamp
	@$(PIP) --only-binary python-rtmidi python-rtmidi 2>/dev/null || { $(call system_packages,g++ libasound2-dev libjack-jackd2-dev pkg-config $(PYTHON)-dev); }
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[train,cluster,judge,panel]' --group test --group lint
	@touch $@
