#!/usr/bin/env bash
# Build this commit twice on this machine under planned variation, compare, and explain a difference.
#
#   scripts/verify-reproducibility.sh [--recipe NAME] [--keep DIR] [--vary FACTOR=VALUE]... [--attribute] [-- BUILD_ARGUMENT...]
#
#   --recipe NAME         what to build (default minimal-live)
#   --keep DIR            keep both outputs and the report there (default: output/verify-<short-sha>)
#   --vary FACTOR=VALUE   vary this, and only what is named so (default: all that this machine can; see silvermetal-vary --help)
#   --attribute           when they differ, build again until it is known which factor did it, or that it is chance
#   --budget N            builds that this may cost (default 24)
#   --repeats N           how often each side is built again before chance is ruled out (default 2)
#
# The second build differs from the first in everything that must not matter: path, host name, user, umask, time zone,
# locale, cores, clock, order of directories, kernel personality, hash seed. Both get the commit's pins and one package lock.
#
# Rules: all build the committed tree, from fresh clones; the hash is told only after both are done. What this machine
# cannot vary is named and left out; a factor that was named by --vary is refused instead.
# Exit codes: 0 same, 1 differ, 2 usage, 3 a build failed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
vary=$root/scripts/silvermetal-vary
recipe=minimal-live keep="" extra=() named=() attribute="" budget=24 repeats=2
while (($#)); do
    case $1 in
        --recipe | --keep | --vary | --budget | --repeats)
            (($# >= 2)) || { echo "verify-reproducibility.sh: $1: got nothing, expected a value" >&2; exit 2; }
            case $1 in
                --recipe) recipe=$2 ;;
                --keep) keep=$2 ;;
                --vary) named+=("$2") ;;
                --budget) budget=$2 ;;
                --repeats) repeats=$2 ;;
            esac
            shift 2 ;;
        --attribute) attribute=yes; shift ;;
        --) shift; extra=("$@"); break ;;
        -h | --help) sed -n '2,20s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
        *) echo "verify-reproducibility.sh: got the argument '$1'; see --help" >&2; exit 2 ;;
    esac
done
silvermetal=silvermetal
[[ -x $root/.venv/bin/silvermetal ]] && silvermetal=$root/.venv/bin/silvermetal
if [[ -n $attribute ]] && ! command -v "$silvermetal" >/dev/null; then
    echo "verify-reproducibility.sh: --attribute: got no silvermetal command, expected scripts/setup.sh to have made it" >&2
    exit 2
fi
for number in "$budget" "$repeats"; do
    [[ $number =~ ^[1-9][0-9]{0,2}$ ]] || { echo "verify-reproducibility.sh: got '$number', expected a number from 1 to 999" >&2; exit 2; }
