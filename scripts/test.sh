#!/usr/bin/env bash
# Runs every check of the project: setup, ruff, mypy, the import contract, then the tests.
#
#   scripts/test.sh [--all | --quick] [PYTEST ARGUMENT...]
#
#   (neither)  everything but the e2e tests, which boot and build for minutes; with CI set in the environment: as --all
#   --all      the e2e tests too
#   --quick    unit and integration tests only: nothing that needs root, an engine or QEMU
# Pytest arguments narrow the tests (scripts/test.sh tests/unit/proof -k decide); the other checks run all the same.
#
# Rules: every part runs even where an earlier one failed; each says how long it took; pytest runs last, says what it left out and
# why (-ra), and its closing line closes the output. Exit code 0 only where every part passed. Nothing is left running.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 3

which=default
[[ -n ${CI-} ]] && which=all
while (($# > 0)); do
    case $1 in
        --all) which=all ;;
        --quick) which=quick ;;
        -h|--help) sed -n '2,/^set -uo/{/^set -uo/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; exit 0 ;;
        *) break ;;
    esac
    shift
done
case $which in
    all) markers='not bench' left_out='bench (never part of a plain run: pytest -m bench)' ;;
    default) markers='not bench and not e2e' left_out='bench, e2e (scripts/test.sh --all runs e2e)' ;;
    quick) markers='not bench and not e2e and not system' left_out='bench, e2e, system' ;;
esac

export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PYTHONDONTWRITEBYTECODE=1
failed=()
seconds() { printf '%d.%d' "$(($1 / 1000000))" "$(($1 / 100000 % 10))"; }

# part NAME COMMAND...: runs it without standard input, says how it went and how long it took.
part() {
    local name=$1 start=${EPOCHREALTIME/[.,]/} status=0
    shift
    printf '== %s\n' "$name"
    "$@" </dev/null || status=$?
    local took=$((${EPOCHREALTIME/[.,]/} - start))
    if ((status == 0)); then
        printf '== %s: passed, %s s\n' "$name" "$(seconds "$took")"
    else
        printf '== %s: FAILED with exit code %d, %s s\n' "$name" "$status" "$(seconds "$took")"
        failed+=("$name")
    fi
    return "$status"
}

part setup bash scripts/setup.sh test || exit 3
venv=${SILVERMETAL_VENV:-$root/.venv}
export PATH=$venv/bin:$PATH

part 'ruff check' ruff check .
part 'ruff format' ruff format --check .
part mypy mypy
part 'import contract' lint-imports

printf '== pytest; left out by marker: %s\n' "$left_out"
((${#failed[@]} == 0)) || printf '== already failed: %s (see above)\n' "${failed[*]}"
python -m pytest -m "$markers" --durations=15 "$@" </dev/null
status=$?
if ((${#failed[@]} > 0)); then
    printf 'test.sh: the tests ended with exit code %d, and these failed: %s\n' "$status" "${failed[*]}" >&2
    exit 1
fi
exit "$status"
