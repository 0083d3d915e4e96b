"""The reference page of all settings, written from the tables.

``python -m pgswitch.config.reference`` prints the page that lies in
``docs/reference/settings.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from pgswitch.config.fields import Setting
from pgswitch.config.model import DATABASE_KEYS, PEER_KEYS, SETTINGS, USER_KEYS

_HEAD = """\
# Settings

<!-- Written by `python -m pgswitch.config.reference`; change the tables in
pgswitch/config/settings.py and pgswitch/config/model.py instead. -->

The configuration file has the sections `[pgbouncer]`, `[databases]`, `[users]` and
`[peers]`. A line that begins with `;` or `#` is a comment; `%include FILE` reads
another file, relative to the working directory.

- *integer*: a whole number, in `[pgbouncer]` also as `0x1f` or, in octal, `0777`.
- *time*: a number of seconds, with a fraction if wanted.
- *switch*: `true` or `false`.
- *list*: words divided by commas.
- *changed by*: `RELOAD` (or `SET` in the console), or only by a restart.
- *not yet*: the value is read, checked and shown, but has no effect in this version;
  the log says so at start when the file sets it.

## [pgbouncer]

"""

_DATABASES = """
## [databases]

`name = key=value key=value ...`, a value with blanks in single quotes, where `''` and
`\\'` stand for one quote. The name `*` stands for all names without an entry of their
own. A key that is not given leaves the matching setting or user entry in force.

"""

_USERS = """
## [users]

`name = key=value ...`. A user's value wins over the database's, which wins over the
setting.

"""

_PEERS = """
## [peers]

`number = key=value ...`: the other processes that cancel requests may belong to. Their
numbers go from 1 to 65535.

"""


def reference_page() -> str:
    """Return the whole page as Markdown."""
    settings = _table(
        ("setting", "type", "default", "changed by", "meaning"),
        (
            (
                f"`{name}`",
                about.kind.name,
                _default(about),
                "RELOAD" if about.reloadable else "restart",
                _meaning(about),
            )
            for name, about in SETTINGS.items()
        ),
    )
    return (
        _HEAD
        + settings
        + _DATABASES
        + _keys(DATABASE_KEYS)
        + _USERS
        + _keys(USER_KEYS)
        + _PEERS
        + _keys(PEER_KEYS)
    )


def _keys(keys: Mapping[str, Setting]) -> str:
    rows = (
        (f"`{name}`", about.kind.name, _default(about), _meaning(about))
        for name, about in keys.items()
    )
    return _table(("key", "type", "default", "meaning"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def _default(about: Setting) -> str:
    if about.default is None:
        return "not set"
    return f"`{about.default}`" if about.default else "empty"


def _meaning(about: Setting) -> str:
    words = f" ({about.kind.accepts})" if about.kind.name == "word" else ""
    return about.meaning + words + ("" if about.acts else " *(not yet)*")


if __name__ == "__main__":
    sys.stdout.write(reference_page())
