# Every target sets up what it needs; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test units local check slow soak fuzz differential interop simulate planted lock clean bench checkov browser
.DEFAULT_GOAL := help

help: ## Show the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

$(READY): requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "streamgage needs Python 3.11 or newer; this is %s. Say: make PYTHON=/path/to/python3.11" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: $(READY) ## Set up .venv; the other targets do it themselves.

demo: $(READY) ## Run the whole pipeline on this machine and compare every total; with KEEP=1 it runs on.
	$(BIN)/streamgage demo $(if $(KEEP),--keep)

# After a worker that died xdist would wait for ever for what it had; a test that hangs says where, and ends the run.
WORKERS := --max-worker-restart 0 -o faulthandler_exit_on_timeout=true
SUITE := -m pytest -m "not slow" $(WORKERS) --dist loadfile --no-loadscope-reorder
test: $(READY) ## All checks, and every test but the slow ones.
	@$(MAKE) --no-print-directory -j 3 check units local  # while one waits another computes; none ends alone on one core

units: $(READY)
	$(BIN)/python $(SUITE) -n 2 --ignore tests/local

local: $(READY)
	$(BIN)/python $(SUITE) -n 4 tests/local  # more workers: these wait for processes

THOROUGH := tests/property tests/contract/test_dynamodb_differential.py tests/unit/producers tests/unit/streamgage/fold  # say examples(…)
SOAK := tests/local/test_chaos.py tests/local/test_soak.py tests/local/test_collector_outage.py
slow: $(READY) ## The long runs of the suites, but for those of soak.
	$(BIN)/python -m pytest -m slow -s $(SOAK:%=--ignore %)
	$(BIN)/python -m pytest --hypothesis-profile thorough -m "not slow" $(THOROUGH)

soak: $(READY) ## The chaos table, ten minutes of load with kills and resharding (STREAMGAGE_SOAK_S=600), ten without a stream (STREAMGAGE_OUTAGE_S=600).
	$(BIN)/python -m pytest -m slow -s $(SOAK)

check: $(READY) ## Formatting, lint, types and import contracts, the template; without the tests.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/streamgage lint

FUZZ_S ?= 60
FUZZ_VENV := .streamgage/fuzzvenv
FUZZ_TARGETS := kpl avro rows blocks schema fold json toml import agents

