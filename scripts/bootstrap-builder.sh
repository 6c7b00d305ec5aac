#!/bin/bash
# Make the builder image out of Debian packages, where no base image can be pulled.
#
#   scripts/bootstrap-builder.sh [--archive OUT.tar] [--load] [--pin] [--lock FILE]
#
# Prints the image's id (sha256:<64 hex>) alone on stdout; progress goes to stderr.
#   --archive OUT.tar  keeps the image as a docker-archive, for `docker load` on any engine: the id is the same there
#   --load             loads it into the engine of DOCKER_HOST (CONTAINER_ENGINE=docker|podman)
#   --pin              writes the id into config/builder-image.env
#   --lock FILE        makes it from this package lock instead of resolving one
#
# Rules:
# - The image is a function of its package lock and of the two files that make it: same lock, same id.
# - An image that was made once is kept under that key: a second run resolves the lock and is done.
# - Nothing is left behind, whatever way this ends: mounts live in a namespace that dies with the process.
#
# Exit codes: 0 done, 2 usage, 3 the image could not be made, 5 the host is not ready.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# The date of everything in the image. Any fixed one does: it must only not be the clock's.
readonly IMAGE_EPOCH=1700000000
readonly TMPFS_MIB=1536

say() { printf 'bootstrap-builder: %s\n' "$*" >&2; }
die() {
    local code=$1
    shift
    say "$@"
    exit "$code"
}

archive="" load=no pin=no lock=""
while (($#)); do
    case $1 in
        --archive) archive=${2:?--archive needs a file name}; shift 2 ;;
        --lock) lock=${2:?--lock needs a file name}; shift 2 ;;
        --load) load=yes; shift ;;
        --pin) pin=yes; shift ;;
        -h | --help) sed -n '2,18s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
        *) die 2 "got the argument '$1', expected --archive, --load, --pin or --lock" ;;
    esac
done

engine=${CONTAINER_ENGINE:-docker}
for tool in mmdebstrap python3 apt-get flock timeout; do
    command -v "$tool" >/dev/null || die 5 "$tool is missing; as root: apt-get install mmdebstrap python3"
done
if [[ $load == yes ]]; then
    timeout 30 "$engine" version >/dev/null 2>&1 </dev/null \
        || die 5 "the engine does not answer ('$engine version', DOCKER_HOST=${DOCKER_HOST:-unset}); start it, or leave --load out"
fi

