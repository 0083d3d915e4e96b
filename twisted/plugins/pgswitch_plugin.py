"""Registers ``twistd pgswitch``; imports the service only when it is chosen."""

from twisted.application.service import ServiceMaker

serviceMaker = ServiceMaker(  # noqa: N816 - Twisted's style of naming
    "pgswitch",
    "pgswitch.tap",
    "A PostgreSQL connection pooler, query router and switchover proxy",
    "pgswitch",
)
