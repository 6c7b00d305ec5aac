"""House rule 8: what a process of Buildbot's imports must go with the GPL, version 2.

Each process is started as it is in service and asked which distributions its modules come from; each of those has a
licence of the allowed kinds in its own metadata.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import distribution, requires

import pytest

# Imports that each process makes; what else these bring is what is looked at.
PROCESSES = {
    "silvermetal": "silvermetal_proof.cli.main silvermetal_proof.verdict silvermetal_proof.seal",
    "buildbot-worker": "buildbot_worker.bot",
    "buildbot": "buildbot.master buildbot.www.service buildbot.worker.protocols.pb buildbot.schedulers.forcesched "
    "silvermetal_master.configure silvermetal_master.steps silvermetal_master.gitea.events pg8000.dbapi",
}
FORBIDDEN = ("docker", "requests", "dissect", "pycdlib", "diffoscope", "nacl", "silvermetal_explain")

ALLOWED = re.compile(
    r"""\A(?:MIT|MIT-0|ISC|BSD|[23]-Clause\ BSD(?:\ License)?|BSD-[23]-Clause|0BSD|PSF-2\.0|Python-2\.0|ZPL-2\.1|Zlib|
    Unlicense|MPL-2\.0|LGPL-2\.1-or-later|GPL-2\.0-only|GPL-2\.0-or-later|
    Apache-2\.0\ OR\ BSD-[23]-Clause|BSD-[23]-Clause\ OR\ Apache-2\.0)\Z""",
    re.VERBOSE,
)
CLASSIFIERS = {
    "MIT License": "MIT",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF-2.0",
    "Zope Public License": "ZPL-2.1",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.1-or-later",
    "Apache Software License": "Apache-2.0",
}
# Apache-2.0 alone does not go with GPL-2.0-only. These two are requirements of Buildbot and of Twisted's TLS themselves:
# whoever runs Buildbot runs them. We add none.
UPSTREAMS_OWN = {"msgpack": ("buildbot", "buildbot-worker"), "pyopenssl": ("twisted",)}

LIST = """
import importlib, json, sys
for name in sys.argv[1].split():
    importlib.import_module(name)
from importlib.metadata import packages_distributions
owners = packages_distributions()
tops = {name.partition(".")[0] for name in sys.modules}
print(json.dumps({top: owners[top] for top in sorted(tops) if top in owners}))
"""


@cache
def imported(process: str) -> dict[str, list[str]]:
    """Top-level package to distributions, in that process."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LIST, PROCESSES[process]],
        capture_output=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return json.loads(done.stdout)


def licence_of(name: str) -> str:
    """The licence by its SPDX name, from the distribution's own metadata."""
    metadata = distribution(name).metadata
    if metadata["License-Expression"]:
        return metadata["License-Expression"]
    for classifier in metadata.get_all("Classifier") or ():
        kind = classifier.rpartition(" :: ")[2]
        if classifier.startswith("License ::") and kind in CLASSIFIERS:
            return CLASSIFIERS[kind]
    return (metadata["License"] or "unknown").splitlines()[0]


@pytest.mark.parametrize("process", PROCESSES)
def test_every_licence_goes_with_gpl_2(process: str) -> None:
    names = {name for owners in imported(process).values() for name in owners}
    assert len(names) > 8, "the process imports its dependencies"
    wrong = {name: licence_of(name) for name in names if not ALLOWED.match(licence_of(name))}
    wrong = {name: licence for name, licence in wrong.items() if name.lower() not in UPSTREAMS_OWN}
    assert wrong == {}


@pytest.mark.parametrize("name", UPSTREAMS_OWN)
def test_an_exception_is_a_requirement_of_upstreams_own(name: str) -> None:
    for owner in UPSTREAMS_OWN[name]:
        asked = {re.split(r"[\s\[;<>=!~(]", r)[0].lower() for r in requires(owner) or ()}
        assert name in asked, f"{owner} no longer asks for {name}: take the exception away"


@pytest.mark.parametrize("process", PROCESSES)
def test_what_has_a_process_of_its_own_is_not_imported_here(process: str) -> None:
    assert not set(imported(process)) & set(FORBIDDEN)


@pytest.mark.parametrize("licence", ["Apache-2.0", "AGPL-3.0-only", "GPL-3.0-or-later", "unknown", "MIT AND AGPL-3.0"])
def test_the_list_itself_refuses(licence: str) -> None:
    assert not ALLOWED.match(licence)


def test_the_workers_application_imports_no_engine_library() -> None:
    """buildbot.tac of the worker is loaded in Buildbot's process; the commands that need Docker are others."""
    from importlib import resources

    for package in ("silvermetal_worker", "silvermetal_master"):
        text = resources.files(package).joinpath("templates/buildbot.tac").read_text()
        names = re.findall(r"^\s*(?:from|import) ([a-z_]+)", text, re.MULTILINE)
        assert set(names) <= {"os", "pathlib", "subprocess", "buildbot", "buildbot_worker", "twisted"}, names
