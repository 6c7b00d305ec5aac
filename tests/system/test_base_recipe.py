"""silvermetal-base by build.sh in a real container, with the stand-in for derivative-maker: levers, failures, what is left.

Rules:

- A lever's check looks at what arrived in the image. Each is asked twice: of a good build, and of one in which every lever
  was broken by hand, where each of them must fail.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.base_recipe import PASSWD, RECIPE, STUBS, Answer, Bench, builder_image, load
from tests.support.engine import private_engine
from tests.support.upstream import ARCHIVE, TAG, Signer, has

pytestmark = pytest.mark.system
EPOCH = "1784070038"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    for tool in ("gpg", "git", "xorriso", "mksquashfs", "setpriv", "systemd-socket-activate"):
        if not has(tool):
            pytest.skip(f"{tool} is not installed")
    folder = tmp_path_factory.mktemp("base")
    signer = Signer(folder)
    try:
        with private_engine() as engine:
            yield Bench(folder, engine, load(engine, builder_image()), signer)
    finally:
        signer.close()


@pytest.fixture(scope="module")
def good(bench: Bench) -> Answer:
    answer = bench.build()
    assert answer.code == 0, answer.said
    return answer


BREAK = {
    "scripts/recipes/silvermetal-base/build": (
        ('cp -- "$IN/excludes"', "true"),
        ('install -m 440 "$IN/sudoers"', "true"),
    ),
    "proof/silvermetal_proof/derivative_maker/call.py": (
        ('"--tb", "none"', '"--tb", "open"'),
        ("/{part}-{timestamp}/", "/{part}/"),
        ('"download_tpo_packages download_packages_from_debian_sid"', '""'),
        ('"dist_build_version": version', '"dist_build_version": "1" + version'),
        ("{version}/{iso_name(settings, version)}", "1{version}/{iso_name(settings, '1' + version)}"),
        ('"SHORT_VMNAME": settings["BRAND_NAME"],', ""),
        ('"dist_build_type_short_pretty": settings["BRAND_NAME"],', ""),
        ('"project_clearnet": settings["BRAND_SITE"],', ""),
        ("{settings['BRAND_NAME']}-{desktop}", "Kicksecure-{desktop}"),
        ('("--hostname", settings["DERIVATIVE_HOSTNAME"])', '("--hostname", "builder")'),
        ('"--freedom", settings["DERIVATIVE_FREEDOM"]', '"--freedom", "true"'),
    ),
}


def broken_by_hand(place: Path) -> None:
    for name, changes in BREAK.items():
        text = (place / name).read_text()
        for old, new in changes:
            assert old in text, f"{name} has no {old!r} to break"
            text = text.replace(old, new, 1)
        (place / name).write_text(text)


@pytest.fixture(scope="module")
def broken(bench: Bench) -> Answer:
    answer = bench.build(before=broken_by_hand)
    assert answer.code == 0, answer.said
    assert answer.info["TREE"] == "modified" and "differs from commit" in answer.said
    return answer


def snapshot(levers: dict[str, str]) -> None:
    base = "http://127.0.0.1:9977"
    assert levers["mirror"] == f"{base}/debian-20260720T082444Z/"
    assert levers["security"] == f"{base}/debian-security-20260720T082444Z/"


def no_other_inputs(levers: dict[str, str]) -> None:
    assert levers["inputs"] == "", "nothing of the Tor project, of Debian's unstable suite, no Tor Browser"


def no_tor_browser(levers: dict[str, str]) -> None:
    assert "tor-browser" not in levers["inputs"]


def no_sid(levers: dict[str, str]) -> None:
    assert "debian-sid" not in levers["inputs"]


def version(levers: dict[str, str]) -> None:
    assert levers["version"].startswith("18.2.1.9-")


def branding(levers: dict[str, str]) -> None:
    assert levers["brand"] == "SilverMetal SilverMetal silvermetal.example"


def squashfs_options(levers: dict[str, str]) -> None:
    assert levers["squashfs"] == "-b 1M -Xdict-size 100%"


def excludes(levers: dict[str, str]) -> None:
    assert levers["excludes"] == "etc/nvme/hostid etc/nvme/hostnqn var/lib/dkms/*/*/*/*/log"


def host_name(levers: dict[str, str]) -> None:
    assert levers["hostname"] == "localhost"


def firmware(levers: dict[str, str]) -> None:
    assert levers["freedom"] == "false"


LEVERS: list[Callable[[dict[str, str]], None]] = [
    snapshot, no_other_inputs, no_tor_browser, no_sid, version, branding, squashfs_options, excludes, host_name, firmware,
]  # fmt: skip


@pytest.mark.parametrize("lever", LEVERS)
def test_each_lever_arrives_where_it_acts_and_its_test_fails_when_it_is_broken(
    lever: Callable[[dict[str, str]], None], good: Answer, broken: Answer
) -> None:
    lever(good.levers())
    with pytest.raises(AssertionError):
        lever(broken.levers())


def test_what_took_effect_is_read_back_and_recorded(good: Answer, bench: Bench) -> None:
    info = good.info
    assert info["EFFECTIVE_SOURCE_DATE_EPOCH"] == info["SOURCE_DATE_EPOCH"] == EPOCH == good.levers()["epoch"]
    assert (info["RECIPE"], info["TREE"], info["DERIVATIVE_MAKER_TAG"]) == (RECIPE, "clean", TAG)
    assert info["DERIVATIVE_VERSION"] == f"18.2.1.9-{info['COMMIT'][:12]}"
    lock = (good.output / "packages.lock").read_bytes()
    assert lock == b'{"architecture":"amd64","snapshot":"20260720T082444Z","suite":"trixie","version":1}'
    assert info["LOCK_SHA256"] == hashlib.sha256(lock).hexdigest()
    assert bench.leftovers() == []


def test_the_squashfs_in_the_image_is_as_the_audit_wants_it(good: Answer) -> None:
    from silvermetal_explain.auditing import audit_command

    with pytest.raises(SystemExit) as ended:
        audit_command.main(
            [str(good.iso), "--build-info", str(good.output / "BUILD_INFO"), "--lock", str(good.output / "packages.lock"),
             "--json", str(good.output / "audit.json")],
        )  # fmt: skip
    report = (good.output / "audit.json").read_text()
    (good.output / "audit.json").unlink()
    assert '"MKSQUASHFS_OPTIONS -b"' in report and "the snapshot 20260720T082444Z" in report
    assert ended.value.code in (0, 1)


def digest(answer: Answer) -> str:
    return hashlib.sha256(answer.iso.read_bytes()).hexdigest()


@pytest.mark.bench
def test_two_builds_are_alike_and_without_the_excludes_they_are_not(bench: Bench, good: Answer) -> None:
    assert digest(bench.build()) == digest(good)

    def without(place: Path) -> None:
        file = place / "scripts/recipes/silvermetal-base/build"
        file.write_text(file.read_text().replace('cp -- "$IN/excludes"', "true"))

    assert digest(bench.build(before=without)) != digest(bench.build(before=without))


# --- each way to fail has its own end, and leaves the host clean --------------------------------------------------------


def ends(bench: Bench, answer: Answer, code: int, *says: str) -> None:
    assert answer.code == code, answer.said
    for words in says:
        assert words in answer.said, answer.said
    assert not answer.output.exists()
    assert bench.leftovers() == []


@pytest.fixture
def misbehaving(bench: Bench) -> Iterator[Callable[[str], None]]:
    def misbehave(how: str) -> None:
        bench.upstream.misbehave(how)
        bench.commit()

    yield misbehave
    misbehave("")


@pytest.mark.parametrize(("how", "code", "says"), [
    ("prompt", 3, ["prompt:", "the build failed with exit code 1"]),
    pytest.param("reprepro-255", 3, ["reprepro: reprepro failed in a way", "exit code 255"], marks=pytest.mark.bench),
    pytest.param("missing-tool", 3, ["missing-tool: the builder image lacks a program"], marks=pytest.mark.bench),
    ("swallowed", 3, ["swallowed: derivative-maker hid a failure behind the exit code 0"]),
    ("fails-late", 3, ["derivative-maker ended with exit code 7", "the build failed with exit code 7"]),
    ("ignores-changelog", 4, ["SOURCE_DATE_EPOCH: the image is of 1784156438, expected 1784070038"]),
])  # fmt: skip
def test_upstream_fails(bench: Bench, misbehaving: Callable[[str], None], how: str, code: int, says: list[str]) -> None:
    misbehaving(how)
    ends(bench, bench.build(), code, *says)


def test_it_is_the_date_in_the_image_that_refuses_it(bench: Bench, misbehaving: Callable[[str], None]) -> None:
    """The lever of the epoch, broken by hand: without the look at the image, another date would be signed for."""

    def blind(place: Path) -> None:
        file = place / "scripts/recipes/silvermetal-base/host.sh"
        text = file.read_text()
        look = '[[ -z $found || $found == "$epoch" ]]'
        assert look in text
        file.write_text(text.replace(look, "true"))

    misbehaving("ignores-changelog")
    answer = bench.build(before=blind)
    assert answer.code == 0, answer.said
    assert answer.info["EFFECTIVE_SOURCE_DATE_EPOCH"] == "1784156438" != answer.info["SOURCE_DATE_EPOCH"]


def test_upstream_hangs_and_is_ended_at_the_deadline(bench: Bench, misbehaving: Callable[[str], None]) -> None:
    misbehaving("hang")
    ends(bench, bench.build(timeout=6), 124, "the build did not end within 6 seconds")


@pytest.mark.parametrize(
    ("sign", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.bench), (signal.SIGTERM, 143)]
)
def test_a_signal_ends_a_build_that_hangs(
    bench: Bench, misbehaving: Callable[[str], None], sign: int, code: int
) -> None:
    misbehaving("hang")
    mark = ("1200_prepare-build-machine", lambda process: os.kill(process.pid, sign))
    ends(bench, bench.build(mark=mark), code)


@pytest.mark.bench
def test_reprepros_harmless_complaint_is_let_pass(bench: Bench, misbehaving: Callable[[str], None]) -> None:
    misbehaving("reprepro-harmless")
    assert bench.build().code == 0


def test_a_tag_that_does_not_know_an_option_of_ours(bench: Bench, misbehaving: Callable[[str], None]) -> None:
    grammar = bench.upstream.path / "help-steps/parse-cmd"
    before = grammar.read_text()
    grammar.write_text(before.replace("--hostname", "--host-name"))
    try:
        misbehaving("")
        ends(bench, bench.build(), 3, "bad-flag:", "unknown option (1): '--hostname'")
    finally:
        grammar.write_text(before)


def test_a_call_without_freedom(bench: Bench) -> None:
    def drop(place: Path) -> None:
        file = place / "config" / f"{RECIPE}.conf"
        file.write_text("".join(x for x in file.read_text().splitlines(True) if "FREEDOM" not in x))

    ends(bench, bench.build(before=drop), 4, "DERIVATIVE_FREEDOM: expected true|false, got no such line")

    def forget(place: Path) -> None:
        file = place / "proof/silvermetal_proof/derivative_maker/call.py"
        file.write_text(file.read_text().replace(', "--freedom", settings["DERIVATIVE_FREEDOM"]', ""))

    ends(bench, bench.build(before=forget), 3, "missing-freedom:")


@pytest.mark.parametrize(("changes", "code", "says"), [
    ({"codename": "bookworm"}, 3, "wrong-codename: the builder image is of another release than SUITE"),
    ({"passwd": PASSWD.replace("user:x:1000:1000", "user:x:0:0")}, 5, "the builder image's user `user` is root"),
    ({"without": "sq-git reprepro"}, 5, "missing-tool: the builder image has no sq-git"),
])  # fmt: skip
def test_a_builder_image_that_is_none_for_it(bench: Bench, changes: dict[str, str], code: int, says: str) -> None:
    assert "sq-git" in STUBS
    image = load(bench.engine, builder_image(**changes))
    ends(bench, bench.build(image=image), code, says)


def test_a_tree_that_is_not_at_its_gitlinks(bench: Bench) -> None:
    def edit(place: Path) -> None:
        (place / "derivative-maker/help-steps/parse-cmd").write_text("# changed\n")

    def add(place: Path) -> None:
        (place / "derivative-maker/extra").write_text("x")

    def move(place: Path) -> None:
        bench.git("-c", "advice.detachedHead=false", "commit", "--quiet", "--allow-empty", "-m", "x",
                  cwd=place / "derivative-maker")  # fmt: skip

    def drop(place: Path) -> None:
        bench.git("submodule", "--quiet", "deinit", "--force", "derivative-maker", cwd=place)

    ends(bench, bench.build(before=edit), 4, "got a tree with changes, expected a clean one")
    ends(bench, bench.build(before=add), 4, "got a tree with changes, expected a clean one")
    ends(bench, bench.build(before=move), 4, "submodule derivative-maker: expected its gitlink's commit checked out")
    ends(bench, bench.build(before=drop), 4, "git submodule update --init --recursive derivative-maker")


def test_what_is_no_pin_is_refused_before_a_container_is_made(bench: Bench, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text('{"architecture":"amd64","snapshot":"20260101T000000Z","suite":"trixie","version":1}')
    ends(bench, bench.build("--lock", str(lock)), 4, "expected what config/snapshot-pin.env of this commit says")
    ends(bench, bench.build(SOURCE_DATE_EPOCH="1700000000"), 4, "SOURCE_DATE_EPOCH has no effect on silvermetal-base")
    ends(bench, bench.build(SILVERMETAL_SNAPSHOTS=""), 5, "SILVERMETAL_SNAPSHOTS: got nothing")

    def widen(place: Path) -> None:
        (place / "scripts/recipes/silvermetal-base/hardening.list").write_text("apparmor\n")

    ends(bench, bench.build(before=widen), 4, "out of the base derivative's scope", "the hardening overlays")


def test_a_probe_runs_with_the_builds_own_options(bench: Bench) -> None:
    answer = bench.build("--probe")
    assert (answer.code, bench.leftovers()) == (0, []), answer.said
    assert "probe: mounts, rights and output are as a build needs them" in answer.said


def test_the_cache_is_one_volume_for_all_builds(bench: Bench, good: Answer) -> None:
    names = subprocess.run(
        ["docker", "-H", bench.engine.url, "volume", "ls", "--quiet"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert names.stdout.split() == ["silvermetal-apt-cache"]


def test_a_second_build_under_planned_variation_is_the_same(bench: Bench) -> None:
    place = bench.checkout()
    done = subprocess.run(
        [str(place / "scripts/verify-reproducibility.sh"), "--recipe", RECIPE],
        env={**os.environ, "DOCKER_HOST": bench.engine.url, "BUILDER_IMAGE": bench.image,
             "SILVERMETAL_SNAPSHOTS": ARCHIVE, "SILVERMETAL_NETWORK": "none"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=200,
    )  # fmt: skip
    assert (done.returncode, bench.leftovers()) == (0, []), done.stdout
    assert "REPRODUCED on this machine" in done.stdout
