"""A stand-in for Google Cloud Storage: its JSON API over HTTP, objects in memory, for one machine.

Answers what gcsfs, google-cloud-storage and TensorStore ask for: objects listed by prefix, delimiter, range and
page, read whole or in ranges, written by one request, by parts and in resumed parts, copied, composed, deleted,
with preconditions on generations (https://cloud.google.com/storage/docs/json_api). As in the service, objects are
whole or not there, there are no folders, no renames, and nothing is appended.
"""

import base64
import contextlib
import http.server
import itertools
import json
import pathlib
import re
import threading
import urllib.parse
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest


class Stored(NamedTuple):
    """An object."""

    content: bytes
    generation: int
    metageneration: int
    metadata: dict[str, str]


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message)
        self.code = code


class StandIn:
    """Buckets come to be when they are named. `objects` is by bucket and name."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Stored] = {}
        self.lock = threading.RLock()
        self.missing: set[str] = set()
        """Buckets that there are none of."""
        self.refuse: Any = None
        """Called with method, bucket and name, or the prefix of a list; a number that it returns is the code of an
        error."""
        self.generations = itertools.count(1000)
        self.uploads: dict[str, tuple[str, str, dict[str, str], dict[str, str], bytearray]] = {}
        self.url = ""

    def environment(self) -> dict[str, str]:
        """What lets the libraries ask here, without credentials."""
        return {
            "STORAGE_EMULATOR_HOST": self.url,
            "TENSORSTORE_GCS_HTTP_URL": self.url,
            "CLOUD_STORAGE_EMULATOR_ENDPOINT": self.url,
            "GCE_METADATA_ROOT": self.url.removeprefix("http://"),
            "NO_GCE_CHECK": "true",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # asks by gRPC, which this does not speak
            "GOOGLE_CLOUD_PROJECT": "stand-in",
        }

    def names(self, prefix: str = "") -> list[str]:
        """Of all objects, as `bucket/name`."""
        with self.lock:
            return sorted(found for found in map("/".join, self.objects) if found.startswith(prefix))

    def content(self, path: str) -> bytes:
        """Of the object at `bucket/name`."""
        bucket, _, name = path.partition("/")
        return self.objects[bucket, name].content

    def put_folder(self, folder: pathlib.Path, to: str) -> str:
        """Write all files of a folder below `bucket/name`; says where they are."""
        bucket, _, name = to.partition("/")
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.put(bucket, f"{name}/{file.relative_to(folder).as_posix()}", file.read_bytes(), {}, {})
        return f"gs://{to}"

    def put(
        self, bucket: str, name: str, content: bytes, asked: dict[str, str], more: dict[str, str]
    ) -> Stored:
        """Write an object, if the preconditions hold."""
        with self.lock:
            self.check(bucket, name, asked)
            self.objects[bucket, name] = Stored(content, next(self.generations), 1, more)
            return self.objects[bucket, name]

    def get(self, bucket: str, name: str, asked: dict[str, str]) -> Stored:
        """The object, if the preconditions hold."""
        with self.lock:
            if (bucket, name) not in self.objects:
                raise Refused(404, f"No such object: {bucket}/{name}")
            self.check(bucket, name, asked)
            return self.objects[bucket, name]

    def check(self, bucket: str, name: str, asked: dict[str, str]) -> None:
        """Raises where a precondition does not hold."""
        found = self.objects.get((bucket, name))
        now = found.generation if found else 0
        if asked.get("generation") and int(asked["generation"]) != now:
            raise Refused(404, "No such generation")
        if "ifGenerationMatch" in asked and int(asked["ifGenerationMatch"]) != now:
            raise Refused(412, "conditionNotMet")
        if "ifGenerationNotMatch" in asked and int(asked["ifGenerationNotMatch"]) == now:
            raise Refused(304)


def described(bucket: str, name: str, found: Stored) -> dict[str, Any]:
    """The resource of an object."""
    return {
        "kind": "storage#object",
        "id": f"{bucket}/{name}/{found.generation}",
        "bucket": bucket,
        "name": name,
        "generation": str(found.generation),
        "metageneration": str(found.metageneration),
        "size": str(len(found.content)),
        "contentType": "application/octet-stream",
        "storageClass": "STANDARD",
        "timeCreated": "2026-01-01T00:00:00.000Z",
        "updated": "2026-01-01T00:00:00.000Z",
        "etag": str(found.generation),
        "crc32c": base64.b64encode(zlib.crc32(found.content).to_bytes(4, "big")).decode(),
        "metadata": found.metadata,
    }


def listed(store: StandIn, bucket: str, asked: dict[str, str]) -> dict[str, Any]:
    """A page of names and what is common to them up to the delimiter."""
    prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
    first = asked.get("pageToken") or asked.get("startOffset", "")
    end, most = asked.get("endOffset", ""), int(asked.get("maxResults", 1000))
    items: list[dict[str, Any]] = []
    prefixes: list[str] = []
    with store.lock:
        for name in sorted(name for where, name in store.objects if where == bucket):
            if not name.startswith(prefix) or name < first or (end and name >= end):
                continue
            if len(items) + len(prefixes) >= most:
                return {"items": items, "prefixes": prefixes, "nextPageToken": name}
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                common = prefix + rest.partition(delimiter)[0] + delimiter
                if common not in prefixes:
                    prefixes.append(common)
            else:
                items.append(described(bucket, name, store.objects[bucket, name]))
    return {"kind": "storage#objects", "items": items, "prefixes": prefixes}


_OBJECT = re.compile(r"/(?:download/)?storage/v1/b/([^/]+)/o/([^/]+)")
_COPY = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/(?:rewriteTo|copyTo)/b/([^/]+)/o/([^/]+)")
_MOVE = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/moveTo/o/([^/]+)")
_COMPOSE = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/compose")
_LIST = re.compile(r"/storage/v1/b/([^/]+)/o/?")
_BUCKET = re.compile(r"/storage/v1/b/([^/]+)/?")
_TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"
_UPLOAD = re.compile(r"/(?:resumable/)?upload/storage/v1/b/([^/]+)/o/?")


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: StandIn

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, method: str) -> None:
        body = self._body()
        where = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(where.query))
        try:
            self._route(method, where.path, asked, body)
        except Refused as refused:
            told = {"error": {"code": refused.code, "message": str(refused), "errors": []}}
            self._send(refused.code, b"" if refused.code == 304 else json.dumps(told).encode())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _route(self, method: str, path: str, asked: dict[str, str], body: bytes) -> None:
        store = self.store

        def named(pattern: "re.Pattern[str]") -> list[str] | None:
            found = pattern.fullmatch(path)
            return None if found is None else [urllib.parse.unquote(part) for part in found.groups()]

        if path == _TOKEN:
            return self._json({"access_token": "anybody", "expires_in": 3600, "token_type": "Bearer"})
        if (parts := named(_UPLOAD)) is not None:
            return self._upload(method, parts[0], asked, body)
        if (parts := named(_COPY)) is not None:
            found = store.get(parts[0], parts[1], {})
            copied = store.put(parts[2], parts[3], found.content, asked, found.metadata)
            resource = described(parts[2], parts[3], copied)
            size = str(len(found.content))
            rewritten = {"done": True, "objectSize": size, "totalBytesRewritten": size, "resource": resource}
            return self._json(rewritten if "/rewriteTo/" in path else resource)
        if (parts := named(_MOVE)) is not None:
            with store.lock:
                found = store.get(parts[0], parts[1], {})
                moved = store.put(parts[0], parts[2], found.content, asked, found.metadata)
                del store.objects[parts[0], parts[1]]
            return self._json(described(parts[0], parts[2], moved))
        if (parts := named(_COMPOSE)) is not None:
            sources = [store.get(parts[0], each["name"], {}) for each in json.loads(body)["sourceObjects"]]
            whole = b"".join(each.content for each in sources)
            return self._json(described(*parts, store.put(parts[0], parts[1], whole, asked, {})))
        if (parts := named(_OBJECT)) is not None:
            return self._object(method, parts[0], parts[1], path, asked, body)
        if (parts := named(_LIST)) is not None and method == "GET":
            self._may_refuse("LIST", parts[0], asked.get("prefix", ""))
            return self._json(listed(store, parts[0], asked))
        if (parts := named(_BUCKET)) is not None and method == "GET":
            return self._json({"kind": "storage#bucket", "id": parts[0], "name": parts[0], "location": "US"})
        raise Refused(404, f"{method} {path} is not known here")

    def _object(
        self, method: str, bucket: str, name: str, path: str, asked: dict[str, str], body: bytes
    ) -> None:
        store = self.store
        self._may_refuse(method, bucket, name)
        found = store.get(bucket, name, asked)
        if method == "DELETE":
            with store.lock:
                store.get(bucket, name, asked)
                del store.objects[bucket, name]
            return self._send(204, b"")
        if method == "PATCH":
            with store.lock:
                now = store.get(bucket, name, asked)
                metadata = now.metadata | (json.loads(body).get("metadata") or {})
                changed = now._replace(metadata=metadata, metageneration=now.metageneration + 1)
                store.objects[bucket, name] = changed
            return self._json(described(bucket, name, changed))
        if method != "GET":
            raise Refused(405, method)
        if asked.get("alt") != "media" and not path.startswith("/download/"):
            return self._json(described(bucket, name, found))
        headers = {
            "x-goog-generation": str(found.generation),
            "x-goog-stored-content-length": str(len(found.content)),
        }
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            return self._send(200, found.content, headers)
        size = len(found.content)
        start = int(wanted[1]) if wanted[1] else max(0, size - int(wanted[2]))
        stop = min(size, int(wanted[2]) + 1) if wanted[1] and wanted[2] else size
        if start >= size:
            raise Refused(416, "no such range")
        part = found.content[start:stop]
        self._send(206, part, headers | {"Content-Range": f"bytes {start}-{stop - 1}/{size}"})

    def _upload(self, method: str, bucket: str, asked: dict[str, str], body: bytes) -> None:
        store, kind = self.store, asked.get("uploadType", "")
        if "upload_id" in asked:
            return self._resumed(asked["upload_id"], body)
        if kind == "multipart":
            boundary = re.search(r'boundary="?([^";]+)', self.headers["Content-Type"])
            assert boundary is not None
            _, first, second, *_ = body.split(b"--" + boundary[1].encode())
            told = json.loads(re.split(rb"\r?\n\r?\n", first, maxsplit=1)[1])
            content = re.split(rb"\r?\n\r?\n", second, maxsplit=1)[1]
            content = content[:-2] if content.endswith(b"\r\n") else content[:-1]
            name, more = told.get("name") or asked["name"], told.get("metadata") or {}
        elif kind == "resumable":
            told = json.loads(body) if body else {}
            name, number = told.get("name") or asked["name"], str(next(store.generations))
            store.uploads[number] = bucket, name, asked, told.get("metadata") or {}, bytearray()
            path = f"/upload/storage/v1/b/{urllib.parse.quote(bucket, '')}/o?uploadType=resumable&upload_id={number}"
            return self._send(200, b"", {"Location": f"{store.url}{path}"})
        else:
            name, content, more = asked["name"], body, {}
        self._may_refuse("POST", bucket, name)
        self._json(described(bucket, name, store.put(bucket, name, content, asked, more)))

    def _resumed(self, number: str, body: bytes) -> None:
        bucket, name, asked, more, content = self.store.uploads[number]
        self._may_refuse("POST", bucket, name)
        content += body
        if self.headers.get("Content-Range", "bytes */0").endswith("/*"):
            return self._send(308, b"", {"Range": f"bytes=0-{len(content) - 1}"} if content else {})
        del self.store.uploads[number]
        self._json(described(bucket, name, self.store.put(bucket, name, bytes(content), asked, more)))

    def _may_refuse(self, method: str, bucket: str, name: str) -> None:
        if bucket in self.store.missing:
            raise Refused(404, "The specified bucket does not exist.")
        code = self.store.refuse and self.store.refuse(method, bucket, name)
        if code:
            raise Refused(code, "refused by the test")

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if code not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def do_PATCH(self) -> None:
        self._answer("PATCH")

    def do_DELETE(self) -> None:
        self._answer("DELETE")


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that hang up, as those that are killed do."""


@contextlib.contextmanager
def stand_in() -> Iterator[StandIn]:
    """A server on a free port of this machine, for as long as the context lasts."""
    store = StandIn()
    handler = type("Handler", (_Handler,), {"store": store})
    server = _Server(("127.0.0.1", 0), handler)
    store.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def stand_in_asked() -> Iterator[StandIn]:
    """The same, which libraries in this process and those that it starts ask."""
    with stand_in() as store, pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment().items():
            patch.setenv(name, value)
        yield store
