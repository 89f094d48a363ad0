# The README's commands. All of them set up what they need first, and build into a cache folder
# outside the checkout: MILLRACE_CACHE, or ~/.cache/millrace.

SHELL := /bin/bash
export MILLRACE_CACHE ?= $(HOME)/.cache/millrace
ifndef CARGO_TARGET_DIR
export CARGO_TARGET_DIR := $(shell MILLRACE_CACHE="$(MILLRACE_CACHE)" scripts/target-dir)
endif
bin := $(CARGO_TARGET_DIR)/release

.PHONY: help run test test-long bench images fmt

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 - /p' $(MAKEFILE_LIST)

run: ## a real Kafka broker, the flights of 2013, and examples/flights.sql between two topics
	@scripts/setup demo
	@cargo build --release --workspace --bins
	@$(bin)/demo

test: ## everything that a change must pass
	@scripts/test short

test-long: ## the same, with the whole torture test, planted bugs, a comparison with Flink, licences
	@scripts/test long

bench: ## Millrace, Apache Flink and a bare copy loop; writes bench/RESULTS.md
	@bench/run

images: ## every image of the platform by Nix, loaded into Docker; writes images/manifest.json
	@scripts/images

fmt: ## formats the sources
	@cargo fmt --all
