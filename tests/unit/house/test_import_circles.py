"""Within the explainer imports run one way, those for types included: a reader never needs to know who calls it."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "explain" / "silvermetal_explain"


def imported(file: Path) -> set[Path]:
    """The modules of the package that a file's top level imports, under ``if TYPE_CHECKING`` too."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    rows = [*tree.body, *(inner for node in tree.body if isinstance(node, ast.If) for inner in node.body)]
    found = set()
    for node in rows:
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
        found |= {p for p in (base.with_suffix(".py"), *(base / f"{a.name}.py" for a in node.names)) if p.is_file()}
    return found - {file}


def test_no_module_of_the_explainer_is_in_a_circle() -> None:
    graph = {file: imported(file) for file in PACKAGE.rglob("*.py")}
    assert sum(map(len, graph.values())) > 40, "the test sees the imports"
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle
