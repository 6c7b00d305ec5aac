"""The stand-ins of the tests, each beside what checks it."""
