#!/usr/bin/env bash
# Build the base image and the image of each stage.
#
#   apptainer/build.sh [STAGE ...]     all stages if none is named
#
# Images go to $AFRAME_CONTAINER_ROOT (default images/). Further settings:
#   BASE_BOOTSTRAP, BASE_FROM   what the base is made from: `docker` and an image of a registry (the
#                               default), or `localimage` and a root file system or image file
#   APPTAINER_FLAGS             options of `apptainer build`, for example --fakeroot
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root="${AFRAME_CONTAINER_ROOT:-images}"

command -v apptainer >/dev/null || {
    echo "build: apptainer is not installed: see https://apptainer.org" >&2
    exit 1
}
mkdir -p "$root"

# An image appears under its name only when it is whole.
build() {
    local image="$1" definition="$2"
    shift 2
    echo "build: $image" >&2
    # shellcheck disable=SC2086  # several options in one variable
    apptainer build --force ${APPTAINER_FLAGS:-} "$@" "$root/.$image.partial" "$definition"
    mv "$root/.$image.partial" "$root/$image"
}

base=()
[ -z "${BASE_BOOTSTRAP:-}" ] || base+=(--build-arg "BOOTSTRAP=$BASE_BOOTSTRAP")
[ -z "${BASE_FROM:-}" ] || base+=(--build-arg "FROM=$BASE_FROM")
[ -e "$root/base.sif" ] || build base.sif apptainer/base.def "${base[@]}"

stages=("$@")
if ((${#stages[@]} == 0)); then
    for definition in projects/*/apptainer.def; do
        stages+=("$(basename "$(dirname "$definition")")")
    done
fi
for stage in "${stages[@]}"; do
    [ -e "projects/$stage/apptainer.def" ] || {
        echo "build: no projects/$stage/apptainer.def" >&2
        exit 1
    }
    build "$stage.sif" "projects/$stage/apptainer.def" --build-arg "BASE=$root/base.sif"
done
