# Each target is one command of `chatlab` (the kit's command line) or of pytest, after the environment is there.
# A person without make types the same: .venv/bin/chatlab lab 1

VENV ?= .venv
BIN = $(VENV)/bin
CHATLAB = $(BIN)/chatlab
PYTEST = $(BIN)/pytest
BASE = $(VENV)/.ready-base
NOTEBOOKS = $(VENV)/.ready-notebooks
LINT = $(VENV)/.ready-lint
BENCH = $(VENV)/.ready-bench
# Twice as many workers as cores: a check of code that hangs waits for its deadline, and needs no core meanwhile.
WORKERS = -n 4 --dist worksteal
N ?= 20
TESTS ?= tests/labs tests/kit
# Handed on in the environment: a quote or a $ in a command is for the command, not for make or the recipe's shell.
ifdef SERVER
override SERVER := $(value SERVER)
export SERVER
endif

.DEFAULT_GOAL := help
.SUFFIXES:
.PHONY: FORCE help chat join conformance watch hint why progress notebook notebooks test test-notebooks stress bench doctor lint clean
.PHONY: environment environment-notebooks $(foreach n,1 2 3 4 5 6,lab-$(n))

##@ For students

lab-1 lab-2 lab-3 lab-4 lab-5 lab-6: lab-%: $(BASE) ## tell a lab's story with its real programs (lab-1 … lab-6)
	@$(CHATLAB) lab $*

notebook: $(NOTEBOOKS) ## open JupyterLab in notebooks/
	@$(CHATLAB) notebook

check-%: $(BASE) FORCE ## judge a lab's exercises (check-1), or one of them (check-1.2)
	@$(CHATLAB) check $*

watch: $(BASE) ## judge the exercise being edited at each save
	@$(CHATLAB) watch

hint: $(BASE) ## the next hint:  make hint EX=1.2
	@$(CHATLAB) hint $(EX)

why: $(BASE) ## a failed check's trace beside the reference's:  make why EX=1.2
	@$(CHATLAB) why $(EX)

progress: $(BASE) ## what is done, and what comes next
	@$(CHATLAB) progress

chat: $(BASE) ## open a room and chat in it; with your own server:  make chat SERVER=PROGRAM
	@$(CHATLAB) chat$(if $(SERVER), --server "$$SERVER")$(if $(PORT), --port $(PORT))

join: $(BASE) ## join that room from another terminal
	@$(CHATLAB) join$(if $(PORT), --port $(PORT))$(if $(HOST), --host $(HOST))

doctor: $(BASE) ## what this machine has, and the cure for what it lacks
	@$(CHATLAB) doctor

conformance: $(BASE) ## hold a relay against the chat's contract; yours:  make conformance SERVER="command {port}"
	@$(PYTEST) -q --no-header $(WORKERS) tests/conformance$(if $(SERVER), --server "$$SERVER")$(if $(SLOW), --slow)

##@ For instructors

test-notebooks: $(NOTEBOOKS) ## hold the notebooks against their stored outputs, with the solutions (nbval)
	@CHATLAB_WORK=solutions $(PYTEST) --nbval --nbval-kernel-name chatlab --nbval-cell-timeout 60 -n 2 --dist loadfile notebooks

notebooks: $(NOTEBOOKS) ## rebuild the notebooks from notebooks/text and run them all
	@$(CHATLAB) notebooks

##@ For developers

test: $(NOTEBOOKS) ## the labs', the kit's and the guards' tests; these judge every solution and wrong answer
	@$(PYTEST) $(WORKERS)

stress: $(BASE) ## tests N times while both cores are loaded:  make stress N=20 TESTS=tests/labs
	@$(CHATLAB) stress --times $(N) $(TESTS)

bench: $(BENCH) ## the servers beside their peers, 15 minutes; yours too:  make bench SERVER="command {port}"
	@$(CHATLAB) bench$(if $(QUICK), --quick)$(if $(KEEP), --keep)$(if $(SERVER), --server "$$SERVER")

lint: $(LINT) ## ruff: mistakes, and the form of the code
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

clean: $(BASE) ## remove what tools left behind; your exercises, your progress and .venv stay
	@$(CHATLAB) clean

help: ## this list
	@awk -f .ci/help.awk $(firstword $(MAKEFILE_LIST))

.DEFAULT:
	@$(error chatlab: there is no target $@: make help lists them, such as lab-1, check-1 and check-1.2)

# The environment

environment: $(BASE) $(BENCH)
environment-notebooks: $(NOTEBOOKS) $(LINT) $(BENCH)

# PYTHON chooses the interpreter (PYTHON=python3.12 make lab-1). Without it: that of .venv, else the first that is new enough.
PYTHONS = $(or $(PYTHON),$(if $(wildcard $(VENV)/.making),,$(BIN)/python) python3 python3.13 python3.12 python3.11)

$(VENV)/.ready-%: pyproject.toml constraints.txt $(BIN)/python $(if $(PYTHON),FORCE)
	@for python in $(PYTHONS); do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	        && exec "$$python" -m chatlab.environment --venv $(VENV) $*; \
	done; \
	echo "chatlab: $(if $(PYTHON),$(PYTHON) is not Python 3.11 or newer,no Python 3.11 or newer found);" \
	    "install one and name it, as in: PYTHON=python3.12 make lab-1" >&2; exit 1

$(BIN)/python: ;
