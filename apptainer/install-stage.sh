#!/bin/sh
# Inside an image: install the stage in /opt/aframe/projects/$1 into /opt/venv, hashes checked.
set -eu
project="/opt/aframe/projects/$1"
uv=/opt/uv/bin/uv
export UV_LINK_MODE=copy UV_NO_CACHE=1

"$uv" venv --quiet --no-python-downloads --python python3 /opt/venv
"$uv" pip sync --quiet -p /opt/venv/bin/python --require-hashes "$project/requirements.lock"

# The local libraries that the stage is built on, by the path entries of its pyproject.toml. They
# stay editable, so that a checkout bound over /opt/aframe (--dev) is what runs.
/opt/venv/bin/python - "$project" > /opt/local-packages <<'PYTHON'
import sys
import tomllib
from pathlib import Path

found = []


def visit(folder):
    table = tomllib.loads((folder / "pyproject.toml").read_text())
    for source in table.get("tool", {}).get("uv", {}).get("sources", {}).values():
        if "path" in source and (library := (folder / source["path"]).resolve()) not in found:
            visit(library)
            found.append(library)


project = Path(sys.argv[1]).resolve()
visit(project)
print("\n".join(map(str, [*found, project])))
PYTHON
while read -r package; do
    "$uv" pip install --quiet -p /opt/venv/bin/python --no-deps --offline -e "$package"
done < /opt/local-packages
rm /opt/local-packages
/opt/venv/bin/python -m compileall -q /opt/venv /opt/aframe || true
chmod -R a+rX /opt/venv /opt/aframe