$(FUZZ_VENV)/.ready: requirements/fuzz.lock
	$(PYTHON) -m venv $(FUZZ_VENV)
	$(FUZZ_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/fuzz.lock
	@touch $@

fuzz: $(FUZZ_VENV)/.ready ## Fuzz every parser, FUZZ_S seconds each; findings stay in .streamgage/fuzz.
	@for each in $(FUZZ_TARGETS); do $(FUZZ_VENV)/bin/python tests/fuzz/fuzz_$$each.py -runs=10000000 -max_total_time=$(FUZZ_S) -print_final_stats=1 || exit 1; done

EMULATORS := $(HOME)/.cache/streamgage/kinesis-emulators
differential: $(READY) ## Ask kinesalite and kinesis-local the same as our Kinesis (needs npm).
	mkdir -p $(EMULATORS)
	cp requirements/emulators/package.json requirements/emulators/package-lock.json $(EMULATORS)
	npm ci --prefix $(EMULATORS) --no-audit --no-fund --loglevel=error  # by the hashes of the lock
	KINESIS_EMULATORS=$(EMULATORS) $(BIN)/python -m pytest tests/contract/test_kinesis_plane_differential.py

MINIFIER := $(HOME)/.cache/streamgage/browser
browser: ## Make producers/browser/dist from its source (needs npm).
	mkdir -p $(MINIFIER)
	cp requirements/browser/package.json requirements/browser/package-lock.json $(MINIFIER)
	npm ci --prefix $(MINIFIER) --no-audit --no-fund --loglevel=error  # by the hashes of the lock
	node producers/browser/build.mjs $(MINIFIER) producers/browser/dist

AGENTS_VENV := .streamgage/agentsvenv
$(AGENTS_VENV)/.ready: requirements/agents.lock
	$(PYTHON) -m venv $(AGENTS_VENV)
	$(AGENTS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/agents.lock
	@touch $@

interop: $(READY) $(AGENTS_VENV)/.ready ## Run others' clients and agents against it: AWS's, OpenTelemetry's, InfluxData's (needs Java 17, Maven, npm, Go 1.26).
	$(BIN)/python -m pytest tests/interop

PEERS_VENV := .streamgage/peersvenv
$(PEERS_VENV)/.ready: requirements/peers.lock
	$(PYTHON) -m venv $(PEERS_VENV)
	$(PEERS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/peers.lock
	@touch $@

bench: $(READY) $(PEERS_VENV)/.ready ## Measure everything beside its peers, and make docs/benchmarks.md (half an hour or more).
	$(BIN)/streamgage bench all
	$(BIN)/streamgage bench report

CHECKOV_VENV := .streamgage/checkovvenv
$(CHECKOV_VENV)/.ready: requirements/checkov.lock
	$(PYTHON) -m venv $(CHECKOV_VENV)
	$(CHECKOV_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/checkov.lock
	@touch $@

checkov: $(CHECKOV_VENV)/.ready ## checkov's opinion of the template; what it skips, and why, is in infra/template/checkov.yaml.
	CKV_PARSE_ERROR_FAIL=true $(CHECKOV_VENV)/bin/checkov --config-file infra/template/checkov.yaml

SEEDS ?= 20000
simulate: $(READY) ## Attack the pipeline in a deterministic simulation, SEEDS schedules.
	PYTHONPATH=.:tests $(BIN)/python -m simulation --seeds $(SEEDS)

planted: $(READY) ## Plant each known bug, and count the seeds until the simulation catches it.
	PYTHONPATH=.:tests $(BIN)/python -m simulation.planted

lock: $(READY) ## Resolve requirements/*.lock again from pyproject.toml, and npm's.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --all-extras --upgrade --quiet pyproject.toml -o requirements/dev.lock
	$(BIN)/uv pip compile --python-version 3.13 --python-platform aarch64-unknown-linux-gnu --generate-hashes --no-header --no-annotate --quiet --constraints requirements/dev.lock pyproject.toml -o infra/aws/bundle/function.lock
	$(BIN)/uv pip compile --python-version 3.13 --python-platform aarch64-unknown-linux-gnu --generate-hashes --no-header --no-annotate --quiet --extra api --constraints requirements/dev.lock pyproject.toml -o infra/aws/bundle/api.lock
	printf 'fastavro\naws-lambda-powertools\n' | $(BIN)/uv pip compile --python-version 3.13 --python-platform aarch64-unknown-linux-gnu --generate-hashes --no-header --no-annotate --quiet --constraints requirements/dev.lock - -o infra/aws/bundle/collector.lock
	printf 'checkov\n' | $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --quiet - -o requirements/checkov.lock
	printf 'bytewax\nquixstreams\nasync-kinesis\nfastapi\nmangum\nuvicorn\nboto3\n' | $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --quiet - -o requirements/peers.lock
	printf 'cloudevents\ninfluxdb-client\nopentelemetry-sdk\nopentelemetry-exporter-otlp-proto-http\n' | $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --quiet - -o requirements/agents.lock
	printf 'fastavro\natheris==3.0.0\n' | $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --quiet --constraints requirements/dev.lock - -o requirements/fuzz.lock
	printf 'uv\n' | $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --quiet - -o requirements/uv.lock
	for each in agents browser emulators javascript; do (cd requirements/$$each && npm install --package-lock-only --no-audit --no-fund --loglevel=error) || exit 1; done

clean: ## Remove the virtual environment and local state.
	rm -rf $(VENV) .streamgage build dist *.egg-info
