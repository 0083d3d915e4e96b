"""Dataclass fields that carry what is known about a setting.

The dataclasses of this folder are the tables of all settings and keys: a field made by
``setting`` holds its value's kind, default and meaning beside its type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from pgswitch.config.units import ValueType


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known about one setting, or about one key of another section.

    ``default`` is a text as the file would have it, None where there is no default;
    ``reloadable`` is False where only a restart changes the value; ``acts`` is False
    where the value is read and shown but has no effect yet.
    """

    kind: ValueType
    default: str | None
    meaning: str
    reloadable: bool = True
    acts: bool = True


def setting(
    kind: ValueType,
    default: str | None,
    meaning: str,
    *,
    boot: bool = False,
    acts: bool = True,
    secret: bool = False,
) -> Any:  # noqa: ANN401  what dataclasses.field is declared to return
    """Return the dataclass field of one setting.

    ``boot``: its value is read at start only; ``secret``: it never shows in a repr.
    """
    return field(
        repr=not secret,
        default=None if default is None else kind.parse(default),
        metadata={"setting": Setting(kind, default, meaning, not boot, acts)},
    )


def table_of(cls: type) -> Mapping[str, Setting]:
    """Return name → Setting of a dataclass whose fields ``setting`` made."""
    return MappingProxyType(
        {
            each.name: each.metadata["setting"]
            for each in fields(cls)
            if "setting" in each.metadata
        }
    )
