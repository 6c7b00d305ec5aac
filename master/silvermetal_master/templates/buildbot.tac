"""The master's application for twistd; `silvermetal-master run` starts it.

`buildbot upgrade-master` looks for the application's name and for `configfile` in this file: both are as it wants them.
"""

import os
from pathlib import Path

from buildbot.master import BuildMaster
from twisted.application import service

basedir = str(Path(__file__).resolve().parent)
configfile = str(Path(os.environ["SILVERMETAL_CONFIG"]) / "master.cfg")
application = service.Application('buildmaster')
BuildMaster(basedir, configfile).setServiceParent(application)
