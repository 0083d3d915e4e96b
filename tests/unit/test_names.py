"""One word means one thing: no type name is defined twice."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from pgswitch.glossary import OTHER_WORDS, classes

PACKAGE = Path(__file__).parents[2] / "pgswitch"


def _type_names(tree: ast.Module) -> list[str]:
    """Return the names of classes, and of aliases of types, of one file."""
    found = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names = [one.id for one in node.targets if isinstance(one, ast.Name)]
            if isinstance(node.value, (ast.Subscript, ast.BinOp)):
                found += [name for name in names if name.isidentifier()]
    return [name for name in found if name.strip("_")[:1].isupper()]


def test_no_type_name_is_defined_twice() -> None:
    """A reader of a name need not ask which of two things it is."""
    where = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for name in _type_names(ast.parse(path.read_text())):
            if not name.isupper():
                where[name].add(path.relative_to(PACKAGE).as_posix())
    assert {name: files for name, files in where.items() if len(files) > 1} == {}


def test_the_glossary_says_what_each_class_is() -> None:
    """Its rows are the classes that there are, each with a sentence."""
    rows = [row for of_folder in classes().values() for row in of_folder]
    assert all(words.endswith((".", ":", ";")) for _, words, *_ in rows)
    assert {f"`{name}`" for name in OTHER_WORDS} <= {row[0] for row in rows}
