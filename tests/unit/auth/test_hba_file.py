"""HBA files: what is understood, what is left out, what they include."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.auth.hba import HbaRule
from pgswitch.auth.hba_file import HbaFile, read_hba
from pgswitch.auth.ident import parse_ident
from pgswitch.types import Method

MAPS, _ = parse_ident("m a b")


def read(text: str) -> HbaFile:
    """Read a file that includes none."""
    return read_hba("hba", lambda _: text, MAPS)


@pytest.mark.parametrize(
    ("word", "method"),
    [
        ("trust", Method.TRUST),
        ("reject", Method.REJECT),
        ("password", Method.PLAIN),
        ("md5", Method.MD5),
        ("scram-sha-256", Method.SCRAM_SHA_256),
        ("cert", Method.CERT),
        ("cert map=m", Method.CERT),
        ("peer", Method.PEER),
        ('peer map="m"', Method.PEER),
        ('ldap ldapserver=x ldapprefix="cn="', Method.LDAP),
        ("ldap", Method.LDAP),
        ("pam", Method.PAM),
        ("pam pamservice=login", Method.PAM),
    ],
)
def test_methods(word: str, method: Method) -> None:
    """With their options."""
    found = read(f"hostssl all all all {word}")
    assert found.problems == []
    requirement = found.rules[0].requirement
    assert requirement.method is method
    assert (requirement.ident is not None) is ("map=" in word)
    assert (requirement.ldap is not None) is ("ldapserver" in word)
    if method is Method.PAM:
        assert requirement.service == ("login" if "login" in word else "pgbouncer")


@pytest.mark.parametrize(
    "line",
    [
        "local",
        "local all",
        "local all all",
        "local all all gss",
        "local all all ident",
        "local all all any",
        "local all all md5 map=m",
        "local all all peer map=other",
        "local all all cert clientcert=verify-full",
        "local samerole all md5",
        "local samegroup all md5",
        "local all +group md5",
        "local all /( md5",
        "local @missing all md5",
        'local "all all md5',
        "local all,, all md5",
        "host all all md5",
        "host all all 1.2.3.4 md5",
        "host all all 1.2.3.4 ::1 md5",
        "host all all 1.2.3.4/33 md5",
        "host all all 1.2.3.4/-1 md5",
        "host all all 1.2.3/24 md5",
        "host all all no_slash$ md5",
        "host all all ::1/129 md5",
        "host all all 10.0.0.0/8,all md5",
        "hostgssenc all all all md5",
        "include",
        "include a b",
        "include missing",
        "nonsense all all md5",
    ],
)
def test_lines_that_are_left_out(line: str) -> None:
    """Are logged with their numbers; the others are valid."""

    def files(path: str) -> str:
        if path == "hba":
            return f"local a a trust\n{line}\nlocal b b reject\n"
        raise FileNotFoundError(2, "No such file", path)

    found = read_hba("hba", files, MAPS)
    [problem] = found.problems
    assert (problem.path, problem.line) == ("hba", 2)
    assert problem.reason
    assert [rule.line for rule in found.rules] == [1, 3]


@pytest.mark.parametrize("options", ["ldapserver=x", "nonsense"])
def test_a_line_that_counts_as_rejection(options: str) -> None:
    """Its clients are known: none of them may match the next line."""
    found = read(f"local all all ldap {options}\nlocal all all trust")
    [problem] = found.problems
    assert problem.line == 1
    methods = [rule.requirement.method for rule in found.rules]
    assert methods == [Method.REJECT, Method.TRUST]


@pytest.mark.parametrize(
    ("link", "count"), [("local", 1), ("hostnossl", 1), ("host", 0), ("hostssl", 0)]
)
def test_certificates_in_clear(link: str, count: int) -> None:
    """There are none; even so, the line's clients may not match the next one."""
    place = "" if link == "local" else "all"
    found = read(f"{link} all all {place} cert")
    assert len(found.problems) == count
    assert [rule.requirement.method for rule in found.rules] == [Method.CERT]


@pytest.mark.parametrize("rest", ["/95", "/0", f" {'ffff:' * 5}:"])
def test_more_than_ipv4_inside_ipv6(rest: str) -> None:
    """Is warned of, as no client that comes by IPv4 fits it."""
    found = read(f"host all all ::ffff:0.0.0.0{rest} md5")
    [problem] = found.problems
    assert "no client that comes by IPv4 fits this line" in problem.reason
    assert len(found.rules) == 1
    assert read("host all all ::/0 md5").problems == []


def test_files_of_names(tmp_path: Path) -> None:
    """Files named in the HBA file are relative to it, may be lists, may name others."""
    (tmp_path / "users").write_text("alice, bob # and\n@more\n")
    (tmp_path / "more").write_text('"carol d"\n')
    (tmp_path / "hba").write_text("local all @users,dave md5\n")
    found = read_hba(str(tmp_path / "hba"), lambda path: Path(path).read_text(), {})
    assert found.problems == []
    users = found.rules[0].users
    for name in ("alice", "bob", "carol d", "dave"):
        assert users.has(name, name)
    assert not users.has("@more", "@more")


def test_files_that_name_themselves(tmp_path: Path) -> None:
    """Have an end."""
    (tmp_path / "hba").write_text("include hba\nlocal @hba all md5\nlocal a a trust\n")
    found = read_hba(str(tmp_path / "hba"), lambda path: Path(path).read_text(), {})
    assert found.rules
    assert all("too deep" in problem.reason for problem in found.problems)


def test_include(tmp_path: Path) -> None:
    """Rules stand where the directive does."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "b.conf").write_text("local b all trust\n")
    (tmp_path / "d" / "a.conf").write_text("local a all trust\nnonsense\n")
    (tmp_path / "d" / "ignored").write_text("local x all trust\n")
    (tmp_path / "hba").write_text(
        "include_if_exists missing\ninclude_dir d\ninclude d/b.conf\n"
    )
    found = read_hba(str(tmp_path / "hba"), lambda path: Path(path).read_text(), {})

    def database(rule: HbaRule) -> str:
        return "".join(rule.databases.names)

    assert [database(rule) for rule in found.rules] == ["a", "b", "b"]
    [problem] = found.problems
    assert (Path(problem.path).name, problem.line) == ("a.conf", 2)


def test_an_unreadable_file() -> None:
    """Is for the caller to tell of."""

    def fail(path: str) -> str:
        raise PermissionError(13, "denied", path)

    with pytest.raises(OSError, match="denied"):
        read_hba("hba", fail, {})


words = st.sampled_from(
    [
        *("local", "host", "hostssl", "all", "sameuser", "replication", "a,b", "@f"),
        *("1.2.3.4/8", "::1/0", "samenet", ".example", "/a(", '"q d"', "md5", "cert"),
        *("ldap", "ldapserver=a", "map=m", "include", "#", '"', ",", "\\", "trust"),
    ]
)


@given(st.lists(st.lists(words, max_size=7), max_size=5))
def test_any_file(lines: list[list[str]]) -> None:
    """Gives rules and problems, and never anything else."""
    text = "\n".join(" ".join(line) for line in lines)

    def files(path: str) -> str:
        if path == "hba":
            return text
        raise FileNotFoundError(2, "No such file", path)

    found = read_hba("hba", files, MAPS)
    # A line with wrong LDAP options is both: it is logged, and rejects.
    assert max(len(found.rules), len(found.problems)) <= len(lines)
