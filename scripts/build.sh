#!/bin/bash
# Build one recipe of this commit in the pinned builder container.
#
#   scripts/build.sh [--recipe minimal-live] [--lock FILE] [--output DIR] [--store DIR] [--jobs N] [--inject-host-name FILE]
#
#   --recipe NAME            what to build (config/NAME.conf, scripts/recipes/NAME)
#   --lock FILE              the package lock; else config/NAME.lock where its files can be had, else one is resolved
#   --output DIR             default output/<short-sha>; replaced as a whole when the build is done
#   --store DIR              the packages' content-addressed store, which builds may share
#   --jobs N                 cores to use (default: all)
#   --probe                  build nothing: run a container with the build's options, mounts and rights, and say whether it can
#   --inject-host-name FILE  test aid: add this host's name to FILE inside the image, so that two hosts differ
#
# Environment: BUILDER_IMAGE SOURCE_DATE_EPOCH CONTAINER_ENGINE=docker|podman DOCKER_HOST SILVERMETAL_BUILD_TIMEOUT
#
# Rules:
# - The image's bytes come from the commit and its pins; a pin that is none is refused.
# - The image's hash is written to SHA256SUMS and never printed: no worker may read another one's result in a log.
# - The container is removed by its id on every way out; the output appears complete or not at all.
#
# Exit codes: 0 done, 2 usage, 3 the build failed, 4 a pin is refused, 5 the host is not ready, 124 timeout,
# 129/130/143 ended by a signal.
set -euo pipefail
umask 022 # lever: the caller's umask decides nothing
# A shifted clock (silvermetal-vary) is for the container; here it would only trouble apt and the engine's client.
[[ -z ${SILVERMETAL_VARY_CLOCK:-} ]] || unset LD_PRELOAD FAKETIME FAKETIME_DONT_FAKE_MONOTONIC

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() {
    local code=$1
    shift
    printf 'build.sh: %s\n' "$*" >&2
    exit "$code"
}
# One KEY of a KEY=value file, without running the file.
setting() { sed -n "s/^$2=\"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" "$1" | tail -n 1; }

recipe=minimal-live lock="" output="" jobs="" inject="" probe="" probed=""
store=${SILVERMETAL_STATE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/silvermetal}/store
while (($#)); do
    case $1 in
        --recipe | --lock | --output | --store | --jobs | --inject-host-name)
            (($# >= 2)) || die 2 "$1: got nothing, expected a value" ;;
        --probe) probe=yes; shift; continue ;;
        -h | --help) sed -n '2,24s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
        *) die 2 "got the argument '$1'; see scripts/build.sh --help" ;;
    esac
    case $1 in
        --recipe) recipe=$2 ;;
        --lock) lock=$2 ;;
        --output) output=$2 ;;
        --store) store=$2 ;;
        --jobs) jobs=$2 ;;
        --inject-host-name) inject=$2 ;;
    esac
    shift 2
done
here=$root/scripts/recipes/$recipe
[[ $recipe =~ ^[a-z0-9][a-z0-9-]*$ && -f $root/config/$recipe.conf && -x $here/build && -f $here/host.sh ]] \
    || die 2 "--recipe: got '$recipe', expected one of: $(cd "$root/scripts/recipes" && for d in */build; do echo -n "${d%/build} "; done)"
[[ -z $jobs || $jobs =~ ^[1-9][0-9]{0,2}$ ]] || die 2 "--jobs: got '$jobs', expected a number from 1 to 999"
[[ -z $lock || -r $lock ]] || die 2 "--lock: '$lock' cannot be read"
[[ -z $inject || ($inject =~ ^/[A-Za-z0-9._/-]+$ && $inject != *..* && $inject != */) ]] \
    || die 2 "--inject-host-name: got '$inject', expected a file's absolute path inside the image"
limit=${SILVERMETAL_BUILD_TIMEOUT:-1800}
[[ $limit =~ ^[1-9][0-9]{0,5}$ ]] || die 2 "SILVERMETAL_BUILD_TIMEOUT: got '$limit', expected seconds"

# --- pins ---------------------------------------------------------------------------------------------------------

image=${BUILDER_IMAGE:-$(setting "$root/config/builder-image.env" BUILDER_IMAGE)}
engine=${CONTAINER_ENGINE:-docker}
[[ $engine == docker || $engine == podman ]] || die 2 "CONTAINER_ENGINE: got '$engine', expected docker or podman"
if [[ -z $image ]]; then
    die 4 "the builder image is not pinned: config/builder-image.env has no BUILDER_IMAGE. Fill it with: scripts/bootstrap-builder.sh --load --pin"
