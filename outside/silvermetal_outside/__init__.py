"""For somebody outside: fetch a release and check it. The one room that may use the network without Buildbot."""
