# shellcheck shell=bash disable=SC2154,SC2034
# build.sh's part for silvermetal-base: derivative-maker's tree at its gitlinks, packages of a snapshot through a cache.
#
# Sourced by build.sh; scripts/recipes/minimal-live/host.sh says what each function is for.
# - What is called, and with what, is rendered by the commit's own proof/ (scripts/recipes/silvermetal-base/render).
# - Upstream's tree is mounted read-only and copied inside: nothing of a build comes back into the checkout, and no folder
#   of this host is under a mount that a build makes. All output of a build lies in a volume that ends with its container.

render() { python3 -B "$root/scripts/recipes/$recipe/render" "$@"; }

# The pin is upstream's: the date of its changelog at the gitlink.
recipe_epoch() {
    [[ -f $root/derivative-maker/debian/changelog ]] \
        || die 4 "derivative-maker: got no tree, expected the submodule; get it with: git submodule update --init --recursive derivative-maker"
    render epoch "$root/derivative-maker/debian/changelog" || die 4 "derivative-maker's changelog names no date"
}

recipe_inputs() {
    local gitlink status
    gitlink=$(git -C "$root" ls-tree "$commit" -- derivative-maker)
    [[ $gitlink == "160000 commit "* ]] || die 4 "derivative-maker: got no gitlink at commit $short, expected a submodule"
    status=$(git -C "$root" submodule status --recursive -- derivative-maker) || die 4 "derivative-maker: git tells no status of the submodules"
    render submodules "${gitlink:14:40}" <<<"$status" >&2 || die 4 "derivative-maker's tree is not what the commit names"
    [[ -z $(git -C "$root/derivative-maker" status --porcelain --untracked-files=all) ]] \
        || die 4 "derivative-maker: got a tree with changes, expected a clean one; git -C derivative-maker status shows them"
    [[ -n ${SILVERMETAL_SNAPSHOTS:-} ]] \
        || die 5 "SILVERMETAL_SNAPSHOTS: got nothing, expected where this host finds Debian's snapshots (snapshots in worker.toml)"
    render call "$root" "$commit" "$SILVERMETAL_SNAPSHOTS" "$epoch" "$work/in" >&2 || die 4 "the pins of $recipe are refused (see above)"
    [[ -z $lock ]] || cmp --silent "$lock" "$lock_in" \
        || die 4 "--lock: got $(head -c 200 "$lock"), expected what config/snapshot-pin.env of this commit says: $(<"$lock_in")"
    [[ ${SILVERMETAL_NETWORK:-bridge} =~ ^[A-Za-z0-9][A-Za-z0-9_.-]*$ ]] || die 2 "SILVERMETAL_NETWORK: got '$SILVERMETAL_NETWORK', expected a network's name"
    grep -qx 'SYSTEMD=no' "$work/in/call.env" || die 4 "this tag of derivative-maker wants systemd as PID 1; see tags.py"
    gitdir=$(git -C "$root/derivative-maker" rev-parse --absolute-git-dir)
}

# Rights: mounts in its own roots, as minimal-live. No TTY: a question of upstream's must end and not wait.
# No systemd as PID 1: upstream wants it for its package cache alone, and ours is started without one (tags.py).
recipe_options() {
    options+=(--network "${SILVERMETAL_NETWORK:-bridge}"
        --mount "type=volume,source=silvermetal-apt-cache,target=/var/cache/approx"
        --mount "type=volume,target=/home/user/derivative-binary")
    [[ -n $probe ]] || options+=(--mount "$(mount_of "$root/derivative-maker" /silvermetal/tree),readonly"
        --mount "$(mount_of "$gitdir" /silvermetal/gitdir),readonly")
}

recipe_failed() {
    local code=$1
    render failure "$work/build.log" >&2 || true
    [[ $code != 76 ]] || die 5 "the builder image is not one for $recipe (see above)"
    [[ $code != 77 ]] || die 4 "a pin had no effect (see above)"
}

recipe_info() {
    cat "$work/in/info.env"
    echo "EFFECTIVE_SOURCE_DATE_EPOCH=$(effective)"
}

# Read from the image, not from a log. A dry run's dummy is no image and has none: the verdict says INVALID of it.
effective() { render effective "$work/result/$iso"; }

recipe_check() {
    local found
    found=$(effective)
    [[ -z $found || $found == "$epoch" ]] \
        || die 4 "SOURCE_DATE_EPOCH: the image is of $found, expected $epoch: derivative-maker took another date than its changelog's"
}
