"""Fetching the files of a release by HTTP: bounded, resumed, nothing but HTTP.

Rules:

- Only http and https, also after a redirect, and never from https down to http: no file:, no ftp:.
- Each file has a bound; a server that sends more, or that answers a range with another one, is refused.
- A file arrives as ``.<name>.part`` and is renamed when it is whole; what is there already is asked for no more.
- A connection that breaks is taken up where it broke, a bounded number of times.
"""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 60
ATTEMPTS = 5
_BLOCK = 256 * 1024
_RANGE = re.compile(r"\Abytes (\d+)-\d+/(\d+|\*)\Z")
Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes that are here and, where it is known, the whole size."""


class DownloadError(Exception):
    """A file could not be had."""


class GoneError(DownloadError):
    """The server has no such file."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        old, new = urllib.parse.urlsplit(req.full_url).scheme, urllib.parse.urlsplit(newurl).scheme
        if new not in ("http", "https") or (old == "https" and new != "https"):
            raise DownloadError(f"{req.full_url}: expected a redirect to {old}, got one to {newurl[:200]!r}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        target = headers.get("Location", "")
        scheme = urllib.parse.urlsplit(urllib.parse.urljoin(req.full_url, target)).scheme
        if scheme not in ("http", "https"):
            raise DownloadError(f"{req.full_url}: expected a redirect to http or https, got one to {target[:200]!r}")
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS and nothing else: urllib's own default also reads files."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        _Redirects(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def base_of(url: str) -> str:
    """The address below which a release's files lie; a release's page is understood. :raises DownloadError: else."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise DownloadError(f"expected an http or https address of a release, got {url[:200]!r}")
    path = parts.path.rstrip("/").replace("/releases/tag/", "/releases/download/")
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path + "/", "", ""))


def fetch(base: str, name: str, folder: Path, *, limit: int, progress: Progress) -> Path:
    """Bring one file into ``folder``. :raises DownloadError: when it cannot be had, or is larger than ``limit``."""
    target, part = folder / name, folder / f".{name}.part"
    url = base + urllib.parse.quote(name)
    opener = _opener()
    why = "nothing"
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(min(2 ** (attempt - 1), 8) * 0.5)
        try:
            if _take(opener, url, name, part, limit, progress):
                part.replace(target)
                return target
            why = "a connection that ended early"
        except urllib.error.HTTPError as error:
            if error.code == 416:
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code != 429:
                kind = GoneError if error.code in (404, 410) else DownloadError
                raise kind(f"{url}: expected 200, got {error.code}") from None
            why = f"HTTP {error.code}"
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            why = str(error)
    raise DownloadError(f"{url}: expected the whole file within {ATTEMPTS} attempts, got {why}; call again to resume")


def _take(
    opener: urllib.request.OpenerDirector, url: str, name: str, part: Path, limit: int, progress: Progress
) -> bool:
    """One attempt, from where the last one ended. Returns whether the file is whole."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(  # noqa: S310 - the opener knows http and https alone
        url, headers={"User-Agent": "silvermetal", **({"Range": f"bytes={have}-"} if have else {})}
    )
    with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
        if answer.status == 206:
            match = _RANGE.match(answer.headers.get("Content-Range", ""))
            if match is None or int(match[1]) != have:
                part.unlink(missing_ok=True)
                raise OSError(f"expected the range from {have}, got {answer.headers.get('Content-Range')!r}")
        elif have:
            have = 0
        length = answer.headers.get("Content-Length", "")
        whole = have + int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None
        if whole is not None and whole > limit:
            raise DownloadError(f"{url}: expected at most {limit} bytes, got {whole} announced")
        with part.open("ab" if have else "wb") as stream:
            # read1 gives what came before a break; read would lose it.
            while block := answer.read1(_BLOCK):
                have += len(block)
                if have > limit:
                    stream.close()
                    part.unlink(missing_ok=True)
                    raise DownloadError(f"{url}: expected at most {limit} bytes, got more")
                stream.write(block)
                progress(name, have, whole)
    return whole is None or have == whole
