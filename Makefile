# Sets up what is missing and runs the parts of the project. `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
ROS_DISTRO ?= kilted
TASK ?= bin_picking
FAULT ?= drop
SEED ?= 0

ifeq ($(filter kilted jazzy,$(ROS_DISTRO)),)
$(error ROS_DISTRO=$(ROS_DISTRO): this Makefile sets up kilted or jazzy; with another ROS 2 build the package in your own workspace)
endif
export ROS_DISTRO

suffix := $(if $(filter jazzy,$(ROS_DISTRO)),-jazzy)
venv_stamp := .setup/venv$(suffix)
build_stamp := .setup/build$(suffix)
interfaces := $(wildcard msg/*.msg srv/*.srv action/*.action)
# A folder is newer than the build when a module came or went.
modules := $(sort $(dir $(wildcard progress_monitor/*.py progress_monitor/*/*.py progress_monitor_lab/*/*.py)))
run := scripts/with-env

.PHONY: help setup build test lint demo check-demo check-model bench footagebench monitorbench \
  noisebench recoverybench adaptbench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

setup: $(build_stamp)  ## make the virtual environment and build the messages (ROS_DISTRO=kilted|jazzy)

$(venv_stamp): $(wildcard requirements/*.txt) scripts/setup
	scripts/setup $(PYTHON) $(ROS_DISTRO)

$(build_stamp): $(venv_stamp) $(interfaces) $(modules) CMakeLists.txt package.xml scripts/build scripts/patch_prefix.py
	scripts/build

build: $(venv_stamp)  ## build the ROS package with colcon
	scripts/build

test: $(build_stamp)  ## run the linters and all tests
	scripts/check

lint: $(build_stamp)  ## run ruff and mypy
	scripts/check lint

demo: $(build_stamp)  ## play the whole system live (TASK=... FAULT=... SEED=...)
	$(run) python -m progress_monitor_lab.demo --task $(TASK) --fault $(FAULT) --seed $(SEED)

check-demo: $(build_stamp)  ## play the demo over seeds and faults and count what was called
	$(run) python -m progress_monitor_lab.demo.check

check-model: $(build_stamp)  ## measure the small checkpoint on unseen seeds
	$(run) python -m progress_monitor_lab.bench model

bench: $(build_stamp)  ## measure the streaming decoder against the reference
	$(run) python -m progress_monitor_lab.bench speed --threads 2 --long 2000

footagebench: $(build_stamp)  ## measure the evidence on real clips (FOOTAGE=folder with manifest.json)
	@test -n "$(FOOTAGE)" || { echo 'FOOTAGE: name the folder of the clips, with its manifest.json' >&2; exit 2; }
	$(run) python -m progress_monitor_lab.bench footage --footage "$(FOOTAGE)"

monitorbench: $(build_stamp)  ## measure the judgement on simulated episodes
	$(run) python -m progress_monitor_lab.bench judgement --strategy procvlm --over-dds 18
	$(run) python -m progress_monitor_lab.bench judgement --model models/small_cell_forms --beside \
	  --out out/bench/strategies.json

recoverybench: $(build_stamp)  ## measure what the supervisor saves; broken off, it goes on
	$(run) python -m progress_monitor_lab.bench recovery

noisebench: $(build_stamp)  ## measure the judgement on made series of noisy numbers (no model)
	$(run) python -m progress_monitor_lab.bench noise

adaptbench: $(build_stamp)  ## measure the adaptation to new tasks (FOOTAGE=folder: real clips too)
	$(run) python -m progress_monitor_lab.bench adapt $(if $(FOOTAGE),--footage "$(FOOTAGE)")

clean:  ## remove what was built and written, but for the virtual environments
	rm -rf out ros2_ws/build* ros2_ws/install* ros2_ws/log* .setup/build*
	rm -rf .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find progress_monitor progress_monitor_lab tests launch scripts -name __pycache__ -prune -exec rm -rf {} +
