"""Files of rules, checked when they are loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.rules.loader import (
    ROUTING,
    RuleModule,
    RulesError,
    function_of,
    load_module,
    trace,
)
from tests.unit.rules.files import write


def loaded(folder: Path, text: str) -> RuleModule:
    """Return the module of a text."""
    return load_module(write(folder, "rules.py", text))


@pytest.mark.parametrize(
    ("head", "count", "wants_context"),
    [
        ("(username, query, in_transaction)", 3, False),
        ("(username, query)", 2, False),
        ("(username, query, in_transaction=False)", 3, False),
        ("(*arguments)", 3, False),
        ("(*arguments, **more)", 3, False),
        ("(username, query, in_transaction, context)", 3, True),
        ("(username, query, in_transaction, *, context)", 3, True),
        ("(username, query, in_transaction, context=None)", 3, True),
        ("(username, query, context)", 2, True),
    ],
)
def test_signatures(
    tmp_path: Path, head: str, count: int, *, wants_context: bool
) -> None:
    """Two or three arguments, and a context for functions that want one."""
    module = loaded(tmp_path, f"def routing_rules{head}: return None")
    assert function_of(module, ROUTING)[1:] == (count, wants_context)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def routing_rules(username): pass", "routing_rules(username) cannot be"),
        ("def routing_rules(a, b, c, d): pass", "cannot be called with"),
        ("def routing_rules(a, b, c, *, d): pass", "cannot be called with"),
        ("def route(a, b, c): pass", "has no function routing_rules("),
        ("routing_rules = 'dev'", "has no function routing_rules("),
    ],
)
def test_unfit_functions(tmp_path: Path, text: str, words: str) -> None:
    """The operator reads what is wrong, and with which file."""
    module = loaded(tmp_path, text)
    with pytest.raises(RulesError) as raised:
        function_of(module, ROUTING)
    assert words in str(raised.value)
    assert str(tmp_path / "rules.py") in str(raised.value)


def test_a_function_whose_signature_is_not_known(tmp_path: Path) -> None:
    """It is given three arguments."""
    module = loaded(tmp_path, "routing_rules = dict.fromkeys")
    module.module.__dict__["routing_rules"] = type
    assert function_of(module, ROUTING)[1:] == (3, False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named"),
        ("print 'two'", "SyntaxError"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("def f():\n    1 / 0\nf()", "line 2, in f"),
    ],
)
def test_files_that_cannot_be_imported(tmp_path: Path, text: str, words: str) -> None:
    """The traceback has the user's code, and none of pgswitch's."""
    with pytest.raises(RulesError) as raised:
        loaded(tmp_path, text)
    assert "could not import" in str(raised.value)
    assert words in str(raised.value)
    assert "pgswitch/rules" not in str(raised.value)


def test_a_missing_file(tmp_path: Path) -> None:
    """Its folder may be missing too."""
    for path in (tmp_path / "no.py", tmp_path / "no" / "no.py"):
        with pytest.raises(RulesError, match=r"could not read .*No such file"):
            load_module(str(path))


def test_an_interrupt_is_not_a_fault(tmp_path: Path) -> None:
    """Ctrl-C at the start ends the start."""
    with pytest.raises(KeyboardInterrupt):
        loaded(tmp_path, "raise KeyboardInterrupt")


@pytest.mark.parametrize(
    "text",
    [
        "raise KeyboardInterrupt",
        "raise GeneratorExit",
        "class Mute(OSError):\n    __str__ = __repr__ = lambda _: 1 / 0\nraise Mute",
        "class Mute(Exception):\n    __str__ = __repr__ = lambda _: 1 / 0\nraise Mute",
        "raise Exception('x' * 10_000_000)",
        "raise OSError(0, 'x' * 10_000_000)",
    ],
)
def test_whatever_an_import_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """In the service it is a file that cannot be imported, logged in few words."""
    monkeypatch.setattr("signal.getsignal", lambda _number: None)
    with pytest.raises(RulesError) as raised:
        loaded(tmp_path, text)
    assert len(str(raised.value)) < 11_000


def test_a_function_that_cannot_be_looked_at(tmp_path: Path) -> None:
    """Its signature raises, or the module when it is asked for it."""
    odd = """class Odd:
    __call__ = None
    __signature__ = property(lambda _: 1 / 0)
routing_rules = Odd()"""
    for text in (odd, "def __getattr__(name): raise SystemExit"):
        with pytest.raises(RulesError, match="routing_rules cannot be inspected"):
            function_of(loaded(tmp_path, text), ROUTING)


def test_changes(tmp_path: Path) -> None:
    """A module has changed when one of its files has, or is gone."""
    write(tmp_path, "tables.py", "T = 1")
    module = loaded(tmp_path, "import tables")
    digest = module.digest
    assert not module.has_changed()
    path = write(tmp_path, "tables.py", "T = 2")
    assert module.has_changed()
    assert module.digest == digest, "of what is in force"
    again = load_module(module.path)
    assert again.digest != digest
    assert again.written_at == pytest.approx(1e9)
    Path(path).unlink()
    assert again.has_changed()


def test_long_tracebacks_are_cut(tmp_path: Path) -> None:
    """A log line has room for so much."""
    with pytest.raises(RulesError) as raised:
        loaded(tmp_path, "def f(n):\n    f(n - 1) if n else 1 / 0\nf(50)")
    assert "Previous line repeated 7 more times" in str(raised.value)


def test_a_traceback_without_the_users_code(tmp_path: Path) -> None:
    """There is still the error."""
    assert trace(ValueError("odd"), tmp_path / "x.py").endswith("ValueError: odd")
