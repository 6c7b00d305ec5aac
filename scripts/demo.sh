#!/usr/bin/env bash
# One command: a tag, two hosts, two real ISOs, one verdict. `scripts/demo.sh --help` tells the options.
#
# Rules: thin. It makes the machine ready (scripts/setup.sh), becomes root where it must (network namespaces), and hands over to
# the Python package silvermetal_demo, which starts everything and leaves nothing behind.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
case " $* " in
    *' -h '*|*' --help '*) group=help ;;
    *' --hosts=vm '*|*' --hosts vm '*) group=vm ;;
    *) group=demo ;;
esac

# Help and wrong usage need no machine made ready, and no root: the options use the standard library alone.
if [[ $group == help ]] || command -v python3 >/dev/null; then
    PYTHONPATH=$root/scripts PYTHONDONTWRITEBYTECODE=1 python3 -c 'from silvermetal_demo.options import parse; parse()' "$@" || exit
    [[ $group != help ]] || exit 0
fi
if ((EUID != 0)); then
    command -v sudo >/dev/null || { echo "demo: got user $(id -un) and no sudo; expected root, for network namespaces and bridges" >&2; exit 3; }
    echo "demo: network namespaces and bridges need root: asking sudo" >&2
    exec sudo --preserve-env=SILVERMETAL_STATE,SILVERMETAL_VENV,SILVERMETAL_PYTHON,http_proxy,https_proxy,no_proxy -- "$root/scripts/demo.sh" "$@"
fi

bash "$root/scripts/setup.sh" "$group" || exit 3
venv=${SILVERMETAL_VENV:-$root/.venv}
export PATH=$venv/bin:$PATH:/usr/local/sbin:/usr/sbin:/sbin
exec "$venv/bin/python" -m silvermetal_demo "$@" </dev/null
