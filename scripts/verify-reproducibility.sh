#!/usr/bin/env bash
# Build this commit twice on this machine under planned variation, compare, and explain a difference.
#
#   scripts/verify-reproducibility.sh [--recipe NAME] [--keep DIR] [-- BUILD_ARGUMENT...]
#
#   --recipe NAME  what to build (default minimal-live)
#   --keep DIR     keep both outputs and the report there (default: output/verify-<short-sha>)
#
# The second build differs from the first in everything that must not matter: its path, time zone, locale, umask, number of
# jobs, extra environment and, where the machine lets us, host name. Both get the commit's pins and one package lock.
#
# Rules: both build the committed tree, from fresh clones; the hash is told only after both are done.
# Exit codes: 0 same, 1 differ, 2 usage, 3 a build failed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
recipe=minimal-live keep="" extra=()
while (($#)); do
    case $1 in
        --recipe | --keep)
            (($# >= 2)) || { echo "verify-reproducibility.sh: $1: got nothing, expected a value" >&2; exit 2; }
            if [[ $1 == --recipe ]]; then recipe=$2; else keep=$2; fi
            shift 2 ;;
        --) shift; extra=("$@"); break ;;
        -h | --help) sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
        *) echo "verify-reproducibility.sh: got the argument '$1'; see --help" >&2; exit 2 ;;
    esac
done
commit=$(git -C "$root" rev-parse HEAD)
keep=${keep:-$root/output/verify-${commit:0:12}}
mkdir -p "$keep"
keep=$(cd "$keep" && pwd)
rm -rf "$keep/a" "$keep/b" "$keep/report"
work=$(mktemp -d "${TMPDIR:-/tmp}/silvermetal-verify.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [[ -n $(git -C "$root" status --porcelain --untracked-files=no) ]]; then
    echo "note: the tree has changes that are not committed; the commit ${commit:0:12} is what is verified" >&2
fi
one=$work/one two=$work/another/path/of-another-length
for place in "$one" "$two"; do
    git clone --quiet --no-hardlinks "$root" "$place" </dev/null
    git -C "$place" checkout --quiet --detach "$commit" </dev/null
done
# A submodule that the recipe needs is taken from the checkout, as it is there: build.sh looks whether that is its gitlink.
if grep -q '^DERIVATIVE_' "$root/config/$recipe.conf" 2>/dev/null && [[ -e $root/derivative-maker/.git ]]; then
    modules=$(git -C "$root/derivative-maker" rev-parse --absolute-git-dir)
    for place in "$one" "$two"; do
        git -C "$place" submodule --quiet init derivative-maker </dev/null
        mkdir -p "$place/.git/modules"
        cp -a "$modules" "$place/.git/modules/derivative-maker"
        cp -a "$root/derivative-maker/." "$place/derivative-maker/"
    done
fi
# The builder image of a machine that bootstrapped its own is pinned in the tree only, not at the commit.
image=${BUILDER_IMAGE:-$(sed -n 's/^BUILDER_IMAGE=\(.*\)/\1/p' "$root/config/builder-image.env" | tail -n 1)}

build() { # PLACE OUTPUT [ARGUMENT...]; the environment of the caller is the variation
    local place=$1 output=$2
    shift 2
    (cd "$place" && BUILDER_IMAGE=$image ./scripts/build.sh --recipe "$recipe" --output "$output" "$@" "${extra[@]}") </dev/null
}
echo "build 1 of 2: $recipe at ${commit:0:12}"
build "$one" "$keep/a" || { code=$?; echo "the first build failed with exit code $code; its log: $keep/a/build.log" >&2; exit 3; }
echo "build 2 of 2: another path, TZ, LANG, umask, jobs and host name"
renamed=()
unshare --uts true 2>/dev/null && renamed=(unshare --uts)
lock=()
[[ -r $keep/a/packages.lock ]] && lock=(--lock "$keep/a/packages.lock")
export -f build
export recipe image
# shellcheck disable=SC2016 # the inner shell expands it
if ! TZ=Pacific/Kiritimati LANG=de_DE.UTF-8 LANGUAGE=de PERL_HASH_SEED=7 PYTHONHASHSEED=7 SILVERMETAL_VARIATION=1 \
    "${renamed[@]}" bash -c '
        [[ -z $1 ]] || hostname variation-host
        shift
        umask 077
        extra=()
        build "$@"' bash "${renamed[*]}" "$two" "$keep/b" "${lock[@]}" --jobs 1 "${extra[@]}"; then
    echo "the second build failed; its log: $keep/b/build.log" >&2
    exit 3
fi
isos=("$keep"/a/*.iso "$keep"/b/*.iso)
[[ ${#isos[@]} == 2 && -s ${isos[0]} && -s ${isos[1]} ]] || {
    echo "got ${#isos[@]} images, expected one of each build in $keep" >&2
    exit 3
}
sums=$(sha256sum "${isos[@]}" | cut -d' ' -f1)
if [[ $(sort -u <<<"$sums" | wc -l) == 1 ]]; then
    echo "REPRODUCED on this machine: ${sums%%$'\n'*}"
    exit 0
fi
printf 'DIFFERENT: %s\n' "$(tr '\n' ' ' <<<"$sums")"
"$root/scripts/diagnose-divergence.sh" "${isos[@]}" "$keep/report" || true
exit 1
