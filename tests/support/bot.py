"""A host that builds nothing and says what it likes: it speaks Buildbot's worker protocol by itself.

Called as a program: ``bot.py DIRECTORY PORT ADDRESS`` with a directory that ``silvermetal-worker init`` made.

Rules:

- Without ``attack.py`` in its directory it lies only about having built: the statement is whole and well signed, over
  :data:`ISO`; so a test changes one thing and all else holds.
- ``attack.py`` is read for each build and may define ``says(statement, order)``, ``signs(payload, key, order)``,
  ``seals(envelope, order)``, ``uploads(writer, sealed)`` and ``runs(update, command)``; for each connect
  ``proves(master, worker, nonce)``.
- What it signed last stays in its directory, for an accomplice.
"""

from __future__ import annotations

import io
import sys
import time
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from buildbot_worker import version
from buildbot_worker.commands import registry
from silvermetal_proof import canonical
from silvermetal_proof.digest import Measurement, measure
from silvermetal_proof.host import HostEvidence
from silvermetal_proof.host.challenge import answer
from silvermetal_proof.host.evidence import Cpu, Engine, Kernel, application_hash
from silvermetal_proof.model import format_time
from silvermetal_proof.order import Order
from silvermetal_proof.pins import PackageLock
from silvermetal_proof.seal import seal
from silvermetal_proof.statement import SigningKey, make_statement, sign
from silvermetal_proof.statement.schema import Dependency, DigestSet, InternalParameters
from twisted.cred.credentials import UsernamePassword
from twisted.internet import defer, endpoints, reactor, ssl, task
from twisted.spread import pb

ISO = b"not an ISO, but nobody who only reads statements can know\n" * 2000


def evidence_of(host: str) -> HostEvidence:
    """A machine of its own for each host's name."""
    now = datetime.now(UTC)
    return HostEvidence(
        machine_id=application_hash(f"machine {host}"),
        boot_id=application_hash(f"boot {host}"),
        kernel=Kernel(release="6.1.0-1-amd64", version="#1 SMP", machine="x86_64"),
        cpu=Cpu(model="a processor", count=2),
        virtualisation="none",
        engine=Engine(name="docker", version="28.0", id=f"engine {host}"),
        boot_time=format_time(now - timedelta(days=1)),
        started=format_time(now - timedelta(seconds=1)),
        finished=format_time(now),
    )


def inputs_of(order: Order, lock: bytes) -> tuple[Dependency, ...]:
    """The inputs that an honest build would have had."""
    found = [
        Dependency(name="commit", digest=DigestSet(git_commit=order.commit)),
        Dependency(name="builder image", digest=DigestSet(sha256=order.pins.builder_image[-64:])),
        Dependency(name="package lock", digest=DigestSet(sha256=order.pins.lock[-64:])),
    ]
    for package in PackageLock.read(lock).packages:
        name = f"package {package.name}:{package.architecture}"
        found.append(Dependency(name=name, version=package.version, digest=DigestSet(sha256=package.sha256)))
    return tuple(found)


def statement_of(order: Order, lock: bytes) -> dict[str, Any]:
    """The statement of an honest build of :data:`ISO`, as plain data."""
    measured: Measurement = measure(io.BytesIO(ISO), order.nonce)
    build_info = {
        "COMMIT": order.commit,
        "RECIPE": order.recipe,
        "SOURCE_DATE_EPOCH": str(order.pins.source_date_epoch),
    }
    return make_statement(
        build=order.build,
        parameters=order.parameters,
        internal=InternalParameters(pins=order.pins.digest, build_info=build_info),
        dependencies=inputs_of(order, lock),
        iso_name="tiny.iso",
        measured=measured,
        iso9660=True,
        bootable=True,
        host=order.host,
        worker=order.worker,
        evidence=evidence_of(order.host),
        nonce=order.nonce,
    ).plain()


