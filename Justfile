# The project's recipes; run them with ./justw, which first gets whatever is missing.

set positional-arguments

export PATH := justfile_directory() / ".venv/bin:" + justfile_directory() / ".tools/bin:" + env("PATH")

lock_command := "uv pip compile --universal --python-version 3.11 --generate-hashes --quiet --custom-compile-command 'just lock'"

[private]
default:
    @just --list --unsorted

# The first experiment: native, Lua and Python 3, set-up and images included
[no-exit-message]
bench *args:
    @./justw lab run experiments/default.toml "$@"

# The same engines with fewer slices, in about a minute
[no-exit-message]
quick *args:
    @./justw lab run experiments/quick.toml "$@"

# The experiment of 2018 as published, as run and corrected, set beside the page (half an hour)
[no-exit-message]
published *args:
    @./justw lab run experiments/published-2018.toml "$@"
    @./justw lab published latest "$@"

# What this machine can tell apart: A/A, a planted slowdown, the detectable effect (some 11 minutes)
[no-exit-message]
resolution *args:
    @./justw lab run experiments/resolution.toml "$@"
    @./justw lab resolution latest "$@"

# Every check and every test
test: _engine lint unit docker-tests

# Static checks: ruff, mypy, hadolint, shellcheck, the form of this file
lint:
    ruff check
    ruff format --check
    mypy
    hadolint images/*/Dockerfile
    shellcheck --source-path=SCRIPTDIR --external-sources --check-sourced justw .ci/run .github/actions/gate/gate $(grep -slE '^#!.*sh$' images/*/*)
    just --fmt --check

# Tests that need no engine (unit and golden); arguments go to pytest
unit *args:
    pytest --numprocesses auto tests/unit tests/golden "$@"

# Tests with the real images, and with a real browser; arguments go to pytest
docker-tests *args: _engine _browser
    @./justw lab images --all
    pytest tests/docker "$@"

[private]
_engine:
    @./justw --engine

[private]
_browser:
    @./justw --browser

# The lab itself: just lab doctor, just lab run FILE, just lab report latest, ...
[no-cd]
[no-exit-message]
lab *args:
    @"{{ justfile_directory() }}/justw" lab "$@"

# Build the images that are missing, and list them
[no-exit-message]
images *args:
    @./justw lab images "$@"

# Raise the testbed by hand (LAB_ENGINE=lua for another engine)
[no-exit-message]
up *args:
    @./justw lab up "$@"

# Take it down again
[no-exit-message]
down *args:
    @./justw lab down "$@"

# How fast a million latency lines become columns, against the page's awk script
[private]
benchmark-frames *args:
    python -m tests.benchmarks.frames "$@"

# A million latency lines to figures, page and archive, and back into pandas
[private]
benchmark-dataset *args:
    python -m tests.benchmarks.dataset "$@"

# Real runs, each struck by a fault at a random moment: more than a hundred, and a table (an hour and a half)
[private]
faults *args: _engine
    @./justw lab images
    python -m tests.faults "$@"

# The gate on the real thing: identical builds, planted slowdowns, broken candidates (two to three hours)
[private]
prove-gate *args: _engine
    python -m tests.benchmarks.prove_gate "$@"

# Lock the dependencies anew, by hash, naming no index
lock:
    {{ lock_command }} --output-file requirements.txt --group dev --upgrade pyproject.toml
    printf 'rust-just\nuv\n' | {{ lock_command }} --output-file requirements-tools.txt --upgrade -

# Put the code into its canonical form
fmt:
    ruff check --fix
    ruff format
    just --fmt