elif [[ $image == docker/ ]]; then
    die 4 "BUILDER_IMAGE: got 'docker/', expected a digest: the commit leaves the image to its docker/, which a master makes and pins; by hand: BUILDER_IMAGE=\$(scripts/make-builder-image)"
elif [[ ! $image =~ ^([a-z0-9][a-zA-Z0-9._:/-]*@)?sha256:[0-9a-f]{64}$ ]]; then
    die 4 "BUILDER_IMAGE: got '$image', expected name@sha256:<64 hex> or sha256:<64 hex>: a tag names whatever was pushed last. Find the digest with: $engine image inspect --format '{{index .RepoDigests 0}} {{.Id}}' '${image%%@*}'"
fi
commit=$(git -C "$root" rev-parse --verify 'HEAD^{commit}') || die 4 "no commit: got no git checkout at $root, expected a clone"
short=${commit:0:12}
epoch=${SOURCE_DATE_EPOCH:-$(setting "$root/config/source-date-epoch.env" SOURCE_DATE_EPOCH)}
# shellcheck source=scripts/recipes/minimal-live/host.sh
source "$here/host.sh"
epoch=${epoch:-$(recipe_epoch)}
# FAT begins in 1980 and ISO 9660's short dates end in 2155
[[ $epoch =~ ^[0-9]{9,10}$ ]] && ((epoch >= 315532800 && epoch <= 5806000000)) \
    || die 4 "SOURCE_DATE_EPOCH: got '$epoch', expected seconds between 315532800 (1980) and 5806000000 (2153)"
tree=clean
[[ -z $(git -C "$root" status --porcelain --untracked-files=no --ignore-submodules) ]] || tree=modified
[[ $tree == clean ]] || echo "build.sh: the checkout differs from commit $short: this image is not that commit's" >&2

# --- the host -----------------------------------------------------------------------------------------------------

for tool in "$engine" python3 timeout setsid sha256sum; do
    command -v "$tool" >/dev/null || die 5 "$tool is missing on this host"
done
timeout 60 "$engine" version >/dev/null 2>&1 </dev/null \
    || die 5 "the engine does not answer: '$engine version' failed (DOCKER_HOST=${DOCKER_HOST:-unset})"
image_id=$(timeout 60 "$engine" image inspect --format '{{.Id}}' "$image" 2>/dev/null </dev/null) \
    || die 5 "the builder image $image is not on this host; get it with: $engine pull '$image', or scripts/bootstrap-builder.sh --load"
