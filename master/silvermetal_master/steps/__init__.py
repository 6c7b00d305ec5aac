"""The steps of the builds: one file a step, in the order in which they run.

``verify``: :mod:`builder_image`, :mod:`pin`, :mod:`fan_out`, :mod:`tie_break`, :mod:`judge`, :mod:`explain`,
:mod:`look_closer`, :mod:`record`, :mod:`verification_log`.
``iso@<host>``: :mod:`handover`, :mod:`checkout`, :mod:`on_worker` (preflight, build, audit, attest), :mod:`collect`.
``publish``: :mod:`publish` (admit, fetch, assemble, release, shelve). ``deliver@<host>``: :mod:`deliver`.
``explain@<host>``: :mod:`on_worker` (manifest), :mod:`collect`.
``builder-image``: :mod:`make_image` (handover, make, collect), and a checkout.
``attribute``: :mod:`attribute` (attribute and try, by turns). ``attribute@<host>``: as ``iso@<host>``, without audit.
``excerpt@<host>``: :mod:`handover` (wanted), :mod:`on_worker` (excerpt), :mod:`collect`.
"""

from silvermetal_master.steps.attribute import Attribute, StartAttribution
from silvermetal_master.steps.builder_image import BuilderImage
from silvermetal_master.steps.checkout import Checkout
from silvermetal_master.steps.collect import CollectExcerpt, CollectManifest, CollectStatement
from silvermetal_master.steps.deliver import Deliver, HandoverDelivery
from silvermetal_master.steps.explain import Explain
from silvermetal_master.steps.fan_out import FanOut
from silvermetal_master.steps.handover import Handover, HandoverTrial, HandoverWanted
from silvermetal_master.steps.judge import Judge
from silvermetal_master.steps.look_closer import LookCloser
from silvermetal_master.steps.make_image import CollectImage, HandoverImage, MakeImage
from silvermetal_master.steps.on_worker import Attest, Audit, Build, MakeExcerpt, MakeManifest, Preflight
from silvermetal_master.steps.pin import Pin
from silvermetal_master.steps.publish import Admit, Assemble, Fetch, Release, Shelve, StartPublish
from silvermetal_master.steps.record import Record
from silvermetal_master.steps.tie_break import TieBreak
from silvermetal_master.steps.verification_log import VerificationLog

__all__ = [
    "Admit",
    "Assemble",
    "Attest",
    "Attribute",
    "Audit",
    "Build",
    "BuilderImage",
    "Checkout",
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
    "HandoverTrial",
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
    "Shelve",
    "StartAttribution",
    "StartPublish",
    "TieBreak",
    "VerificationLog",
]
