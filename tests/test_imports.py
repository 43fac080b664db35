"""Which file of the package imports which: never in a circle, not even from within a function."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import ancestral

PACKAGE = Path(ancestral.__file__).parent


def module_files(package: Path) -> dict[str, Path]:
    """The files of a package by the names of their modules."""
    names = {}
    for path in package.rglob("*.py*"):  # the extension's types too
        if path.suffix not in (".py", ".pyi"):
            continue
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports below a node but those that only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        if isinstance(child, ast.If) and is_type_checking(child):
            for other in child.orelse:
                yield from imports(ast.Module([other], []))
        else:
            yield from imports(child)


def graph(package: Path) -> dict[str, set[str]]:
    """Module → modules of the package that it imports. A package that is imported on the way to a module is none."""
    files = module_files(package)
    edges: dict[str, set[str]] = {}
    for name, path in files.items():
        edges[name] = set()
        for found in imports(ast.parse(path.read_text())):
            if isinstance(found, ast.Import):
                targets = [alias.name for alias in found.names]
            else:
                assert found.level == 0, f"{path}: a relative import"
                assert found.module
                targets = [
                    f"{found.module}.{alias.name}" if f"{found.module}.{alias.name}" in files else found.module
                    for alias in found.names
                ]
            edges[name] |= {target for target in targets if target in files}
    return edges


def circle(edges: dict[str, set[str]]) -> list[str] | None:
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(error.args[1])
    return None


def test_no_circles() -> None:
    edges = graph(PACKAGE)
    assert {"ancestral._core", "ancestral.operations.sampling"} <= edges["ancestral.model"]
    assert circle(edges) is None


@pytest.mark.parametrize(
    ("a", "b", "found"),
    [
        ("from package import b", "from package.a import name", True),
        ("def f():\n    import package.b", "def g():\n    from package import a", True),
        ("from package.b import name", "import typing\nif typing.TYPE_CHECKING:\n    import package.a", False),
        ("import package.b", "if TYPE_CHECKING:\n    pass\nelse:\n    import package.a", True),
        ("from package import b", "import numpy", False),
        ("from package.b import x", "from package import x", True),  # by way of what the package imports
    ],
)
def test_circles_are_found(a: str, b: str, found: bool, tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("from package.a import f")
    (package / "a.py").write_text(a)
    (package / "b.py").write_text(b)
    assert (circle(graph(package)) is not None) is found