image_id=sha256:${image_id#sha256:} # podman leaves the algorithm out

output=${output:-$root/output/$short}
mkdir -p "$(dirname "$output")" "$store"
output=$(cd "$(dirname "$output")" && pwd)/$(basename "$output")
store=$(cd "$store" && pwd)
work=$(mktemp -d "$output.XXXXXX")
token=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
label=silvermetal.build=$token
container="" child="" creating=""

# By id, and by a label that only this run knows: `create` may have been cut off between the engine's work and its answer.
remove_container() {
    local id ids
    ids=$(timeout 60 "$engine" ps --all --quiet --no-trunc --filter "label=$label" </dev/null 2>/dev/null || true)
    for id in $container $ids; do
        timeout 120 "$engine" rm --force --volumes "$id" </dev/null >/dev/null 2>&1 || true
    done
    container=""
}
clean() {
    trap - EXIT
    trap '' INT TERM HUP
    # A `create` under way is waited for (it is short, and what it makes must be found); all else is ended.
    [[ -n $creating ]] || remove_container
    if [[ -n $child ]]; then
        [[ -n $creating ]] || kill -TERM -- "-$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    [[ -z $creating ]] || remove_container
    rm -rf "$work" ${probed:+"$probed"}
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
# In a session of its own and waited for: a Ctrl-C at the terminal reaches this script alone, and at once.
attend() {
    local code=0
    setsid --wait "$@" </dev/null &
    child=$!
    wait "$child" || code=$?
    child=""
    return "$code"
}

mkdir -p "$work/in/recipe" "$work/out"
lock_in=$work/in/packages.lock first=""
if [[ -n $probe ]]; then
    # A probe needs no inputs: it shows that the store can be read inside.
    first=probe.$token
    probed=$store/sha256/$first
    { mkdir -p "$store/sha256" && echo "$token" >"$probed"; } || die 5 "the package store $store cannot be written"
else
    recipe_inputs
fi

# --- the container ------------------------------------------------------------------------------------------------

# The container reads copies, with fixed modes: neither the checkout's umask nor a change made meanwhile gets in.
cp -R --no-preserve=all -- "$here/." "$work/in/recipe/"
(cd "$here" && find . -type f -perm -u+x -print0) | (cd "$work/in/recipe" && xargs -0 chmod 755)
if [[ -n $probe ]]; then
    # What the build needs of the engine: mounts inside the container, programs run in /tmp, output that reaches the host.
    printf '%s\n' 'set -e' 'mkdir /tmp/root' 'mount -t tmpfs none /tmp/root' 'mkdir /tmp/root/dev' \
        'mount --bind /dev /tmp/root/dev' 'umount /tmp/root/dev' 'cp /bin/true /tmp/root/run' '/tmp/root/run' \
        'umount /tmp/root' 'echo "$SENTINEL" >/silvermetal/out/probe' >"$work/in/recipe/build"
fi
cp --no-preserve=all -- "$root/scripts/recipes/flat-repository" "$work/in/flat-repository"
chmod 755 "$work/in/flat-repository" "$work" "$work/in" "$work/out"
cp --no-preserve=all -- "$root/config/$recipe.conf" "$work/in/recipe.conf"
printf '%s\n' "COMMIT=$commit" "RECIPE=$recipe" "SOURCE_DATE_EPOCH=$epoch" >"$work/in/build.env"
echo "$token" | tee "$work/in/sentinel" >"$work/out/sentinel"
[[ -z $inject ]] || printf '%s\n%s\n' "$inject" "$(uname -n)" >"$work/in/inject-host-name"

# --mount and not --volume, which makes an empty folder where there is no source; it reads CSV, so a comma is quoted.
mount_of() { printf 'type=bind,"source=%s",target=%s' "${1//\"/\"\"}" "$2"; }

# Docker-out-of-docker: the engine resolves a mount's source on *its* machine, where it may be another folder, or an
# empty one. So nothing that lies in a mount is run before all three have shown that they are ours.
# shellcheck disable=SC2016 # expanded in the container
readonly PROVE_MOUNTS='
for place in in out; do
    if [[ ! -s /silvermetal/$place/sentinel || $(</silvermetal/$place/sentinel) != "$SENTINEL" ]]; then
        echo "/silvermetal/$place is not the folder that was mounted: got no or another sentinel" >&2
        exit 75
    fi
done
if [[ -n $FIRST && ! -s /silvermetal/store/sha256/$FIRST ]]; then
    echo "/silvermetal/store is not the package store that was mounted: got no sha256/$FIRST" >&2
    exit 75
fi
rm /silvermetal/out/sentinel
exec /bin/bash /silvermetal/in/recipe/build'

# Planned variation (silvermetal-vary): what an engine does not hand into a container by itself. None of it is a pin.
varied=() shell=(/bin/bash)
[[ -z ${SILVERMETAL_VARY_CORES:-} ]] || varied+=(--cpuset-cpus "$SILVERMETAL_VARY_CORES")
[[ -z ${SILVERMETAL_VARY_FOLDER:-} ]] || varied+=(--mount "$(mount_of "$SILVERMETAL_VARY_FOLDER" /tmp/work)")
case ${SILVERMETAL_VARY_PERSONALITY:-} in
    uname26) shell=(setarch --uname-2.6 /bin/bash) ;;
    linux32) shell=(setarch linux32 /bin/bash) ;;
esac
if [[ -n ${SILVERMETAL_VARY_CLOCK:-} ]]; then
    # By files: the recipe's clean environment takes LD_PRELOAD away. Without NO_FAKE_STAT a file's own times would be shifted,
    # too, which no real clock does.
    grep -q NO_FAKE_STAT "$root/scripts/recipes/$recipe/build" \
        || die 5 "clock_shift: expected a recipe that hands NO_FAKE_STAT on to its tools, got $recipe, which does not"
    mkdir "$work/clock"
    echo "$SILVERMETAL_VARY_CLOCK" >"$work/clock/faketimerc"
    echo /silvermetal/faketime.so >"$work/clock/preload"
    varied+=(--env NO_FAKE_STAT=1 --mount "$(mount_of "$SILVERMETAL_VARY_CLOCK_LIBRARY" /silvermetal/faketime.so),readonly"
        --mount "$(mount_of "$work/clock/faketimerc" /etc/faketimerc),readonly"
        --mount "$(mount_of "$work/clock/preload" /etc/ld.so.preload),readonly")
fi

# Not --privileged: roots are made in it, which needs mounts and nothing more.
# Lever --hostname: the host's name, or a random container's id, must not be what uname tells the packages' scripts.
# Lever --ulimit: programs that close every possible descriptor take minutes where the engine allows a billion; and Podman
# would set the kernel's own highest number of processes, which a service without CAP_SYS_RESOURCE may not.
options=()
recipe_options
arguments=(
    create --cidfile "$work/cid" --label "$label" --hostname silvermetal-builder
    --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined
    --ulimit nofile=1024:4096 --ulimit nproc=4096:4096 "${options[@]}"
    --mount "$(mount_of "$work/in" /silvermetal/in),readonly"
    --mount "$(mount_of "$store" /silvermetal/store),readonly"
    --mount "$(mount_of "$work/out" /silvermetal/out)"
    --env "SENTINEL=$token" --env "FIRST=$first" --env "SOURCE_DATE_EPOCH=$epoch" --env "JOBS=${jobs:-$(nproc)}"
    "${varied[@]}" "$image" "${shell[@]}" -c "$PROVE_MOUNTS"
)
creating=yes
attend timeout 120 "$engine" "${arguments[@]}" >/dev/null 2>"$work/create.log" \
    || die 5 "the engine made no container: $(head -c 500 "$work/create.log")"
container=$(<"$work/cid")
creating=""

# KILL, because the client would hand a TERM on to the container and wait for it; the container goes with clean.
# The log goes to the file and to whoever watches; it is complete before anything is made of it.
exec 3> >(exec tee "$work/build.log")
logger=$!
code=0
began=$SECONDS
attend timeout --signal=KILL "$limit" "$engine" start --attach "$container" >&3 2>&3 || code=$?
exec 3>&-
wait "$logger" || true
((SECONDS - began < limit)) || die 124 "the build did not end within $limit seconds (SILVERMETAL_BUILD_TIMEOUT)"
[[ -z $probe || $code == 0 || $code == 75 ]] \
    || die 5 "the probe container failed with exit code $code: $(tail -n 1 "$work/build.log" | head -c 200): the engine must allow SYS_ADMIN, mounts and a tmpfs with exec"
[[ $code == 0 || $code == 75 || $code == 137 ]] || recipe_failed "$code"
case $code in
    0) ;;
    75) die 5 "a bind mount did not show this host's files in the container (see above): run the engine on this machine, or give build.sh paths that the engine's machine has, too" ;;
    137) die 3 "the build was killed (exit code 137): out of memory?" ;;
    *) die 3 "the build failed with exit code $code (see above)" ;;
esac
remove_container
if [[ -n $probe ]]; then
    [[ -s $work/out/probe && $(<"$work/out/probe") == "$token" ]] || die 5 "the probe container ended well and left nothing"
    echo "build.sh: probe: mounts, rights and output are as a build needs them"
    exit 0
fi

# --- what it gives ------------------------------------------------------------------------------------------------

result=$work/result
iso=silvermetal-$recipe-$short.iso
mkdir "$result"
[[ -s $work/out/image.iso && -s $work/out/tools.env ]] || die 3 "the build ended well and left no image"
mv "$work/out/image.iso" "$result/$iso"
recipe_check
cp -- "$lock_in" "$result/packages.lock"
cp -- "$work/build.log" "$result/build.log"
(cd "$result" && sha256sum "$iso" >SHA256SUMS)
{
    printf '%s\n' "BUILDER_IMAGE=$image" "BUILDER_IMAGE_ID=$image_id" "COMMIT=$commit" \
        "LOCK_SHA256=$(sha256sum "$lock_in" | cut -d' ' -f1)" "RECIPE=$recipe" "SOURCE_DATE_EPOCH=$epoch" "TREE=$tree"
    recipe_info
    cat "$work/out/tools.env"
} | LC_ALL=C sort >"$result/BUILD_INFO"
chmod 644 "$result"/*
sync -f "$result"
if [[ -e $output ]]; then
    mv -T "$output" "$work/replaced"
fi
mv -T "$result" "$output"
echo "build.sh: $output/$iso"
