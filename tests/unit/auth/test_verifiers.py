"""Verifiers that are made ahead of the logins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pgswitch.auth.auth_file import AuthFile, VerifierPrecomputer
from pgswitch.auth.hba_policy import HbaPolicy
from pgswitch.config.model import Settings
from pgswitch.types import AuthType
from pgswitch.wire.scram import make_verifier, matches
from tests.unit.captured import CapturedLog

STORED = str(make_verifier("pencil", b"0123456789abcdef", 1))
USERS = f'"a" "one"\n"b" "two"\n"scram" "{STORED}"\n"md5" "md5{"0" * 32}"\n"e" ""\n'


class Scene:
    """A file of users, and work that waits until it is asked for."""

    def __init__(self, folder: Path) -> None:
        """Begin with five users, two of them with clear secrets."""
        self.path = folder / "users"
        self.settings = replace(
            Settings(),
            auth_type=AuthType.SCRAM_SHA_256,
            auth_file=str(self.path),
            scram_iterations=2,
        )
        self.store = AuthFile(CapturedLog().log)
        self.waiting: list[tuple[Callable[[], object], Deferred[object]]] = []
        context: Any = SimpleNamespace(derive_keys=self._work, random=bytes)
        self.configuration = context.configuration = SimpleNamespace()
        self.hba_policy = HbaPolicy(CapturedLog().log, self._work)
        self.maker = VerifierPrecomputer(context, self.store, self.hba_policy)
        self.write(USERS)

    def _work(self, call: Callable[[], object]) -> Deferred[object]:
        result: Deferred[object] = Deferred()
        self.waiting.append((call, result))
        return result

    def write(self, text: str, **changed: object) -> None:
        """Have these users from now on."""
        self.path.write_text(text)
        self.settings = replace(self.settings, **changed)  # type: ignore[arg-type]
        self.configuration.settings = self.settings
        self.store.load(self.settings)
        self.hba_policy.load(self.settings)
        self.maker.poll()

    def do_one(self) -> None:
        """Do a piece of work; there is never a second one at the same time."""
        [(call, result)] = self.waiting
        self.waiting.clear()
        result.callback(call())

    def do_all(self) -> int:
        """Do all work; return how much there was."""
        count = 0
        while self.waiting:
            self.do_one()
            count += 1
        return count


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Return the scene."""
    return Scene(tmp_path)


def test_each_clear_secret(scene: Scene) -> None:
    """One after the other; those that are no clear secrets need none."""
    assert scene.do_all() == 2
    made = scene.store.verifiers
    assert {user for user, _secret in made} == {"a", "b"}
    for (_user, secret), verifier in made.items():
        assert verifier.iterations == 2
        assert matches(verifier, secret.value)
    scene.maker.poll()
    assert scene.waiting == []


def test_changes(scene: Scene) -> None:
    """Only new secrets are stretched, and all of them when the iterations change."""
    scene.do_all()
    kept = scene.store.verifiers["a", scene.store.in_clear()[0][1]]
    scene.write('"a" "one"\n"b" "another"\n"c" "three"\n')
    assert scene.do_all() == 2
    assert kept in scene.store.verifiers.values()
    assert {user for user, _secret in scene.store.verifiers} == {"a", "b", "c"}
    scene.write('"a" "one"\n"b" "another"\n"c" "three"\n', scram_iterations=3)
    assert scene.do_all() == 3


def test_a_change_in_the_midst(scene: Scene) -> None:
    """What is made for a secret that is gone is forgotten; then the new ones."""
    scene.write('"a" "other"\n')
    scene.do_one()
    assert scene.store.verifiers == {}
    assert scene.do_all() == 1


def test_work_that_fails(scene: Scene) -> None:
    """Then the first login makes that one; the others go on."""
    [(_call, result)] = scene.waiting
    scene.waiting.clear()
    result.callback(None)
    assert scene.do_all() == 1
    assert {user for user, _secret in scene.store.verifiers} == {"b"}


@pytest.mark.parametrize(
    "kind", [AuthType.TRUST, AuthType.PLAIN, AuthType.MD5, AuthType.CERT]
)
def test_where_none_is_needed(scene: Scene, kind: AuthType) -> None:
    """Nothing more is made for other ways to log in."""
    scene.write(USERS, auth_type=kind)
    assert scene.do_all() == 1, "what was under way"


@pytest.mark.parametrize(("method", "count"), [("md5", 0), ("scram-sha-256", 1)])
def test_rules_that_ask_for_scram(scene: Scene, method: str, count: int) -> None:
    """One is enough; without any, HBA needs none."""
    scene.do_all()
    file = scene.path.with_name("hba")
    file.write_text(f"local all all trust\nhost all all all {method}\n")
    scene.write('"c" "three"\n', auth_type=AuthType.HBA, auth_hba_file=str(file))
    assert scene.do_all() == count
