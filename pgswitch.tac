"""Runs the service by ``PGSWITCH_CONFIG=pgbouncer.ini twistd -noy pgswitch.tac``."""

import os

from twisted.application.service import Application

from pgswitch.tap import Options, makeService

options = Options()
options.parseOptions(["--config", os.environ["PGSWITCH_CONFIG"]])
application = Application("pgswitch")
makeService(options).setServiceParent(application)
