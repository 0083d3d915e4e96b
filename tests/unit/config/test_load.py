"""From the file to the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.config.load import ConfigError, load, with_setting
from pgswitch.config.model import (
    Configuration,
    DatabaseSpec,
    PeerSpec,
    Settings,
    UserSpec,
)
from pgswitch.types import PoolMode
from tests.unit.config.files import loaded, reader_of

WHOLE = """\
;; a file as operators have it
[databases]
bench = host=127.0.0.1 port=6000
* = host=10.0.0.1,10.0.0.2
[users]
app = pool_mode=session
[peers]
1 = host=127.0.0.1 port=6400
[pgbouncer]
listen_addr = *
pool_mode = transaction
admin_users = admin, root
query_wait_timeout = 0.5
%include more
"""

PROBLEMS = """\
[pgbouncer]
log_stats = yes
[databases]
a = port=x
b = host=y
[users]
c = x=1
[nosuch]
d = 1
[peers]
0 = host=z
stop here
[pgbouncer]
pool_mode = not read
"""


def test_whole() -> None:
    """All sections and an include come together in one value."""
    assert loaded(WHOLE, more="listen_port = 6400\n") == Configuration(
        settings=Settings(
            conffile="x.ini",
            listen_addr=("*",),
            pool_mode=PoolMode.TRANSACTION,
            admin_users=("admin", "root"),
            query_wait_timeout=0.5,
            listen_port=6400,
        ),
        databases={
            "bench": DatabaseSpec(
                name="bench", dbname="bench", host="127.0.0.1", port=6000
            ),
            "*": DatabaseSpec(name="*", host="10.0.0.1,10.0.0.2"),
        },
        users={"app": UserSpec(name="app", pool_mode=PoolMode.SESSION)},
        peers={1: PeerSpec(peer_id=1, host="127.0.0.1", port=6400)},
        path="x.ini",
        set_names=frozenset(
            (
                "admin_users",
                "listen_addr",
                "listen_port",
                "pool_mode",
                "query_wait_timeout",
            )
        ),
    )


def test_defaults() -> None:
    """An empty main section is a whole configuration."""
    got = loaded("[pgbouncer]\n")
    assert got == Configuration(settings=Settings(conffile="x.ini"), path="x.ini")


def test_repeats() -> None:
    """A later line wins, and a second header does not undo what the first set."""
    got = loaded(
        "[pgbouncer]\nverbose=1\nlog_stats=0\n[databases]\na=host=b port=1\na=host=c\n"
        "[pgbouncer]\nverbose=2\n"
    )
    assert (got.settings.verbose, got.settings.log_stats) == (2, 0)
    assert got.databases["a"] == DatabaseSpec(name="a", dbname="a", host="c")


def test_conffile() -> None:
    """The file may name another one to be read at the next reload."""
    assert loaded("[pgbouncer]\nconffile = /y.ini\n").settings.conffile == "/y.ini"


def test_problems() -> None:
    """Every refused line is reported, up to the one that cannot be parsed."""
    with pytest.raises(ConfigError) as caught:
        loaded(PROBLEMS)
    assert [problem.split("; accepted: ")[0] for problem in caught.value.problems] == [
        'invalid section "nosuch" in configuration (x.ini:8)',
        'invalid value "yes" for parameter log_stats in configuration (x.ini:2)',
        "invalid port: x of database a in configuration (x.ini:4)",
        "unrecognized user parameter: x of user c in configuration (x.ini:7)",
        (
            "ids of peers must be a number larger than 0 and at most 65536"
            " in configuration (x.ini:11)"
        ),
        "syntax error in configuration (x.ini:12), stopping loading",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "load_init_file: main section missing from config file"),
        ("[databases]\na=\n", "load_init_file: main section missing from config file"),
        (
            "a = 1\n[pgbouncer]\n",
            (
                "load_init_file: value without section: a in configuration (x.ini:1);"
                " accepted: a line [pgbouncer] before it"
            ),
        ),
    ],
)
def test_sections_missing(text: str, problem: str) -> None:
    """A file without the main section, or with lines before any, is refused."""
    with pytest.raises(ConfigError) as caught:
        loaded(text)
    assert caught.value.problems == (problem,)


def test_missing_file() -> None:
    """A missing file is the only problem reported."""
    with pytest.raises(ConfigError) as caught:
        load("none.ini", read=reader_of({}))
    assert caught.value.problems == (
        'could not load file "none.ini": No such file or directory',
    )


def test_from_disk(tmp_path: Path) -> None:
    """Without a reader of its own the file is read from disk."""
    file = tmp_path / "x.ini"
    file.write_text("[pgbouncer]\nverbose = 3\n")
    assert load(str(file)).settings.verbose == 3


def test_with_setting() -> None:
    """SET changes one setting and leaves the old value untouched."""
    old = loaded("[pgbouncer]\nverbose = 3\n")
    new = with_setting(old, "default_pool_size", "5")
    assert new.settings == Settings(conffile="x.ini", verbose=3, default_pool_size=5)
    assert old.settings.default_pool_size == 20


@pytest.mark.parametrize("key", ["listen_port", "service_name"])
def test_with_setting_of_restart(key: str) -> None:
    """SET of a setting that needs a restart is accepted and changes nothing."""
    configuration = Configuration()
    assert with_setting(configuration, key, "whatever") is configuration


@pytest.mark.parametrize(
    ("key", "text", "problem"),
    [
        ("nosuch", "1", "unknown parameter: pgbouncer/nosuch"),
        (
            "default_pool_size",
            "x",
            (
                'invalid value "x" for parameter default_pool_size;'
                " accepted: a whole number"
            ),
        ),
    ],
)
def test_with_setting_refused(key: str, text: str, problem: str) -> None:
    """SET of an unknown name or a bad value is refused in the words of the file."""
    with pytest.raises(ConfigError) as caught:
        with_setting(Configuration(), key, text)
    assert caught.value.problems == (problem,)


CLUSTER = "[databases]\na = host=h topology_query=q\n[pgbouncer]\n"


def test_a_cluster_without_user() -> None:
    """The monitor needs a user, as in pgbouncer-fast-switchover."""
    with pytest.raises(ConfigError) as caught:
        loaded(CLUSTER)
    (problem,) = caught.value.problems
    expected = "topology_query without user of database a in configuration (x.ini:2);"
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    "text",
    [
        f"{CLUSTER}auth_user = u\n",
        CLUSTER.replace("topology", "auth_user=u topology"),
        CLUSTER.replace("topology", "user=u topology"),
    ],
)
def test_a_cluster_with_a_user(text: str) -> None:
    """Its own user, or the auth_user."""
    assert loaded(text).databases["a"].topology_query == "q"