state=${SILVERMETAL_STATE:-${XDG_CACHE_HOME:-$HOME/.cache}/silvermetal}
mkdir -p "$state/images" "$state/store"
# mmdebstrap drops to other users' rights for parts of its work: they must be able to read what it is given.
work=$(mktemp -d "${TMPDIR:-/tmp}/silvermetal-bootstrap.XXXXXX")
chmod 755 "$work"
child=""
clean() {
    trap - EXIT
    trap '' INT TERM HUP
    if [[ -n $child ]] && kill -0 "$child" 2>/dev/null; then
        kill -TERM -- "-$child" 2>/dev/null || kill -TERM "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

mapfile -t packages < <(grep -vE '^[[:space:]]*(#|$)' "$root/docker/builder-packages.list")
if [[ -n $lock ]]; then
    cp -- "$lock" "$work/lock" || die 2 "--lock: $lock cannot be read"
else
    say "resolving ${#packages[@]} tools from this machine's Debian sources"
    "$root/scripts/silvermetal-resolve-lock" --package "${packages[*]}" -o "$work/lock" || die 3 "no package lock"
fi
key=$(cat "$work/lock" "$root/scripts/bootstrap-builder.sh" "$root/scripts/docker-archive" \
    "$root/scripts/recipes/flat-repository" "$root/docker/builder-packages.list" | sha256sum | cut -c1-32)
kept=$state/images/builder-$key

# Two at the same time (two hosts of a demo): one makes it, the other one waits and takes it.
exec 9>"$kept.busy"
flock -w 1800 9 || die 3 "another bootstrap has held $kept.busy for 30 minutes"

# Runs in a namespace of its own: a tmpfs (dpkg on a disk takes twice as long) that no way of ending can leave mounted.
make_root() {
    local isolate=() tmpfs=:
    local free
    free=$(awk '/^MemAvailable:/ {print int($2 / 1024)}' /proc/meminfo)
    if ((EUID == 0)); then
        isolate=(unshare --mount --pid --fork --kill-child --mount-proc --)
        if ! "${isolate[@]}" true 2>/dev/null; then
            isolate=() # in a chroot or a container that may not: on the disk, and slower
        elif ((free > 2 * TMPFS_MIB)); then
            tmpfs="mount -t tmpfs -o mode=755,size=${TMPFS_MIB}m silvermetal $work/tmp"
        fi
    fi
    mkdir -p "$work/tmp"
    env -i PATH="$PATH" LC_ALL=C.UTF-8 TZ=UTC TMPDIR="$work/tmp" SOURCE_DATE_EPOCH="$IMAGE_EPOCH" \
        timeout --kill-after=30 1200 "${isolate[@]}" sh -c "umask 022; $tmpfs"' && exec mmdebstrap "$@"' mmdebstrap \
        --variant=essential --include="$(IFS=,; echo "${packages[*]}")" \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
        --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --format=tar "$suite" - "deb [trusted=yes] copy:$work/repository ./" </dev/null
}

if [[ -s $kept.id && -s $kept.tar ]]; then
    say "made before: $kept.tar"
else
    say "making the builder image from $(grep -c '"name"' "$work/lock") packages"
    "$root/scripts/silvermetal-fetch" "$work/lock" --store "$state/store" || die 3 "the packages cannot be had"
    suite=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["suite"])' "$work/lock")
    "$root/scripts/recipes/flat-repository" "$work/lock" "$(cd "$state/store" && pwd)" "$work/repository" || die 3 "no repository"
    set -m # the pipeline is a process group, so that it can be ended as one
    { make_root 2>"$work/log" | "$root/scripts/docker-archive" "$work/image.tar" --epoch "$IMAGE_EPOCH" \
        --tag "silvermetal-builder:$key" >"$work/id"; } &
    child=$!
    set +m
    wait "$child" || { tail -n 20 "$work/log" >&2; die 3 "mmdebstrap could not make the root file system"; }
    child=""
    mv "$work/image.tar" "$kept.tar.new"
    mv "$kept.tar.new" "$kept.tar"
    mv "$work/id" "$kept.id"
fi
id=$(<"$kept.id")
[[ $id =~ ^sha256:[0-9a-f]{64}$ ]] || die 3 "$kept.id: got '$id', expected sha256:<64 hex>; delete it and try again"

if [[ -n $archive ]]; then
    cp -- "$kept.tar" "$archive.new"
    mv -- "$archive.new" "$archive"
fi
if [[ $load == yes ]] && ! timeout 60 "$engine" image inspect "$id" >/dev/null 2>&1 </dev/null; then
    timeout 600 "$engine" load -i "$kept.tar" </dev/null >&2 || die 3 "'$engine load -i $kept.tar' failed"
    timeout 60 "$engine" image inspect "$id" >/dev/null 2>&1 </dev/null \
        || die 3 "the engine gave the image another id, expected $id: turn its containerd image store off"
fi
if [[ $pin == yes ]]; then
    file=$root/config/builder-image.env
    sed "s|^BUILDER_IMAGE=.*|BUILDER_IMAGE=$id|" "$file" >"$work/pin"
    grep -qxF "BUILDER_IMAGE=$id" "$work/pin" || echo "BUILDER_IMAGE=$id" >>"$work/pin"
    cp -- "$work/pin" "$file.new"
    mv -- "$file.new" "$file"
    say "pinned in config/builder-image.env; commit that file"
fi
printf '%s\n' "$id"
