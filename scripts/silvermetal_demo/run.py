"""One run of the demo, from an empty network to the verdict, and back to nothing.

- Whatever is started is put on the stack of ends before it is started, and noted in the manifest before it is made;
  the stack is unwound on every way out, with the ear for signals shut, and the manifest is swept after it: what the
  next run does for a killed one, each run does for itself.
- What can go on at the same time does: the master starts and the repository is filled while the builder image is
  looked up; both hosts start at once.
- The verdict is the master's. The demo prints it, and draws only its exit code from it.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from silvermetal_demo.builder import Builder, provide_builder
from silvermetal_demo.cell import Cell, Isolation
from silvermetal_demo.command import Output, run
from silvermetal_demo.environment import plain_environment
from silvermetal_demo.errors import Interrupted, SetupFailed
from silvermetal_demo.hosts import Host, HostKind, HostPlan, Workbench
from silvermetal_demo.interrupt import Interrupt
from silvermetal_demo.master import Master, Ports
from silvermetal_demo.network import Network
from silvermetal_demo.options import Options
from silvermetal_demo.progress import Progress
from silvermetal_demo.release import Release, folder_of
from silvermetal_demo.repository import Repository
from silvermetal_demo.state import State, end_run, manifest_of, state_dir
from silvermetal_demo.sums import write_sums

HOSTS = ("host-a", "host-b")
CHECKOUT = Path(__file__).resolve().parents[2]


def demo(options: Options) -> int:
    """The whole demo; returns the exit code."""
    progress, interrupt = Progress(), Interrupt()
    with interrupt.handling_signals():
        try:
            kind = cast(HostKind, importlib.import_module(f"silvermetal_demo.{options.hosts}_host"))
            kind.check()
            state = State(state_dir())
            with state.locked():
                state.sweep(progress)
                return _one_run(options, kind, state, progress, interrupt)
        except Interrupted:
            progress.say("interrupted")
            return 130
        except SetupFailed as error:
            print(f"demo: {error}", file=sys.stderr, flush=True)
            return 3


def _one_run(options: Options, kind: HostKind, state: State, progress: Progress, interrupt: Interrupt) -> int:
    run_dir = state.new_run()
    output = CHECKOUT / "output" / "demo" / options.tag
    this = Run(options, kind, state, run_dir, output, Workbench(progress, interrupt, manifest_of(run_dir)))
    try:
        with ExitStack() as ends:
            try:
                return this.run(ends)
            finally:
                with interrupt.shield():
                    ends.close()
    finally:
        with interrupt.shield():
            this.keep_logs()
            if problems := end_run(run_dir):
                raise SetupFailed("could not remove:\n" + "\n".join(problems) + "\nthe next run tries again")
            progress.say("everything that was started is gone")
            _give_to_sudo_user(CHECKOUT / "output")


class Run:
    def __init__(
        self, options: Options, kind: HostKind, state: State, run_dir: Path, output: Path, bench: Workbench
    ) -> None:
        self._options = options
        self._kind = kind
        self._state = state
        self._run_dir = run_dir
        self._output = output
        self._bench = bench
        self._logs = run_dir / "logs"
        self._logs.mkdir()
        self._venv = Path(sys.prefix)
        home = run_dir / "home"
        temporary = run_dir / "tmp"
        home.mkdir()
        temporary.mkdir()
        self._environment = plain_environment(self._venv, home) | {"TMPDIR": str(temporary)}
        self._release: Release | None = None

    def run(self, ends: ExitStack) -> int:
        options, bench = self._options, self._bench
        say, interrupt = bench.progress.say, bench.interrupt
        say(self._kind.notice())
        for folder in (self._output, folder_of(self._output)):
            shutil.rmtree(folder, ignore_errors=True)

        # The master's side: processes of one cell, on this machine's own network.
        cell = Cell("the master's cell", Isolation(), bench.manifest, interrupt)
        ends.callback(cell.stop)
        cell.start()
        network = Network(self._run_dir.name, bench.manifest)
        network.start()
        say(f"network {network.subnet} on {network.bridge}; the master's address is {network.gateway}")

        with ThreadPoolExecutor() as threads:
            image = threads.submit(self._builder, cell)
            repository = Repository(self._run_dir, cell, self._environment)
            master = self._master(cell, network)
            if options.release:
                self._release = Release(self._run_dir, CHECKOUT, self._venv, cell, self._environment)
            prepared = threads.submit(self._prepare, master, repository, network)
            together([image, prepared], interrupt)
            builder, plans = image.result(), prepared.result()

            commit = repository.pin_and_tag(builder.image, options.tag)
            plans = [replace(plan, builder_archive=builder.archive, builder_image=builder.image) for plan in plans]
            hosts = [self._kind.create(plan, bench) for plan in plans]
            # One callback for all: two engines and a master end in the time of one.
            ends.callback(stop_all, [*hosts, cell])
            together([threads.submit(host.start) for host in hosts], interrupt)
        self._wait_for_workers(master, hosts)

        say(f"pushing tag {options.tag}: commit {commit[:12]}, HEAD of this checkout and the pin of the builder image")
        if heard := repository.push(options.tag):
            say(heard)
        return self._verdict(master, hosts)

    def _builder(self, cell: Cell) -> Builder:
        bench = self._bench
        return provide_builder(CHECKOUT, self._state, cell, self._environment, self._logs, bench.progress)

    def _master(self, cell: Cell, network: Network) -> Master:
        ports = Ports(workers=network.free_port(9989), web=network.free_port(8010))
        return Master(self._run_dir / "master", self._venv, str(network.gateway), ports, cell, self._environment)

    def _prepare(self, master: Master, repository: Repository, network: Network) -> list[HostPlan]:
        """All that needs no builder image: the repository, the enrolments, the running master."""
        say = self._bench.progress.say
        head = repository.take(CHECKOUT)
        repository.serve(str(network.gateway), network.free_port(9418), self._logs / "git-daemon.log")
        say(f"repository {repository.url} holds HEAD {head[:12]} of this checkout")
        if uncommitted():
            say("this checkout has uncommitted changes: they are not in what is built")
        master.configure(repository.url, self._options.recipe, self._kind)
        if self._release is not None:
            receive = f"{network.gateway}:{network.free_port(9990)}"
            self._release.start(master, receive, self._logs / "gitea-stand-in.log", self._bench)
        plans = [self._plan(network, number) for number in range(1, len(HOSTS) + 1)]
        for plan in plans:
            for folder in (plan.run_dir, plan.keep_dir):
                folder.mkdir(parents=True, exist_ok=True)
            diverges = self._options.diverge if plan is plans[-1] else None
            if diverges is not None:
                say(f"will write its host name into {diverges} of the image (--diverge)", who=plan.name)
            master.enrol(plan, self._kind.paths_on_host(plan), diverges)
        repository.tell(master.notify_command(repository.url))
        master.start(self._logs / "master.log")
        master.wait_until_ready(self._bench.interrupt)
        say(f"master is up: {master.url}")
        return plans

    def _plan(self, network: Network, number: int) -> HostPlan:
        name = HOSTS[number - 1]
        folder = self._run_dir / "hosts" / name
        return HostPlan(
            name=name,
            run_name=self._run_dir.name,
            address=network.address(number),
            gateway=network.gateway,
            bridge=network.bridge,
            mtu=network.mtu,
            nameservers=network.nameservers,
            worker_dir=folder / "worker",
            builder_archive=Path(),
            builder_image="",
            store=self._state.store,
            run_dir=folder,
            keep_dir=self._state.hosts / name,
            log_dir=self._logs,
            checkout=CHECKOUT,
            venv=self._venv,
        )

    def _wait_for_workers(self, master: Master, hosts: Sequence[Host]) -> None:
        def connected() -> bool:
            for host in hosts:
                if not host.alive():
                    raise SetupFailed(
                        f"{host.name} has ended before its worker connected; see the logs in {self._output}"
                    )
            return {host.name for host in hosts} <= master.connected()

        self._bench.interrupt.wait_until(connected, timeout=120, step=0.2, what="not every worker connected")
        self._bench.progress.say("both workers are connected to the master")

    def _verdict(self, master: Master, hosts: Sequence[Host]) -> int:
        bench, options = self._bench, self._options
        ref = f"refs/tags/{options.tag}"
        # The master has its own deadline and answers INCOMPLETE by itself; this one is for a master that does not.
        timeout = self._kind.build_deadline + 300
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(master.wait_for_verdict, ref, timeout, self._output)
            self._watch(answer, master, hosts)
            done = answer.result()
        bench.progress.plain()
        bench.progress.plain(done.out.rstrip())
        bench.progress.plain()
        if done.code == 3:
            raise SetupFailed(f"no verdict: {done.err.strip() or 'the master gave none in time'}")
        code = self._publish(master) if done.code == 0 and self._release is not None else done.code
        master.copy_step_logs(self._logs)
        self._fetch_artefacts(done.code == 0, hosts)
        shown = "; difference.html shows what differs" if (self._output / "difference.html").exists() else ""
        bench.progress.say(f"results: {self._output.relative_to(CHECKOUT)}/{shown}")
        if options.keep:
            bench.progress.say(f"the master stays up: {master.url} (--keep); Ctrl-C ends it and removes everything")
            bench.interrupt.wait_for_request()
        return code

    def _publish(self, master: Master) -> int:
        """The release, checked as an outsider does; 0 when it holds."""
        assert self._release is not None
        bench, options = self._bench, self._options
        try:
            found = self._release.check(master, options.tag, self._output, self._kind.independence, bench)
        except SetupFailed:
            master.copy_step_logs(self._logs)
            raise
        bench.progress.plain()
        bench.progress.plain((found.check.out.rstrip() + "\n" + found.check.err.rstrip()).strip())
        bench.progress.plain()
        bench.progress.say(f"silvermetal verify-release {found.url} ended with {found.check.code}")
        bench.progress.say(f"check it yourself: {found.command}")
        return 0 if found.check.code == 0 else 1

    def _watch(self, answer: Future[Output], master: Master, hosts: Sequence[Host]) -> None:
        """Say what the hosts are doing, and once when one has died; the verdict on that is the master's."""
        said: dict[str, str] = {}
        while not answer.done():
            now = master.activity()
            now |= {host.name: "has died" for host in hosts if not host.alive()}
            for who, text in now.items():
                if said.get(who) != text:
                    said[who] = text
                    self._bench.progress.say(text, who=who)
            master.require()
            self._bench.interrupt.sleep(0.3)

    def _fetch_artefacts(self, reproduced: bool, hosts: Sequence[Host]) -> None:
        """The ISO for the user: one where all are the same, else each host's own."""
        for host in hosts:
            folder = self._output if reproduced else self._output / host.name
            if host.fetch_artefacts(folder) and reproduced:
                return

    def keep_logs(self) -> None:
        """What a user may want to read afterwards."""
        if self._logs.exists():
            shutil.copytree(self._logs, self._output / "logs", dirs_exist_ok=True)
            write_sums(self._output)


def together(futures: Sequence[Future[Any]], interrupt: Interrupt) -> None:
    """Wait for all. When one fails the others are asked to stop, and its error is raised rather than theirs."""
    while wait(futures, timeout=0.1, return_when=FIRST_EXCEPTION).not_done:
        if any(future.done() and future.exception() for future in futures):
            interrupt.request()
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in errors:
        if not isinstance(error, Interrupted):
            raise error
    if errors:
        raise errors[0]


def stop_all(what: Sequence[Host | Cell]) -> None:
    with ThreadPoolExecutor() as threads:
        ended = [threads.submit(each.stop) for each in what]
    for future in ended:
        future.result()


def uncommitted() -> bool:
    done = run(
        ["git", "-c", f"safe.directory={CHECKOUT}", "-C", CHECKOUT, "status", "--porcelain", "--untracked-files=no"],
        timeout=60,
    )
    return bool(done.out.strip())


def _give_to_sudo_user(folder: Path) -> None:
    """What root wrote into a user's checkout belongs to that user."""
    if "SUDO_UID" not in os.environ or not folder.exists():
        return
    user, group = int(os.environ["SUDO_UID"]), int(os.environ.get("SUDO_GID", "-1"))
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, group, follow_symlinks=False)
