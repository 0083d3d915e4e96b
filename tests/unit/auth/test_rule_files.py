"""HBA and ident files from disk: their effect, and what the log says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pgswitch.auth.hba_policy import (
    CERT_IS_HOPELESS,
    CERT_OF_ANYBODY,
    RuleFiles,
    read_rule_files,
)
from pgswitch.config.model import Settings


def read(
    folder: Path,
    hba: str | None,
    ident: str | None = None,
    **more: Any,  # noqa: ANN401 - settings
) -> RuleFiles:
    """Return what files of these texts come to; None is no file."""
    for name, text in (("hba", hba), ("ident", ident)):
        if text is not None:
            (folder / name).write_text(text)
    settings = replace(
        Settings(),
        auth_hba_file=str(folder / "hba"),
        auth_ident_file=None if ident is None else str(folder / "ident"),
        **more,
    )
    return read_rule_files(settings)


def test_good_files(tmp_path: Path) -> None:
    """Every line is a rule, its map that of the other file."""
    found = read(tmp_path, "local all all peer map=m\nhost all all all md5\n", "m a b")
    assert [rule.line for rule in found.rules] == [1, 2]
    assert found.unreadable == found.left_out == []
    ident = found.rules[0].requirement.ident
    assert ident is not None
    assert ident.allows("a", "b")


def test_lines_that_are_none(tmp_path: Path) -> None:
    """Left out and logged, those of included files with their names."""
    (tmp_path / "more").write_text("host all all nonsense! md5\n")
    found = read(tmp_path, "host all\ninclude more\nlocal all all trust\n", "m a\n")
    assert [rule.line for rule in found.rules] == [3]
    of_map, of_file, of_included = found.left_out
    assert of_map == (
        "could not parse ident config line 1:"
        " not a map, a system name and a database user"
    )
    assert of_file == "could not parse hba config line 1: no user"
    assert of_included == (
        f"could not parse hba config line 1 of {tmp_path}/more:"
        " neither an address nor a host name: nonsense!"
    )


@pytest.mark.parametrize(
    ("mode", "ca_file", "doubt"),
    [
        ("disable", "", CERT_IS_HOPELESS),
        ("disable", "ca", CERT_IS_HOPELESS),
        ("require", "", CERT_IS_HOPELESS),
        ("prefer", "ca", None),
        ("verify-ca", "", CERT_OF_ANYBODY),
        ("verify-full", "ca", None),
    ],
)
def test_doubtful_certificates(
    tmp_path: Path, mode: str, ca_file: str, doubt: str | None
) -> None:
    """Of no client, as none is requested, or of any; other methods need none."""
    tls = {"client_tls_sslmode": mode, "client_tls_ca_file": ca_file}
    found = read(tmp_path, "hostssl all all all cert\n", **tls)
    assert found.doubtful == ([] if doubt is None else [doubt])
    assert read(tmp_path, "hostssl all all all md5\n", **tls).doubtful == []


def test_files_that_are_missing(tmp_path: Path) -> None:
    """A missing file lets no client in."""
    found = read(tmp_path, None)
    assert found.rules == ()
    assert found.unreadable == [
        f"could not open hba config file {tmp_path}/hba: No such file or directory"
    ]
    settings = replace(Settings(), auth_ident_file="/no/such")
    assert "could not open ident config file /no/such: No such file or directory" in (
        read_rule_files(settings).unreadable
    )
