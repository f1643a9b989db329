#!/bin/sh
# Inside an image: install the stage in /opt/aframe/projects/$1 into /opt/venv, hashes checked, with the
# command `stage`, its command line. What only the installation needs is gone at the end.
set -eu
code=/opt/aframe
project="$code/projects/$1"
# where packages come from, if build.sh was told
[ ! -e /mnt/settings ] || . /mnt/settings
# environments of a checkout hold links to its own Python
find "$code" \( -name .venv -o -name __pycache__ -o -name tests \) -prune -exec rm -rf {} +

# uv alone, in the version of the root lock
python3 -m venv /opt/uv
awk '/^uv==/ {on = 1} on {print} on && !/\\$/ {exit}' "$code/requirements.lock" > /opt/uv/uv.lock
/opt/uv/bin/pip install --quiet --no-cache-dir --require-hashes -r /opt/uv/uv.lock
uv() { UV_LINK_MODE=copy /opt/uv/bin/uv "$@"; }
packages() { /opt/uv/bin/python "$code/apptainer/packages.py" "$@"; }
[ -n "${UV_CACHE_DIR:-}" ] || export UV_NO_CACHE=1

python=/opt/venv/bin/python
uv venv --quiet --no-python-downloads --python "$(command -v python3)" /opt/venv
uv pip sync --quiet -p "$python" --require-hashes "$project/requirements.lock"
# The local packages stay editable, so that a checkout bound over /opt/aframe (--dev) is what runs.
packages local "$project" > /opt/uv/local
while read -r package; do
    uv pip install --quiet -p "$python" --no-deps --offline -e "$package"
done < /opt/uv/local
packages unneeded "$project" /opt/venv > /opt/uv/unneeded
[ ! -s /opt/uv/unneeded ] || uv pip uninstall --quiet -p "$python" -r /opt/uv/unneeded
for library in "$code"/libs/*; do
    grep -qx "$library" /opt/uv/local || rm -rf "$library"
done

module=$(sed -n 's/^module-name = "\(.*\)"$/\1/p' "$project/pyproject.toml")
cat > /opt/venv/bin/stage <<STAGE
#!/bin/sh
# The stage's command line; \`python ...\` runs another program of its environment.
[ "\${1:-}" = python ] && shift && exec /opt/venv/bin/python "\$@"
exec /opt/venv/bin/python -P -m $module "\$@"
STAGE
chmod 755 /opt/venv/bin/stage
rm -rf /opt/uv "$code/apptainer" "$code/requirements.lock"
# An image cannot write compiled code when it runs. Some packages hold files that are no Python 3.
"$python" -m compileall -q -j 0 /opt/venv "$code" > /dev/null || true
chmod -R a+rX /opt/venv "$code"
