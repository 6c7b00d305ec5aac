"""The master's application for twistd; `silvermetal-master run` starts it."""

import os
from pathlib import Path

from buildbot.master import BuildMaster
from twisted.application import service

basedir = Path(__file__).resolve().parent
application = service.Application("silvermetal-master")
BuildMaster(str(basedir), str(Path(os.environ["SILVERMETAL_CONFIG"]) / "master.cfg")).setServiceParent(application)
