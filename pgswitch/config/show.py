"""The rows of the console's ``SHOW CONFIG``."""

from __future__ import annotations

from typing import Any, NamedTuple

from pgswitch.config.model import SETTINGS, Settings
from pgswitch.config.units import ValueType


class ConfigRow(NamedTuple):
    """One setting as text; None is unset. ``changeable`` is ``yes`` or ``no``."""

    key: str
    value: str | None
    default: str | None
    changeable: str


def config_rows(settings: Settings) -> list[ConfigRow]:
    """Return a row for each setting, in the order of ``SETTINGS``.

    Times are written as C's ``%g`` does, numbers in decimal (so ``unix_socket_mode`` is
    511 where the file says 0777), words by name, lists as they were written.  A default
    is the text that a file would have, as in the reference.
    """
    return [
        ConfigRow(
            name,
            _text(about.kind, getattr(settings, name)),
            about.default,
            "yes" if about.reloadable else "no",
        )
        for name, about in SETTINGS.items()
    ]


def _text(kind: ValueType, value: Any) -> str | None:  # noqa: ANN401  of the kind's type
    return None if value is None else kind.show(value)
