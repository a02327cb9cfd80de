# make demo: generate and restore digits with the model that ships.  make test: linter, types and tests.
# make docs: build the site into site/, tutorials executed; a broken link or a failing cell fails.
# make release-check: build sdist and wheel, check them, and test the wheel alone in a clean environment.
# make test-extras: each extra in an environment of its own.
# make test-web: the web page in a real browser; needs Chromium. SHOTS=FOLDER keeps pictures of it.
# make paper DATA=...: measure docs/background/paper.md and docs/background/bce.md again.
# make speed DATA=...: measure docs/results/performance.md again, all but its table of other libraries.
# make peers DATA=...: train other libraries and by other losses for equal times, into docs/results/quality.md.
# make interop DATA=...: use a model in k-diffusion and deepinv.
PYTHON ?= python3
BIN := .venv/bin

EXTRAS := codecs digits evaluate export features heic hub parquet tensorboard web interop

.PHONY: demo test test-extras test-web docs release-check paper speed interop peers clean

demo: .venv/installed
	$(BIN)/dae-sampler sample mnist -n 64 --out demo/samples.png --trajectory demo/trajectory.gif --every 2
	$(BIN)/dae-sampler sample mnist-paper -n 64 --out demo/iterate.png
	$(BIN)/dae-sampler sample mnist -n 16 --seed 1 --out demo/digits --quiet
	$(BIN)/dae-sampler corrupt 'gaussian(0.6)' demo/digits --out demo/damaged
	$(BIN)/dae-sampler denoise mnist demo/damaged --level 0.6 --out demo/restored --compare
	$(BIN)/dae-sampler corrupt 'gaussian(25/255)' docs/images/chelsea.png --out demo/noisy
	$(BIN)/dae-sampler denoise photo demo/noisy --truth docs/images --out demo/photo --compare
	@echo
	@echo "demo/samples.png            64 digits from noise, by the level-conditional model"
	@echo "demo/trajectory.gif         how they came out of the noise"
	@echo "demo/iterate.png            the same by the paper's plain iteration x <- r(x)"
	@echo "demo/restored-compare.png   damaged digits (left) and restored (right)"
	@echo "demo/photo-compare.png      a photograph with noise (left) and restored (right), of its own size"
	@echo "next: $(BIN)/dae-sampler denoise photo YOUR-PICTURES/ --compare, or $(BIN)/dae-sampler train mnist"

test: .venv/tested
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyrefly check --summary=none
	$(BIN)/python -m pytest

test-extras: $(EXTRAS:%=test-extra-%)

test-extra-%:  # each extra alone, in an environment of its own; what the others are for has to say so
	rm -rf .venv-extra
	$(PYTHON) -m venv .venv-extra
	.venv-extra/bin/python -m pip install --quiet '.[$*]' 'pytest>=8'
	.venv-extra/bin/python -m pytest -o addopts= -q tests/extras
	rm -rf .venv-extra

test-web:
	$(PYTHON) -m venv .venv-web
	.venv-web/bin/python -m pip install --quiet '.[web]' 'playwright>=1.49' 'pytest>=8'
	DAE_SAMPLER_SHOTS="$(SHOTS)" .venv-web/bin/python -m pytest -o addopts= -q -rs tests/extras/test_web.py \
		tests/extras/test_web_page.py

docs:
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --editable '.[docs]'
	PATH="$(CURDIR)/.venv-docs/bin:$$PATH" .venv-docs/bin/python -m sphinx -W --keep-going -q -b html -c docs . site
	@echo "site/index.html"

release-check:
	rm -rf dist .venv-release
	$(PYTHON) -m venv .venv-release
	.venv-release/bin/python -m pip install --quiet build twine
	.venv-release/bin/python -m build --quiet
	.venv-release/bin/python -m twine check --strict dist/*
	.venv-release/bin/python -m pip install --quiet "$$(ls $(CURDIR)/dist/*.whl)[test]"
	tar -xzf dist/*.tar.gz -C .venv-release
	cd .venv-release/dae_sampler-*/ && mv dae_sampler ../sources && ../bin/python -m pytest tests
	rm -rf .venv-release

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || \
		{ echo "Python 3.11 to 3.14 is needed: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/tested: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@ .venv/installed

paper: .venv/tested
	$(BIN)/python benchmarks/generators.py --data-root "$(DATA)"
	for part in verify iterate failures refine; do \
		$(BIN)/python benchmarks/paper.py $$part --data-root "$(DATA)" || exit 1; done
	$(BIN)/python benchmarks/paper.py digits
	$(BIN)/python benchmarks/bce.py --data-root "$(DATA)"

speed: .venv/tested
	for part in step growth startup folder; do $(BIN)/python benchmarks/speed.py $$part || exit 1; done
	for part in memory processes; do $(BIN)/python benchmarks/speed.py $$part --data-root "$(DATA)" || exit 1; done

interop:
	$(PYTHON) -m venv .venv-interop
	.venv-interop/bin/python -m pip install --quiet --editable '.[interop]'
	.venv-interop/bin/python benchmarks/interop.py --data-root "$(DATA)"

peers:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --editable '.[peers]'
	run() { .venv-peers/bin/python benchmarks/peers.py run --data-root "$(DATA)" "$$@" || exit 1; }; \
	before() { run "$$@" --net "unet(64, 128)" --batch 128 --lr 0.002; }; \
	for minutes in 0.5 1 2 5 10; do run ours --minutes $$minutes; before ours --minutes $$minutes; done; \
	run ours --minutes 2 --seed 1; \
	for seed in 0 1; do run ours --net "unet(64, 128, 256)" --seed $$seed; done; \
	for seed in 0 1; do run mse --power 1 --minutes 2 --density "lognormal(0.6, 1.2)" --seed $$seed; \
		for density in -1.2 -0.5 0 0.6 1; do for loss in "ours" "mse" "mse --power 1" "edm"; do \
			before $$loss --minutes 2 --density "lognormal($$density, 1.2)" --seed $$seed; done; done; done; \
	for name in lucidrains azula diffusers; do \
		run $$name --precision float32; run $$name; run $$name --tuned; done
	.venv-peers/bin/python benchmarks/peers.py table

clean:
	rm -rf .venv .venv-docs .venv-extra .venv-interop .venv-peers .venv-release .venv-web demo dist site
