"""A server that speaks as OpenAI's does, or as badly as it is told to, on this machine."""

import contextlib
import http.server
import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

Reply = Callable[[dict[str, Any], http.server.BaseHTTPRequestHandler], None]


class StandIn(http.server.ThreadingHTTPServer):
    """Keeps what it was asked; `reply` answers."""

    daemon_threads = True

    def __init__(self, reply: Reply) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply, self.asked, self.keys = reply, list[dict[str, Any]](), list[str | None]()
        self.most_at_once = self._at_once = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    def handle_error(self, *_: object) -> None:
        """Connections that are cut are what is tested."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: StandIn
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        self.server.keys.append(self.headers["Authorization"])
        self.close_connection = True
        with self.server.counted():
            self.server.reply(body, self)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def served(reply: Reply) -> Iterator[StandIn]:
    with StandIn(reply) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def send(handler: http.server.BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in ({"Content-Length": str(len(body))} | headers).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def completion(text: str, usage: object = (10, 5), logprobs: dict[str, float] | None = None) -> bytes:
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
    }
    if logprobs is not None:
        tokens = [{"token": token, "logprob": math.log(p)} for token, p in logprobs.items()]
        choice["logprobs"] = {"content": [{"token": text, "top_logprobs": tokens}]}
    answer: dict[str, Any] = {"model": "judge-1", "choices": [choice]}
    if isinstance(usage, tuple):
        answer["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return json.dumps(answer).encode()


def says(text: str, **options: Any) -> Reply:
    return lambda _, handler: send(handler, completion(text, **options))


def fails(status: int, message: str = "no", code: str = "", **headers: str) -> Reply:
    body = json.dumps({"error": {"message": message, "code": code}}).encode()
    return lambda _, handler: send(handler, body, status, **headers)


def hangs(_: dict[str, Any], handler: http.server.BaseHTTPRequestHandler) -> None:
    time.sleep(1.5)


def trickles(_: dict[str, Any], handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    with contextlib.suppress(OSError):
        for _n in range(30):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)


def half(_: dict[str, Any], handler: http.server.BaseHTTPRequestHandler) -> None:
    """Announces more than it sends, then closes."""
    body = completion("[[5]]")
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])


def hangs_up(_: dict[str, Any], handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def nonsense(_: dict[str, Any], handler: http.server.BaseHTTPRequestHandler) -> None:
    send(handler, b"<html>welcome</html>")


def in_turn(*replies: Reply) -> Reply:
    """Each reply once, the last one from then on."""
    left = list(replies)

    def reply(body: dict[str, Any], handler: http.server.BaseHTTPRequestHandler) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(body, handler)

    return reply
