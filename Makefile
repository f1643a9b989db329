# Thin names over commands that also work by themselves.
#   make sandbox                                              a search of simulated data
#   make sandbox EXPERIMENT=open-events STRAIN=folder         a search of real data
#   make sandbox EXPERIMENT=deepclean                         subtract witnessed noise, simulated
#   make deepclean-live [RATE=10]                             the same live, with a status page
#   make model EXPERIMENT=o3                                  train a network to keep under models/
#   make search STRAIN=folder MODEL=models/name               a search by a network trained before
#   make images [PROJECT=train]                               images to run the stages in
#   make test | lint | lock | clean

PYTHON ?= python3
EXPERIMENT ?= quickstart
STRAIN ?=
MODEL ?=
ARGUMENTS ?=
PROJECT ?=
RATE ?= 1
DATA ?= ../shared/data

LAW_CONFIG := $(wildcard configs/$(EXPERIMENT)/law.cfg)
# an experiment with a problem is one of cleaning
CLEANING := $(shell grep -ls '^problem:' configs/$(EXPERIMENT)/experiment.yaml $(EXPERIMENT)/experiment.yaml)
STAGES := projects/datagen projects/train projects/export projects/infer projects/evaluate
ROOT_STAMP := .venv/aframe-stamp

.DEFAULT_GOAL := help
.PHONY: help setup sandbox deepclean-live model test lint format lock images clean

help:
	@sed -n '2,9s/^# *//p' Makefile

setup: $(ROOT_STAMP)

$(ROOT_STAMP): requirements.lock pyproject.toml libs/ledger/pyproject.toml libs/runtime/pyproject.toml
	@PYTHON="$(PYTHON)" bash aframe/setup.sh

sandbox: setup
	.venv/bin/python -m aframe.environment $(if $(CLEANING),projects/train projects/deepclean,$(STAGES))
	LAW_CONFIG_FILE="$${LAW_CONFIG_FILE:-$(LAW_CONFIG)}" .venv/bin/law run \
		aframe.pipelines.$(if $(CLEANING),deepclean.DeepClean,sandbox.Sandbox) \
		--experiment "$(EXPERIMENT)" $(if $(STRAIN),--strain "$(STRAIN)") $(ARGUMENTS)

deepclean-live: setup
	.venv/bin/python -m aframe.environment projects/train projects/deepclean
	exec projects/deepclean/.venv/bin/python -m deepclean live --experiment configs/deepclean \
		--output "$${AFRAME_STORE:-store}/deepclean-live" --rate $(RATE) $(ARGUMENTS)

model: setup
	.venv/bin/python -m aframe.environment projects/datagen projects/train
	case "$(EXPERIMENT)" in o3*) [ -d "configs/$(EXPERIMENT)/psds" ] || \
		cp -r "$(DATA)/noise_curves/O3a-psds" "configs/$(EXPERIMENT)/psds";; esac
	LAW_CONFIG_FILE="$${LAW_CONFIG_FILE:-$(LAW_CONFIG)}" .venv/bin/law run \
		aframe.TrainLocal --experiment "$(EXPERIMENT)" $(ARGUMENTS)
	projects/train/.venv/bin/python -m train card --output "models/$(EXPERIMENT)" --run_dir \
		"$$(ls -td "$${AFRAME_STORE:-store}/$(EXPERIMENT)"/*/train-0 | head -1)"

search: setup
	$(if $(STRAIN),,$(error give STRAIN=folder, the strain files to search))
	.venv/bin/python -m aframe.environment $(STAGES)
	LAW_CONFIG_FILE="$${LAW_CONFIG_FILE:-$(LAW_CONFIG)}" .venv/bin/law run \
		aframe.pipelines.search.Search --folder "$(STRAIN)" \
		$(if $(MODEL),--model "$(MODEL)") $(ARGUMENTS)

test: setup
	.venv/bin/python -u tests/run.py

lint: setup
	.venv/bin/python -u tests/run.py --lint

format: setup
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

lock: setup
	.venv/bin/python -m aframe.environment --lock

images:
	bash apptainer/build.sh $(PROJECT)

# Environments and caches; never the store.
clean:
	rm -rf .venv libs/*/.venv projects/*/.venv .law .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