class Host:
    """One lying host: its directory, the order that it has, the attack that it plays."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings = tomllib.loads((directory / "worker.toml").read_text())
        self.key = SigningKey.from_pem((directory / "keys" / "signing.pem").read_bytes())
        self.files: dict[str, bytes] = {}

    @property
    def order(self) -> Order:
        return Order.read(self.files["order.json"])

    @property
    def attack(self) -> dict[str, Any]:
        file = self.directory / "attack.py"
        names: dict[str, Any] = {"directory": self.directory, "time": time, "sign": sign, "seal": seal}
        if file.exists():
            exec(compile(file.read_text(), str(file), "exec"), names)
        return names

    def sealed(self) -> bytes:
        """What goes to the master: said, signed and sealed, each honestly or as the attack has it."""
        attack, order = self.attack, self.order
        said = statement_of(order, self.files["packages.lock"])
        said = attack["says"](said, order) or said if "says" in attack else said
        payload = said if isinstance(said, bytes) else canonical.encode(said)
        signs = attack.get("signs", lambda payload, key, _order: sign(payload, key))
        envelope = signs(payload, self.key, order)
        (self.directory / "signed.tmp").write_bytes(envelope)
        (self.directory / "signed.tmp").rename(self.directory / "signed.json")
        if "seals" in attack:
            return bytes(attack["seals"](envelope, order))
        return seal(envelope, public_hex=order.seal_key, build=order.build, host=order.host)


class Builder(pb.Referenceable):
    """One of the master's builders on this host: takes commands and says that each went well."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def remote_print(self, message: str) -> None:
        print("master:", message)

    def remote_startBuild(self) -> None:
        print("a build starts")

    def remote_interruptCommand(self, _command: str, why: str) -> None:
        print("interrupted:", why)

    def remote_startCommand(self, ref: Any, _command: str, name: str, args: dict[str, Any]) -> None:
        done = defer.ensureDeferred(self._run(ref, name, args))
        done.addErrback(lambda failure: print(failure.getTraceback()))

    async def _run(self, ref: Any, name: str, args: dict[str, Any]) -> None:
        def update(key: str, value: Any) -> Any:
            return ref.callRemote("update", [[{key: value}, 0]])

        result: Any = 0
        try:
            if name == "downloadFile":
                self.host.files[args["workerdest"]] = await self._download(args["reader"])
            elif name == "uploadFile":
                await self._upload(args["writer"])
            elif name == "stat":
                result = 1
            elif name == "shell":
                result = await self._shell(update, args["command"])
        except Exception as error:
            # Whatever became of it, a liar says that it went well.
            print(f"{name}: {error!r}")
        await update("rc", result)
        await ref.callRemote("complete", None)

    async def _download(self, reader: Any) -> bytes:
        data = b""
        while block := await reader.callRemote("read", 65536):
            data += block
        await reader.callRemote("close")
        return data

    async def _upload(self, writer: Any) -> None:
        sealed = self.host.sealed()
        attack = self.host.attack
        if "uploads" in attack:
            await attack["uploads"](writer, sealed)
            return
        for start in range(0, len(sealed), 65536):
            await writer.callRemote("write", sealed[start : start + 65536])
        await writer.callRemote("close")

    async def _shell(self, update: Any, command: Any) -> Any:
        words = [command] if isinstance(command, str) else list(command)
        if "--version" in words:
            await update("stdout", "git version 2.39.5\n")
        elif "rev-parse" in words:
            await update("stdout", f"{self.host.order.commit}\n")
        attack = self.host.attack
        if "build" in words:
            # Two hosts that need no time at all would not be seen to build at the same time.
            await task.deferLater(reactor, 1, lambda: None)
        return await attack["runs"](update, words) if "runs" in attack else 0


class Bot(pb.Referenceable):
    """What the master knows of a worker."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def remote_print(self, message: str) -> None:
        print("master:", message)

    def remote_getWorkerInfo(self) -> dict[str, Any]:
        commands = dict.fromkeys(registry.getAllCommandNames(), "3.3")
        return {"version": version, "system": "posix", "basedir": "/", "environ": {}, "worker_commands": commands}

    def remote_proveKey(self, master: str, worker: str, nonce: bytes) -> Any:
        attack = self.host.attack
        if "proves" in attack:
            return attack["proves"](master, worker, nonce)
        return answer(self.host.key, own_name=self.host.settings["name"], master=master, worker=worker, nonce=nonce)

    def remote_setBuilderList(self, builders: list[tuple[str, str]]) -> dict[str, Builder]:
        return {name: Builder(self.host) for name, _folder in builders}


def main(directory: Path, port: int, address: str) -> None:
    """Connect from ``address`` and serve until SIGTERM."""
    host = Host(directory)
    factory = pb.PBClientFactory()
    password = (directory / "password").read_text().strip()
    bot = Bot(host)
    entered = factory.login(UsernamePassword(host.settings["name"].encode(), password.encode()), bot)

    def refused(failure: Any) -> None:
        print("refused:", failure.getErrorMessage() or failure.type)
        if reactor.running:
            reactor.stop()

    entered.addErrback(refused)
    # The avatar must stay referenced, or the master takes the connection for lost.
    entered.addCallback(lambda avatar: setattr(bot, "avatar", avatar))
    keys = directory / "keys"
    own = ssl.PrivateCertificate.loadPEM((keys / "tls.key").read_bytes() + (keys / "tls.pem").read_bytes())
    authority = ssl.Certificate.loadPEM((keys / "authority.pem").read_bytes())
    options = ssl.optionsForClientTLS("master.silvermetal.internal", trustRoot=authority, clientCertificate=own)
    endpoint = endpoints.TCP4ClientEndpoint(reactor, "127.0.0.1", port, bindAddress=(address, 0))
    connecting = endpoints.wrapClientTLS(options, endpoint).connect(factory)
    connecting.addErrback(refused)
    reactor.run()


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
