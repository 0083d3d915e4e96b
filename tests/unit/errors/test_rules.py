"""Tests of pgswitch/errors/rules.py."""

import pytest

from pgswitch.errors import rules
from pgswitch.errors.report import MessageFields
from tests.unit.errors.families import check, classes_of


@pytest.mark.parametrize("kind", classes_of(rules))
def test_every_report_can_be_made(kind: type[MessageFields]) -> None:
    """Each class has a docstring, a severity and templates that its values fill."""
    check(kind)
