"""A master's last step as a process: ``python -m tests.support.publisher URL FOLDER CLAIM`` brings the release of each
tag that stands on a line of its standard input into being from the files of FOLDER, and says how that ended.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

from silvermetal_master.gitea.client import GiteaClient, GiteaError
from silvermetal_master.gitea.converge import Asset, converge
from twisted.internet import defer, reactor, threads

from tests.fakes.gitea.server import TOKEN


async def publish(tag: str, url: str, folder: Path, claim: str) -> str:
    assets = {
        path.name: Asset(path, f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}") for path in folder.iterdir()
    }
    client = GiteaClient(reactor, url, "o", "r", TOKEN, backoff=0.05)
    try:
        made = await converge(
            client, tag=tag, title=tag, body="text", commit="c" * 40, assets=assets, claim=f"{claim} {tag}"
        )
        return f"published {made}"
    except GiteaError as error:
        return f"refused {error}"
    finally:
        client.close()


async def work(url: str, folder: Path, claim: str) -> None:
    print("ready", flush=True)
    while line := await threads.deferToThread(sys.stdin.readline):
        print(await publish(line.strip(), url, folder, claim), flush=True)


def main() -> None:
    url, folder, claim = sys.argv[1:]
    done: Any = defer.ensureDeferred(work(url, Path(folder), claim))
    done.addErrback(lambda failure: failure.printTraceback())
    done.addBoth(lambda _: reactor.stop())  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
