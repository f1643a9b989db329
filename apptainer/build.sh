#!/usr/bin/env bash
# Build the image of each project that has an apptainer.def, on one base.
#
#   apptainer/build.sh [PROJECT ...]     all if none is named
#
# Images go to $AFRAME_CONTAINER_ROOT (default images/). Further settings, all optional:
#   BASE_BOOTSTRAP, BASE_FROM   what the base is made from: `docker` and an image of a registry (the
#                               default), or `localimage` and a root file system or image file
#   APPTAINER_FLAGS             options of `apptainer build`, for example `--fakeroot --sandbox`
#   MKSQUASHFS_FLAGS            how images are compressed, for example `-comp zstd`
#   ENGINE=docker               images of docker instead, aframe/PROJECT on BASE_FROM
#   DOCKER_FLAGS                options of `docker build`
# For the build alone: UV_* and PIP_* say where packages come from, UV_CACHE_DIR a cache of uv to
# take them from, SSL_CERT_FILE the certificates of an index that the base does not know.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
repository=$PWD
engine="${ENGINE:-apptainer}"

fail() {
    echo "build: $*" >&2
    exit 1
}

projects=("$@")
if ((${#projects[@]} == 0)); then
    for definition in projects/*/apptainer.def; do
        projects+=("$(basename "$(dirname "$definition")")")
    done
fi
for project in "${projects[@]}"; do
    [ -e "projects/$project/apptainer.def" ] || fail "no projects/$project/apptainer.def: there are" \
        projects/*/apptainer.def
done
command -v "$engine" >/dev/null ||
    fail "$engine is not installed: see https://apptainer.org, or https://docs.docker.com/engine"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

# Version of a project's code, marked where it is not that of the commit.
version() {
    local number
    number=$(sed -n 's/^version = "\(.*\)"$/\1/p' "projects/$1/pyproject.toml")
    [ -z "$(git status --porcelain -- libs "projects/$1" 2>/dev/null)" ] || number+="+changed"
    echo "$number"
}

# What an image is made from, without environments and caches, in a folder of its own.
gather() {
    rm -rf "$scratch/context"
    mkdir "$scratch/context"
    tar -c --exclude=.venv --exclude=__pycache__ --exclude=tests --exclude='.*_cache' \
        requirements.lock apptainer libs "projects/$1" | tar -x -C "$scratch/context"
}

if [ "$engine" = docker ]; then
    read -ra flags <<< "${DOCKER_FLAGS:-}"
    for project in "${projects[@]}"; do
        gather "$project"
        echo "build: docker image aframe/$project" >&2
        docker build "${flags[@]}" --tag "aframe/$project" --file "$scratch/context/apptainer/Dockerfile" \
            ${BASE_FROM:+--build-arg "BASE=$BASE_FROM"} --build-arg "PROJECT=$project" \
            --build-arg "VERSION=$(version "$project")" --build-arg "COMMIT=$commit" \
            "$scratch/context"
    done
    exit
fi

mkdir -p "${AFRAME_CONTAINER_ROOT:-images}"
root=$(cd "${AFRAME_CONTAINER_ROOT:-images}" && pwd)
read -ra flags <<< "${APPTAINER_FLAGS:-}"
[ -z "${MKSQUASHFS_FLAGS:-}" ] || flags+=(--mksquashfs-args "$MKSQUASHFS_FLAGS")
# What only the build may see: bound, at a folder that every system has and that stays empty.
mkdir "$scratch/build"
flags+=(--bind "$scratch/build:/mnt")
if [ -n "${SSL_CERT_FILE:-}" ]; then
    cp "$SSL_CERT_FILE" "$scratch/build/certificates.crt"
    export SSL_CERT_FILE=/mnt/certificates.crt PIP_CERT=/mnt/certificates.crt
fi
if [ -n "${UV_CACHE_DIR:-}" ]; then
    mkdir "$scratch/build/cache"
    flags+=(--bind "$UV_CACHE_DIR:/mnt/cache")
    export UV_CACHE_DIR=/mnt/cache
fi
export -p | sed -nE 's/^declare -x ((UV|PIP)_[A-Z_]+|SSL_CERT_FILE)=/export \1=/p' \
    > "$scratch/build/settings"

# An image appears under its name only when it is whole.
build() {
    local image="$1" definition="$2"
    shift 2
    echo "build: $root/$image" >&2
    rm -rf "$root/.$image.partial"
    # --force: labels and help of what it is built on give way
    apptainer build --force "${flags[@]}" "$@" "$root/.$image.partial" "$definition"
    rm -rf "${root:?}/$image"
    mv "$root/.$image.partial" "$root/$image"
}

# The base is made again when what it is made from is another.
arguments=()
[ -z "${BASE_BOOTSTRAP:-}" ] || arguments+=(--build-arg "BOOTSTRAP=$BASE_BOOTSTRAP")
[ -z "${BASE_FROM:-}" ] || arguments+=(--build-arg "FROM=$BASE_FROM")
recipe=$({ cat apptainer/base.def; echo "${arguments[@]}"; } | sha256sum)
if [ ! -e "$root/base.sif" ] || [ "$recipe" != "$(cat "$root/base.recipe" 2>/dev/null)" ]; then
    build base.sif apptainer/base.def "${arguments[@]}"
    echo "$recipe" > "$root/base.recipe"
fi
for project in "${projects[@]}"; do
    gather "$project"
    cd "$scratch/context"
    build "$project.sif" "projects/$project/apptainer.def" --build-arg "BASE=$root/base.sif" \
        --build-arg "VERSION=$(cd "$repository" && version "$project")" \
        --build-arg "COMMIT=$commit"
    cd "$repository"
done
