#!/usr/bin/env bash
# Makes this machine ready: Debian packages by apt, Python packages in .venv with the versions of constraints.txt.
#
#   scripts/setup.sh [GROUP] [--check]
#
# GROUP is what you mean to do (default: demo):
#   demo  scripts/demo.sh          the smallest set
#   vm    scripts/demo.sh --hosts=vm
#   test  scripts/test.sh          everything that the tests use
# --check says what is missing, installs nothing; exit 1 where something is.
#
# Rules: nothing is installed before it was named; a second run that finds nothing missing takes well under a second and asks
# no network; what is there already (another Docker package, say) is used, not replaced. Exit codes: 0, 1 (--check), 2 usage, 3 failed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${SILVERMETAL_VENV:-$root/.venv}
# /usr/sbin holds dockerd, iptables and mkfs.vfat, and is not in a plain user's PATH on Debian.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$2"; exit "$1"; }

group=demo
check=false
for argument; do
    case $argument in
        demo|vm|test) group=$argument ;;
        --check) check=true ;;
        -h|--help) sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; exit 0 ;;
        *) die 2 "unknown argument '$argument'; expected one of: demo vm test --check" ;;
    esac
done

# What must be there, as "proof:package"; the proof is a command, or a file when it starts with a slash.
demo_needs=(
    dockerd:docker.io docker:docker.io ip:iproute2 iptables:iptables modprobe:kmod git:git
    nsenter:util-linux unshare:util-linux mount:mount ps:procps mmdebstrap:mmdebstrap
    /etc/ssl/certs/ca-certificates.crt:ca-certificates
)
vm_needs=(qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils mkfs.ext4:e2fsprogs cpio:cpio zstd:zstd)
test_needs=(
    xorriso:xorriso mksquashfs:squashfs-tools tar2sqfs:squashfs-tools-ng mcopy:mtools mkfs.vfat:dosfstools
    /usr/share/OVMF/OVMF_CODE_4M.fd:ovmf faketime:faketime disorderfs:disorderfs fakeroot:fakeroot
    genisoimage:genisoimage grub-mkrescue:grub-common /usr/lib/grub/i386-pc/boot.img:grub-pc-bin
    lb:live-build systemd-socket-activate:systemd /usr/lib/ISOLINUX/isohdpfx.bin:isolinux diffoscope:diffoscope-minimal
    docker-compose:docker-compose curl:curl
    minisign:minisign signify-openbsd:signify-openbsd ssh-keygen:openssh-client gpg:gnupg
    pg_ctlcluster:postgresql
    docker-registry:docker-registry podman:podman crun:crun
)
needs=("${demo_needs[@]}")
extras=master,worker,explain
if [[ $group == vm || $group == test ]]; then needs+=("${vm_needs[@]}"); fi
if [[ $group == test ]]; then needs+=("${test_needs[@]}"); extras=test; fi

