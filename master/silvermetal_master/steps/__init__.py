"""The steps of the builds: one file a step, in the order in which they run.

``verify``: :mod:`builder_image`, :mod:`pin`, :mod:`fan_out`, :mod:`tie_break`, :mod:`judge`, :mod:`explain`,
:mod:`look_closer`, :mod:`record`.
``iso@<host>``: :mod:`handover`, checkout, :mod:`on_worker` (preflight, build, audit, attest), :mod:`collect`.
``publish``: :mod:`publish` (admit, fetch, assemble, release). ``deliver@<host>``: :mod:`deliver`.
``explain@<host>``: :mod:`on_worker` (manifest), :mod:`collect`.
``builder-image``: :mod:`make_image` (handover, make, collect), and a checkout.
``excerpt@<host>``: :mod:`handover` (wanted), :mod:`on_worker` (excerpt), :mod:`collect`.
"""

from silvermetal_master.steps.builder_image import BuilderImage
from silvermetal_master.steps.collect import CollectExcerpt, CollectManifest, CollectStatement
from silvermetal_master.steps.deliver import Deliver, HandoverDelivery
from silvermetal_master.steps.explain import Explain
from silvermetal_master.steps.fan_out import FanOut
from silvermetal_master.steps.handover import Handover, HandoverWanted
from silvermetal_master.steps.judge import Judge
from silvermetal_master.steps.look_closer import LookCloser
from silvermetal_master.steps.make_image import CollectImage, HandoverImage, MakeImage
from silvermetal_master.steps.on_worker import Attest, Audit, Build, MakeExcerpt, MakeManifest, Preflight
from silvermetal_master.steps.pin import Pin
from silvermetal_master.steps.publish import Admit, Assemble, Fetch, Release, StartPublish
from silvermetal_master.steps.record import Record
from silvermetal_master.steps.tie_break import TieBreak

__all__ = [
    "Admit",
    "Assemble",
    "Attest",
    "Audit",
    "Build",
    "BuilderImage",
    "CollectExcerpt",
    "CollectImage",
    "CollectManifest",
    "CollectStatement",
    "Deliver",
    "Explain",
    "FanOut",
    "Fetch",
    "Handover",
    "HandoverDelivery",
    "HandoverImage",
    "HandoverWanted",
    "Judge",
    "LookCloser",
    "MakeExcerpt",
    "MakeImage",
    "MakeManifest",
    "Pin",
    "Preflight",
    "Record",
    "Release",
    "StartPublish",
    "TieBreak",
]
