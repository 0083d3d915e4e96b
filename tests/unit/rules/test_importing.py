"""Imports of a user's file: from its own folder, afresh, and without a trace."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pgswitch.rules.loader import Library, stamp_of
from tests.unit.rules.files import write


def test_its_own_folder(tmp_path: Path) -> None:
    """Modules and packages next to the file, also from inside functions."""
    main = write(
        tmp_path,
        "main.py",
        """
        import tables
        import pack.inner
        from pack import inner as again
        def f():
            import late
            from late import VALUE
            return [tables.T, pack.inner.VALUE, again.VALUE, late.VALUE, VALUE]
        """,
    )
    write(tmp_path, "tables.py", "import json\nT = json.loads('1')\n")
    write(tmp_path, "late.py", "VALUE = 4\n")
    write(tmp_path, "pack/__init__.py", "from . import inner\n")
    write(tmp_path, "pack/inner.py", "VALUE = 2\n")
    library = Library(tmp_path)
    module = library.main(Path(main))
    assert module.f() == [1, 2, 2, 4, 4]
    assert module.f() == [1, 2, 2, 4, 4]
    assert {Path(path).name for path in library.sources} == {
        *("main.py", "tables.py", "late.py", "__init__.py", "inner.py")
    }


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """Neither in sys.modules nor in the ways of importing, nor files of bytecode."""
    main = write(tmp_path, "main.py", "import tables\n")
    write(tmp_path, "tables.py", "")
    before = list(sys.meta_path), set(sys.modules), list(sys.path)
    Library(tmp_path).main(Path(main))
    assert (list(sys.meta_path), set(sys.modules), list(sys.path)) == before
    assert not list(tmp_path.glob("__pycache__"))


def test_two_folders_with_files_of_one_name(tmp_path: Path) -> None:
    """Each file sees its own neighbours, now and later."""
    modules = []
    for folder in ("one", "two"):
        main = write(
            tmp_path / folder,
            "main.py",
            "import tables\ndef f():\n    import late\n    return tables.T, late.T\n",
        )
        write(tmp_path / folder, "tables.py", f"T = {folder!r}\n")
        write(tmp_path / folder, "late.py", f"T = {folder!r}\n")
        modules.append(Library(tmp_path / folder).main(Path(main)))
    assert [module.f() for module in modules] == [("one", "one"), ("two", "two")]


def test_state_is_fresh(tmp_path: Path) -> None:
    """A second library imports every module again."""
    main = Path(write(tmp_path, "main.py", "from tables import SEEN\nSEEN.append(1)\n"))
    write(tmp_path, "tables.py", "SEEN = []\n")
    assert Library(tmp_path).main(main).SEEN == [1]
    assert Library(tmp_path).main(main).SEEN == [1]


def test_an_edit_of_the_same_size_and_second(tmp_path: Path) -> None:
    """The source counts, not what was compiled from it."""
    main = tmp_path / "main.py"
    for number in (1, 2):
        main.write_text(f"X = {number}\n")
        module = Library(tmp_path).main(main)
        assert number == module.X


@pytest.mark.parametrize("name", ["json", "twisted", "queue"])
def test_reserved_names(tmp_path: Path, name: str) -> None:
    """The standard library and Twisted are not taken from the user's folder."""
    write(tmp_path, f"{name}.py", "BAD = 1\n")
    main = write(tmp_path, "main.py", f"import {name} as found\n")
    assert not hasattr(Library(tmp_path).main(Path(main)).found, "BAD")
    assert Library(tmp_path).main(tmp_path / f"{name}.py").BAD == 1
    assert not hasattr(__import__(name), "BAD")


def test_a_name_that_is_in_use_elsewhere(tmp_path: Path) -> None:
    """The file gets its neighbour, all other modules what they had."""
    write(tmp_path, "hypothesis.py", "MINE = 1\n")
    main = write(tmp_path, "main.py", "import hypothesis\n")
    before = sys.modules["hypothesis"]
    assert Library(tmp_path).main(Path(main)).hypothesis.MINE == 1
    assert sys.modules["hypothesis"] is before


def test_an_import_that_fails(tmp_path: Path) -> None:
    """It raises what it raised, and all is as before."""
    main = write(tmp_path, "main.py", "import missing_neighbour\n")
    before = list(sys.meta_path)
    with pytest.raises(ModuleNotFoundError, match="missing_neighbour"):
        Library(tmp_path).main(Path(main))
    assert sys.meta_path == before


def test_stamps(tmp_path: Path) -> None:
    """A file that was written has another stamp."""
    path = write(tmp_path, "a.py", "")
    before = stamp_of(path)
    write(tmp_path, "a.py", "")
    assert stamp_of(path) != before