is_there() {
    if [[ $1 == /* ]]; then [[ -s $1 ]]; else command -v "$1" >/dev/null; fi
}

# The system's Python: Debian 12 has 3.11, Debian 13 has 3.13.
find_python() {
    local candidate
    for candidate in ${SILVERMETAL_PYTHON:+"$SILVERMETAL_PYTHON"} /usr/bin/python3 python3; do
        if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
}

# --- Debian packages ----------------------------------------------------------------------------------------------------------
missing=()
for need in "${needs[@]}"; do
    if ! is_there "${need%%:*}"; then
        package=${need#*:}
        # Debian 13 moved the docker command out of docker.io; Debian 12 has no docker-cli.
        if [[ ${need%%:*} == docker && -n $(apt-cache search --names-only '^docker-cli$' 2>/dev/null) ]]; then package=docker-cli; fi
        [[ " ${missing[*]-} " == *" $package "* ]] || missing+=("$package")
    fi
done
python=$(find_python)
if [[ -z $python ]]; then
    missing+=(python3 python3-venv)
elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    missing+=(python3-venv)
fi

# --- Python packages: what .venv must have been made from ------------------------------------------------------------------------
# The scripts of setup.cfg's `scripts =` are copied into .venv/bin, so their content counts too.
wanted() {
    {
        cat "$root/setup.cfg" "$root/pyproject.toml" "$root/constraints.txt" "$root"/scripts/silvermetal-*
        printf '%s\n' "$root" "$1"
        "$venv/bin/python" -c 'import sys; print(sys.version, sys.base_prefix)'
    } 2>/dev/null | sha256sum
}
stamp=$venv/.silvermetal-setup
stamped() { [[ -x $venv/bin/python && -f $stamp-$1 && $(<"$stamp-$1") == "$(wanted "$1")" ]]; }
python_is_ready=false
if stamped "$extras" || stamped test; then python_is_ready=true; fi

if $check; then
    ((${#missing[@]} == 0)) || say "missing Debian packages: ${missing[*]}"
    $python_is_ready || say "missing or out of date: $venv with the Python packages of setup.cfg's [$extras]"
    ((${#missing[@]} == 0)) && $python_is_ready && exit 0
    exit 1
fi

if ((${#missing[@]} > 0)); then
    as_root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null || die 3 "got user $(id -un) and no sudo; expected root, to install: ${missing[*]}"
        as_root=(sudo DEBIAN_FRONTEND=noninteractive)
    fi
    command -v apt-get >/dev/null || die 3 "got a machine without apt; expected Debian 12 or 13, to install: ${missing[*]}"
    say "installing Debian packages: ${missing[*]}"
    if [[ " ${missing[*]} " == *" docker.io "* && -d /run/systemd/system ]]; then
        say "  (Debian's docker.io also starts its own engine as a service; the demo does not use that one)"
    fi
    log=$(mktemp)
    apt_get() {
        DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get -y -q -o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$log" 2>&1
    }
    install_missing() { apt_get install --no-install-recommends "${missing[@]}"; }
    # A fresh machine has no package lists, an old one has stale ones: ask for new ones where the first try fails.
    # One broken third-party source must not stop us, so it is the installation that decides, not the update.
    if ! install_missing; then
        apt_get update || true
        # Only now does apt know whether this Debian has docker-cli.
        if [[ " ${missing[*]} " == *" docker.io "* && -n $(apt-cache search --names-only '^docker-cli$') ]]; then missing+=(docker-cli); fi
        if ! install_missing; then
            tail -n 20 "$log" >&2
            die 3 "apt-get could not install: ${missing[*]} (whole log: $log)"
        fi
    fi
    rm -f "$log"
    hash -r
    for need in "${needs[@]}"; do
        is_there "${need%%:*}" || die 3 "got no ${need%%:*} after installing ${need#*:}; install it by hand and run this again"
    done
    python=$(find_python)
    [[ -n $python ]] || die 3 "got no Python of 3.11 or newer; expected Debian 12 or 13, or its path in SILVERMETAL_PYTHON"
fi

if ! $python_is_ready; then
    say "installing Python packages into $venv: $("$python" -V 2>&1), the extras [$extras] of setup.cfg at the versions of constraints.txt"
    # Remade only where its Python is gone or another: a few changed packages are installed in place.
    if [[ ! -x $venv/bin/python ]] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        rm -rf "$venv"
        "$python" -m venv "$venv" || die 3 "$python could not make $venv; is there room, and is python3-venv installed?"
    fi
    # Constraints for the build environment too: by the first variable for pip before 25.3, by the second since.
    if ! PIP_CONSTRAINT=$root/constraints.txt PIP_BUILD_CONSTRAINT=$root/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
        PIP_ROOT_USER_ACTION=ignore "$venv/bin/python" -m pip install -qq --no-input --prefer-binary \
        --editable "$root[$extras]" </dev/null >&2; then
        die 3 "pip could not install the Python packages; mend what it says above (network, disk) and run this again"
    fi
    wanted "$extras" >"$stamp-$extras"
    say "ready"
fi
