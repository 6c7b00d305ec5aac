"""The report's page in a real browser: nothing of it is wider than a phone, in whichever colours.

Chromium is 340 MB with what it needs, so `scripts/setup.sh` does not install it: `apt install chromium` and run this file.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from silvermetal_explain.cli import compared
from silvermetal_explain.limits import Limits
from silvermetal_explain.report import page

from tests.cases.catalogue import ALL
from tests.cases.world import HOSTS, World, build, missing

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="not installed: chromium (340 MB, by hand)"),
    pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())}"),
]
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--allow-file-access-from-files", "--virtual-time-budget=5000")  # fmt: skip
# A window cannot be as narrow as a phone; a frame can.
FRAME = """<!doctype html><meta charset=utf-8><iframe id=frame src="page.html" style="width:WIDTHpx;height:700px;border:0"></iframe>
<pre id=said></pre><script>frame.onload = () => { const w = frame.contentWindow, d = frame.contentDocument;
const wide = [...d.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > w.innerWidth + 0.5);
said.textContent = `inner ${w.innerWidth} scroll ${d.documentElement.scrollWidth} wide ${wide.length} sections ${
d.querySelectorAll('section').length} paper ${w.getComputedStyle(d.body).backgroundColor}`; }</script>"""


def long_words(world: World) -> None:
    """What nobody would like to see on a phone: names and values without a blank."""
    world.put("/opt/" + "n" * 180, f"{world.side}{'v' * 400}\n")
    world.put("/opt/bin", bytes([0, world.side]) * 3000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a pair with every cause of the catalogue."""
    found: Path = tmp_path_factory.mktemp("page")
    cases = [*ALL.values(), long_words]
    images = [build(found / name, side, cases) for side, name in enumerate("ab")]
    diagnosis = compared(*images, Limits(memory=4 << 30), HOSTS)
    (found / "page.html").write_text(page.render(diagnosis), encoding="utf-8")
    return found


@pytest.mark.parametrize(("width", "dark"), [(360, False), (360, True), (390, False), (1280, True)])
def test_nothing_is_wider_than_the_screen(folder: Path, width: int, dark: bool, tmp_path: Path) -> None:
    frame = folder / f"frame{width}.html"
    frame.write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    colours = ["--blink-settings=preferredColorScheme=0"] if dark else []
    argv = [
        "chromium",
        *FLAGS,
        *colours,
        f"--user-data-dir={tmp_path}",
        "--window-size=1400,900",
        "--dump-dom",
        frame.as_uri(),
    ]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=120, check=False
    )
    said = re.search(r"inner (\d+) scroll (\d+) wide (\d+) sections (\d+) paper (\S+, \d+, \d+\))", done.stdout)
    assert said, done.stdout[-500:] + done.stderr[-500:]
    inner, scroll, wide, sections = map(int, said.groups()[:4])
    assert inner == width
    assert sections >= len(ALL)
    assert (scroll <= inner, wide) == (True, 0)
    assert said[5] == ("rgb(13, 17, 23)" if dark else "rgb(255, 255, 255)")
