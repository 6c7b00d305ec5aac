#!/usr/bin/env bash
# Say where two ISOs (or manifests) differ, why, and what to do about it.
#
#   scripts/diagnose-divergence.sh A B [REPORT_DIR]
#
# REPORT_DIR (default: divergence/ beside B) gets summary.txt, todo.txt, differences.txt, report.json and report.html.
# Rules: no root, bounded memory, one run. Exit codes: 0 same, 1 differ, 2 usage, 3 unreadable input, 4 limit exceeded.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if (($# < 2 || $# > 3)) || [[ $1 == -h || $1 == --help ]]; then
    sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
for file in "$1" "$2"; do
    [[ -r $file ]] || { echo "diagnose-divergence.sh: '$file' cannot be read" >&2; exit 3; }
done
silvermetal=(silvermetal)
[[ -x $root/.venv/bin/silvermetal ]] && silvermetal=("$root/.venv/bin/silvermetal")
command -v "${silvermetal[0]}" >/dev/null || {
    echo "diagnose-divergence.sh: got no silvermetal command, expected scripts/setup.sh to have made it" >&2
    exit 2
}
out=${3:-$(dirname "$2")/divergence}
mkdir -p "$out"
exec "${silvermetal[@]}" diff "$1" "$2" --text-dir "$out" --json "$out/report.json" --html "$out/report.html" </dev/null