done
commit=$(git -C "$root" rev-parse HEAD)
keep=${keep:-$root/output/verify-${commit:0:12}}
mkdir -p "$keep"
keep=$(cd "$keep" && pwd)
rm -rf "$keep/a" "$keep/b" "$keep/report" "$keep/attribution.json" "$keep/attribution.html"
work=$(mktemp -d "${TMPDIR:-/tmp}/silvermetal-verify.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [[ -n $(git -C "$root" status --porcelain --untracked-files=no) ]]; then
    echo "note: the tree has changes that are not committed; the commit ${commit:0:12} is what is verified" >&2
fi
# The builder image of a machine that bootstrapped its own is pinned in the tree only, not at the commit.
image=${BUILDER_IMAGE:-$(sed -n 's/^BUILDER_IMAGE=\(.*\)/\1/p' "$root/config/builder-image.env" | tail -n 1)}

# A fresh clone, at the same place each time: another path is a factor, and silvermetal-vary's.
checkout() {
    rm -rf "$work/tree"
    git clone --quiet --no-hardlinks "$root" "$work/tree" </dev/null
    git -C "$work/tree" checkout --quiet --detach "$commit" </dev/null
    # A submodule that the recipe needs is taken from the checkout, as it is there: build.sh looks whether that is its gitlink.
    if grep -q '^DERIVATIVE_' "$root/config/$recipe.conf" 2>/dev/null && [[ -e $root/derivative-maker/.git ]]; then
        git -C "$work/tree" submodule --quiet init derivative-maker </dev/null
        mkdir -p "$work/tree/.git/modules"
        cp -a "$(git -C "$root/derivative-maker" rev-parse --absolute-git-dir)" "$work/tree/.git/modules/derivative-maker"
        cp -a "$root/derivative-maker/." "$work/tree/derivative-maker/"
    fi
}
lock=()
build() { # OUTPUT [FACTOR=VALUE...]
    local output=$1
    shift
    checkout
    (cd "$work/tree" && "$vary" "$@" -- env "BUILDER_IMAGE=$image" ./scripts/build.sh --recipe "$recipe" --output "$output" \
        "${lock[@]}" "${extra[@]}") </dev/null
}
digest_of() { # OUTPUT: of the one image in it
    local isos=("$1"/*.iso)
    [[ ${#isos[@]} == 1 && -s ${isos[0]} ]] && sha256sum "${isos[0]}" | cut -d' ' -f1
}

probe() { # FACTOR=VALUE...
    (cd "$work/tree" && "$vary" "$@" -- env "BUILDER_IMAGE=$image" ./scripts/build.sh --probe --recipe "$recipe" \
        --output "$work/probe" "${extra[@]}" >/dev/null) </dev/null
}

checkout
factors=()
if ((${#named[@]})); then
    (cd "$work/tree" && "$vary" "${named[@]}" -- true) || exit 2
    factors=("${named[@]}")
else
    locale=C
    [[ $(locale -a 2>/dev/null) != *de_DE.utf8* ]] || locale=de_DE.UTF-8
    mapfile -t factors < <(cd "$work/tree" && "$vary" --possible path=another/path/of-another-length host_name=variation-host \
        user=4321 umask=0077 time_zone=Pacific/Kiritimati "locale=$locale" cores=1 clock_shift=34560000 \
        directory_order=shuffled personality=linux32 hash_seed=7)
    # What must reach into a container may not: an engine in another mount namespace sees no new file system, an image may
    # lack setarch. So it is tried there, all at once and, where that fails, one by one.
    if grep -q -- --probe "$work/tree/scripts/build.sh" && ! probe "${factors[@]}" 2>/dev/null; then
        for at in "${!factors[@]}"; do
            [[ ${factors[at]} =~ ^(cores|clock_shift|directory_order|personality)= ]] || continue
            probe "${factors[at]}" || { echo "left out: ${factors[at]}: no container has it (see above)" >&2; unset "factors[at]"; }
        done
        factors=("${factors[@]}")
    fi
fi
echo "build 1 of 2: $recipe at ${commit:0:12}"
build "$keep/a" || { code=$?; echo "the first build failed with exit code $code; its log: $keep/a/build.log" >&2; exit 3; }
[[ ! -r $keep/a/packages.lock ]] || lock=(--lock "$keep/a/packages.lock")
echo "build 2 of 2: ${factors[*]:-nothing varied}"
build "$keep/b" "${factors[@]}" || { echo "the second build failed; its log: $keep/b/build.log" >&2; exit 3; }
a=$(digest_of "$keep/a") && b=$(digest_of "$keep/b") || { echo "expected one image of each build in $keep" >&2; exit 3; }
if [[ $a == "$b" ]]; then
    echo "REPRODUCED on this machine: $a"
    exit 0
fi
echo "DIFFERENT: $a $b"
"$root/scripts/diagnose-divergence.sh" "$keep"/a/*.iso "$keep"/b/*.iso "$keep/report" || true
[[ -n $attribute ]] || exit 1

state=$keep/attribution.json
"$silvermetal" attribute begin "$state" --build "${commit:0:32}" --digests "$a" "$b" --budget "$budget" --repeats "$repeats" \
    "${factors[@]}" </dev/null
number=0
while line=$("$silvermetal" attribute next "$state" </dev/null); do
    read -ra words <<<"$line"
    ((++number))
    echo "attribution, build $number of at most $budget: ${line:-nothing varied}"
    rm -rf "$work/try"
    began=$SECONDS
    if build "$work/try" "${words[@]}" >"$keep/attribution.log" 2>&1 && digest=$(digest_of "$work/try"); then
        said=(--digest "$digest")
    else
        said=(--failed "the build failed; its log: $keep/attribution.log")
    fi
    "$silvermetal" attribute tried "$state" "${said[@]}" --seconds $((SECONDS - began)) </dev/null
done
"$silvermetal" attribute report "$state" --html "$keep/attribution.html" </dev/null
exit 1
