"""What anybody may read of the stand-in: the page of a published release, and its files, also from a byte on."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

_PATH = re.compile(r"/([^/]+/[^/]+)/releases/(tag|download)/([^/]+)(?:/([^/]+))?")
Answer = tuple[int, bytes, dict[str, str]]
NOT_FOUND: Answer = (404, b"{}", {})


def public(
    releases: Mapping[int, dict[str, Any]], files: Mapping[int, bytes], method: str, path: str, headers: Any
) -> Answer:
    """Status, body and headers for somebody without a token."""
    match = _PATH.fullmatch(path)
    if match is None or method != "GET":
        return NOT_FOUND
    repository, kind, tag, name = match[1], match[2], unquote(match[3]), match[4]
    found = [
        r
        for r in releases.values()
        if r["tag_name"] == tag and not r["draft"] and f"/{repository}/releases/" in r["html_url"]
    ]
    if not found:
        return NOT_FOUND
    if kind == "tag" and name is None:
        return 200, _page(repository, found[0]), {"Content-Type": "text/html; charset=utf-8"}
    assets = [a for a in found[0]["assets"] if name is not None and a["name"] == unquote(name)]
    if kind != "download" or not assets:
        return NOT_FOUND
    return _part(files[assets[0]["id"]], headers.get("Range") or "")


def _part(data: bytes, asked: str) -> Answer:
    match = re.fullmatch(r"bytes=(\d+)-", asked)
    if match is None:
        return 200, data, {"Accept-Ranges": "bytes"}
    start = int(match[1])
    if start >= len(data):
        return 416, b"", {"Content-Range": f"bytes */{len(data)}"}
    return 206, data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}


def _page(repository: str, release: dict[str, Any]) -> bytes:
    tag = html.escape(release["tag_name"])
    base = f"/{html.escape(repository)}/releases/download/{tag}"
    rows = "".join(
        f'<li><a href="{base}/{html.escape(a["name"])}">{html.escape(a["name"])}</a> {a["size"]} bytes</li>'
        for a in release["assets"]
    )
    return (
        f"<!doctype html><title>{tag}</title><p>A stand-in for Gitea, for as long as the demo runs.</p>"
        f"<h1>{tag}</h1><pre>{html.escape(release.get('body') or '')}</pre><ul>{rows}</ul>"
    ).encode()
