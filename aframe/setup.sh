#!/usr/bin/env bash
# Make the root environment (.venv): law, uv and the tools for tests, from the hash-checked lock.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-python3}"

fail() {
    echo "setup: $*" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "no $python: install Python 3.11 to 3.13, or PYTHON=/path/to/python make setup"
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' ||
    fail "$("$python" --version) found, 3.11 to 3.13 needed: PYTHON=/path/to/python make setup"

# Debian and Ubuntu keep ensurepip in a package of its own.
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    as_root=""
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    package="$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    if command -v apt-get >/dev/null && $as_root true 2>/dev/null; then
        echo "setup: installing $package" >&2
        $as_root apt-get update -qq
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >/dev/null
    else
        fail "$python cannot make virtual environments: install $package (sudo apt-get install $package) and run make setup again"
    fi
fi

echo "setup: making .venv" >&2
rm -f .venv/aframe-stamp
"$python" -m venv --clear .venv
.venv/bin/python -m pip install --disable-pip-version-check --require-hashes -r requirements.lock --quiet ||
    fail "pip could not install requirements.lock; its own words stand above. Is a package index reachable?"
# -p names the environment: it wins over UV_PYTHON and one that is active.
.venv/bin/uv pip install --quiet -p .venv/bin/python --no-deps --offline \
    -e libs/ledger -e libs/runtime -e .
touch .venv/aframe-stamp
echo "setup: done" >&2
