"""A loopback HTTP server that answers as the Hub and the other download sites do.

``HF_ENDPOINT=http://127.0.0.1:PORT`` sends the Hub's own clients to it, ``SBERT_MIRROR`` with the
same value the project's downloads from everywhere else: ``<mirror>/<host>/<path>``. Files lie in a
folder: ``datasets/<owner>/<name>/…``, ``models/<owner>/<name>/…`` and ``sites/<host>/<path>``.

Faults on demand, file by file: `Faults` makes the next answers slow, refused (429, 503), cut in the
middle, or of other bytes.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

KINDS = {"datasets": "dataset", "models": "model"}


@dataclass
class Faults:
    """What goes wrong with the next answers for a file, in this order, one a request.

    Attributes:
        planned: End of a file's path → words: ``429``, ``503``, ``cut``, ``slow`` or ``other``.
        asked: Every request, as ``METHOD path``.
    """

    planned: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    asked: list[str] = field(default_factory=list)

    def plan(self, name: str, *faults: str) -> None:
        """Let something go wrong.

        Args:
            name: What the file's path ends with.
            *faults: One a request; afterwards all is well.
        """
        self.planned[name] += faults

    def next(self, path: str) -> str:
        """Take the fault of this request, "" for none."""
        for name, left in self.planned.items():
            if left and path.endswith(name):
                return left.pop(0)
        return ""


LARGE = (".safetensors", ".parquet", ".gz", ".tar", ".zip")
"""Files that the Hub keeps as large ones, under their sha256."""


def etag_of(path: Path, content: bytes) -> str:
    """Return the name under which the Hub's own cache keeps a file."""
    if path.suffix in LARGE:
        return hashlib.sha256(content).hexdigest()
    return sha1_of(content)


def sha1_of(content: bytes) -> str:
    """Return a commit-like name of some content."""
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


