"""Every file of a verdict's folder is accounted for: proven by a signature, or at least as ``SHA256SUMS`` says.

Rules:

- Proven: the verdict, statements, the ledger below its checkpoint, inputs, copies of keys, images (all checked before),
  and by-products (``BUILD_INFO``, the audit's report, the build's log) of which a statement names the digest.
- ``SHA256SUMS`` is signed by nobody here: what it alone names (logs) is whole, not proven, and is told so.
- A file that nothing accounts for is refused, and one that cannot be a plain file too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from silvermetal_proof.cli.ends import End, Refused, read
from silvermetal_proof.cli.progress import Told, Watch
from silvermetal_proof.digest import digest_of
from silvermetal_proof.errors import ProofError
from silvermetal_proof.release import SUMS, parse_sums
from silvermetal_proof.release.sums import MAX_SUMS_BYTES
from silvermetal_proof.statement import Statement


def files_of(folder: Path) -> list[Path]:
    """Every file below ``folder``, sorted. :raises Refused: for what is neither a folder nor a plain file."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found.append(path)
        elif path.is_symlink() or not path.is_dir():
            raise Refused(End.UNREADABLE, path, "expected a plain file or a folder, got something else")
    return found


def digest_in(path: Path, told: Told) -> str:
    """``sha256:<64 hex>`` of a file's bytes. :raises Refused: when it cannot be read."""
    try:
        with path.open("rb") as stream:
            return digest_of(stream, told)
    except OSError as error:
        raise Refused(End.UNREADABLE, path, f"expected a readable file, got {error.strerror}") from None


def read_sums(folder: Path) -> dict[str, str]:
    """Relative names and digests of ``SHA256SUMS``, none where there is no such file."""
    path = folder / SUMS
    if not path.exists():
        return {}
    try:
        return parse_sums(read(path, MAX_SUMS_BYTES), below=True)
    except ProofError as error:
        raise Refused(End.SUMS, path, str(error)) from None


def _byproducts(statements: Mapping[str, Statement]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for statement in statements.values():
        for byproduct in statement.predicate.run_details.byproducts:
            found.setdefault(byproduct.name, set()).add(f"sha256:{byproduct.digest.sha256}")
    return found


def account(
    folder: Path,
    proven: Mapping[Path, str | None],
    own: Collection[Path],
    statements: Mapping[str, Statement],
    watch: Watch,
) -> list[str]:
    """Account for every file; return the names of those that only ``SHA256SUMS`` names.

    ``proven`` are the files that were checked, with their digest where it is known; ``own`` those that the caller
    brought as keys, which prove others. :raises Refused: naming the file.
    """
    sums, made = read_sums(folder), _byproducts(statements)
    left = dict(sums)
    whole = []
    for path in files_of(folder):
        name = str(path.relative_to(folder))
        said = left.pop(name, None)
        if name == SUMS or (path.name == ".lock" and path.stat().st_size == 0):
            continue
        if said is None and path in own:
            continue
        if said is None and path not in proven and name not in made:
            raise Refused(
                End.SUMS,
                path,
                f"expected only files that the verdict or {SUMS} accounts for, got another; move it away",
            )
        known = proven.get(path)
        found = known or (digest_in(path, watch(path)) if said or name in made else None)
        if path not in proven and name in made and found not in made[name]:
            expected = " or ".join(sorted(made[name]))
            raise Refused(End.STATEMENTS, path, f"expected {expected}, of which a host signed, got {found}")
        if said is not None and said != found:
            if path in proven or name in made:
                raise Refused(End.SUMS, folder / SUMS, f"expected {found} for {name}, which is proven, got {said}")
            raise Refused(End.SUMS, path, f"expected {said}, as {SUMS} says, got {found}")
        if path not in proven and name not in made:
            whole.append(name)
    for name in left:
        raise Refused(End.SUMS, folder / name, f"expected it, for {SUMS} names it, got no file")
    return whole
