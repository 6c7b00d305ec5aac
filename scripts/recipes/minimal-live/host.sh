# shellcheck shell=bash disable=SC2154,SC2034
# build.sh's part for minimal-live: packages by a lock, from a store that builds share, in a container without network.
#
# Sourced by build.sh, whose variables it reads and sets. Each recipe has these functions:
#   recipe_epoch    prints the one date of the image where nothing else asked for one, in seconds since 1970
#   recipe_inputs   fills $work/in beside what every recipe gets, and sets $lock_in, the lock that the output names
#   recipe_options  appends to $options what the engine's `create` needs
#   recipe_failed   says more of a container that ended with a code that is not 0; may die with a code of its own
#   recipe_check    looks at the image, $work/result/$iso, before it is taken; may die
#   recipe_info     prints this recipe's lines of BUILD_INFO

recipe_epoch() { git -C "$root" show --no-patch --format=%ct "$commit"; }

recipe_inputs() {
    if [[ -n $lock ]]; then
        cp -- "$lock" "$lock_in"
    elif [[ -f $root/config/$recipe.lock ]] && "$root/scripts/silvermetal-fetch" "$root/config/$recipe.lock" --store "$store" --check; then
        cp -- "$root/config/$recipe.lock" "$lock_in"
    else
        attend "$root/scripts/silvermetal-resolve-lock" --package "$(setting "$root/config/$recipe.conf" PACKAGES)" \
            --architecture "$(setting "$root/config/$recipe.conf" ARCHITECTURE)" -o "$lock_in" || die 3 "the packages cannot be resolved"
    fi
    attend "$root/scripts/silvermetal-fetch" "$lock_in" --store "$store" || die 3 "the packages of the lock cannot be had"
    first=$(grep -m1 -oE '"sha256":"[0-9a-f]{64}"' "$lock_in" | cut -d'"' -f4)
}

recipe_options() { options+=(--network none --tmpfs /tmp:rw,exec,dev,suid,mode=1777); }

recipe_failed() { :; }
recipe_check() { :; }

recipe_info() {
    printf '%s\n' "ARCHITECTURE=$(setting "$work/in/recipe.conf" ARCHITECTURE)" \
        "MKSQUASHFS_OPTIONS=$(setting "$work/in/recipe.conf" MKSQUASHFS_OPTIONS)" \
        "SUITE=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["suite"])' "$lock_in")"
}