class Hub:
    """The server's folder, seen as repositories.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.faults = root, Faults()

    def folder(self, kind: str, repo: str) -> Path | None:
        """Return the folder of a repository, or ``None``."""
        folder = self.root / kind / repo
        return folder if folder.is_dir() else None

    def files(self, folder: Path) -> list[Path]:
        """Return all files of a repository, sorted."""
        return sorted(path for path in folder.rglob("*") if path.is_file())

    def entry(self, folder: Path, path: Path) -> dict[str, Any]:
        """Describe a file as the Hub's tree does."""
        content = path.read_bytes()
        found: dict[str, Any] = {
            "type": "file",
            "oid": sha1_of(content),
            "size": len(content),
            "path": path.relative_to(folder).as_posix(),
        }
        if path.suffix in LARGE:
            digest = etag_of(path, content)
            found["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
        return found

    def tree(self, folder: Path, below: str, recursive: bool) -> list[dict[str, Any]]:
        """List a folder of a repository as the Hub does."""
        start = folder / below if below else folder
        entries: list[dict[str, Any]] = []
        for path in sorted(start.rglob("*") if recursive else start.glob("*")):
            if path.is_dir():
                name = path.relative_to(folder).as_posix()
                entries.append(
                    {"type": "directory", "oid": sha1_of(name.encode()), "size": 0, "path": name}
                )
            else:
                entries.append(self.entry(folder, path))
        return entries

    def info(self, kind: str, repo: str, revision: str) -> dict[str, Any]:
        """Describe a repository as the Hub does."""
        folder = self.folder(kind, repo)
        assert folder is not None
        names = [path.relative_to(folder).as_posix() for path in self.files(folder)]
        return {
            "_id": sha1_of(repo.encode())[:24],
            "id": repo,
            "modelId" if kind == "models" else "datasetId": repo,
            "author": repo.partition("/")[0],
            "sha": commit_of(repo, revision),
            "private": False,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "lastModified": "2020-01-01T00:00:00.000Z",
            "createdAt": "2020-01-01T00:00:00.000Z",
            "siblings": [{"rfilename": name} for name in names],
        }


def commit_of(repo: str, revision: str) -> str:
    """Return the commit of a revision: the pinned one itself, else one made from the name."""
    pinned = len(revision) == 40 and all(digit in "0123456789abcdef" for digit in revision)
    return revision if pinned else sha1_of(repo.encode())


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing on stderr; `Faults.asked` holds what was asked."""

    def do_HEAD(self) -> None:
        """Answer with the headers alone."""
        self._answer()

    def do_GET(self) -> None:
        """Answer a question or send a file."""
        self._answer()

    def do_POST(self) -> None:
        """Answer paths-info, the only question that is posted."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        words = self._words()
        if "paths-info" in words:
            self.hub.faults.asked.append(f"POST {self.path}")
            place = words.index("paths-info")
            folder = self.hub.folder(words[1], "/".join(words[2:place]))
            wanted = json.loads(body)["paths"] if body[:1] == b"{" else _form(body)
            if folder is None:
                return self._json({"error": "not found"}, 404)
            found = [folder / name for name in wanted if (folder / name).is_file()]
            return self._json([self.hub.entry(folder, path) for path in found])
        return self._json({"error": "not found"}, 404)

    def _words(self) -> list[str]:
        return [unquote(word) for word in urlsplit(self.path).path.strip("/").split("/")]

    def _answer(self) -> None:
        self.hub.faults.asked.append(f"{self.command} {self.path}")
        words = self._words()
        if words[0] == "api" and len(words) > 2 and words[1] in KINDS:
            return self._api(words[1], words[2:])
        if "resolve" in words:
            place = words.index("resolve")
            kind = "datasets" if words[0] == "datasets" else "models"
            repo = "/".join(words[1 if kind == "datasets" else 0 : place])
            folder, revision = self.hub.folder(kind, repo), words[place + 1]
            path = None if folder is None else folder / "/".join(words[place + 2 :])
            return self._file(path, {"X-Repo-Commit": commit_of(repo, revision)})
        return self._file(self.hub.root / "sites" / "/".join(words), {})

    def _api(self, kind: str, words: list[str]) -> None:
        action = next((w for w in ("revision", "tree") if w in words), "")
        place = words.index(action) if action else len(words)
        repo = "/".join(words[:place])
        folder = self.hub.folder(kind, repo)
        if folder is None:
            self._headers(404, 0, {"X-Error-Code": "RepoNotFound"})
            return None
        if action == "tree":
            below = "/".join(words[place + 2 :])
            if below and not (folder / below).is_dir():
                return self._json({"error": "not found"}, 404)
            recursive = "recursive=true" in urlsplit(self.path).query.lower()
            return self._json(self.hub.tree(folder, below, recursive))
        revision = words[place + 1] if action else "main"
        return self._json(self.hub.info(kind, repo, revision))

    def _file(self, path: Path | None, headers: dict[str, str]) -> None:
        if path is None or not path.is_file():
            return self._headers(404, 0, {"X-Error-Code": "EntryNotFound"})
        content = path.read_bytes()
        fault = self.hub.faults.next(path.as_posix()) if self.command == "GET" else ""
        if fault in ("429", "503"):
            return self._headers(int(fault), 0, {"Retry-After": "0"})
        if fault == "other":
            content = bytes(255 - byte for byte in content)
        etag = {"ETag": f'"{etag_of(path, path.read_bytes())}"', "Accept-Ranges": "bytes"} | headers
        start = _range_start(self.headers.get("Range"))
        size = len(content)
        if start:
            content = content[start:]
            etag["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        self._headers(206 if start else 200, len(content), etag)
        if self.command == "HEAD":
            return None
        if fault == "cut":
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.close_connection = True
            return None
        if fault == "slow":
            for piece in range(0, len(content), max(1, len(content) // 5)):
                self.wfile.write(content[piece : piece + max(1, len(content) // 5)])
                self.wfile.flush()
                time.sleep(0.1)
            return None
        self.wfile.write(content)
        return None

    def _json(self, content: Any, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self._headers(status, len(body), {"Content-Type": "application/json"})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _headers(self, status: int, size: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(size), **headers}.items():
            self.send_header(name, value)
        self.end_headers()


def _form(body: bytes) -> list[str]:
    from urllib.parse import parse_qs

    return parse_qs(body.decode()).get("paths", [])


def _range_start(header: str | None) -> int:
    return int(header.removeprefix("bytes=").partition("-")[0] or 0) if header else 0


@contextmanager
def running(root: Path) -> Iterator[tuple[str, Faults]]:
    """Run the server in threads of this process.

    Args:
        root: The folder that is served.

    Yields:
        Its address, and what shall go wrong.
    """
    hub = Hub(root)
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", hub.faults
    finally:
        server.shutdown()
        server.server_close()
