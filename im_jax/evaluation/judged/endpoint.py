"""A model behind an OpenAI-compatible server: `POST URL/chat/completions`, and what can go wrong there."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from im_jax.errors import ConfigError
from im_jax.text import in_one_line

_MOST_BYTES: Final = 1 << 24
_PART: Final = 1 << 16
_AGAIN: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""Status codes after which the same request may succeed."""
_HOPELESS: Final = frozenset({401, 402, 403, 404})
"""Status codes after which no request can: the key, the account, the model or the address is wrong."""
_SHOWN: Final = 160


class Completion(NamedTuple):
    """What a server answered."""

    choice: dict[str, Any]
    """The first of its choices: `message`, and `logprobs` if they were asked for."""
    tokens: tuple[int, int] | None
    """Of the prompt and of the answer, as it bills them; None: it does not say."""
    model: str
    """What it calls the model."""


class EndpointError(Exception):
    """A request without an answer.

    Attributes:
        kind: for counting, such as `timeout` or `HTTP 429`.
        again: whether the same request may succeed.
        wait: seconds that the server asks to wait; None: it does not say.
        billed: whether it may have been paid for all the same.
        hopeless: whether no other request will succeed either.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        again: bool,
        wait: float | None = None,
        billed: bool,
        hopeless: bool = False,
    ) -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind, self.again, self.wait, self.billed, self.hopeless = kind, again, wait, billed, hopeless


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A key is not sent to where the user has not sent it."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True)
class Endpoint:
    """A server, and how long it may take.

    Attributes:
        url: its base, such as `https://api.openai.com/v1`.
        key: sent as a bearer token; empty: none.
        seconds: for one answer, from the first byte sent to the last one read.
    """

    url: str
    key: str = field(default="", repr=False)
    seconds: float = 120.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"--endpoint={self.url} is no address; write it as https://api.openai.com/v1")
        if any(not 32 < ord(character) < 127 for character in self.key):
            raise ConfigError("the key of the endpoint has blanks or characters that no header can hold")

    def ask(self, body: Mapping[str, Any]) -> Completion:
        """The answer to one chat.

        Args:
            body: of the request: `model`, `messages`, and the rest of the API's fields.

        Raises:
            EndpointError: there is none.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        address = f"{self.url.rstrip('/').removesuffix('/chat/completions')}/chat/completions"
        request = urllib.request.Request(address, json.dumps(body).encode(), headers)
        opener = urllib.request.build_opener(_NoRedirects)
        deadline = time.monotonic() + self.seconds
        try:
            with opener.open(request, timeout=self.seconds) as response:
                return _completion(_read(response, deadline))
        except urllib.error.HTTPError as error:
            raise _of_status(error) from None
        except TimeoutError:
            raise EndpointError("timeout", f"{self.seconds:g} s", again=True, billed=True) from None
        except (http.client.HTTPException, ConnectionError) as error:
            # Whatever it had begun to answer may be billed.
            raise EndpointError("connection closed", _short(error), again=True, billed=True) from None
        except OSError as error:  # URLError is one: what happened before there was a connection
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise EndpointError("timeout", f"{self.seconds:g} s", again=True, billed=True) from None
            closed = isinstance(reason, ConnectionResetError | BrokenPipeError)
            kind = "connection closed" if closed else "no connection"
            raise EndpointError(kind, _short(reason), again=True, billed=closed) from None


def _read(response: Any, deadline: float) -> bytes:
    """The whole answer; a server that sends a byte now and then does not get more time for it."""
    parts, size = [], 0
    while part := response.read1(_PART):
        parts.append(part)
        size += len(part)
        if time.monotonic() > deadline:
            raise TimeoutError
        if size > _MOST_BYTES:
            raise EndpointError("nonsense", f"more than {_MOST_BYTES >> 20} MiB", again=False, billed=True)
    whole = b"".join(parts)
    if response.length:  # of what was announced, so much did not come
        raise http.client.IncompleteRead(whole, response.length)
    return whole


def _completion(text: bytes) -> Completion:
    try:
        answer = json.loads(text)
        choice = answer["choices"][0]
        if not isinstance(choice["message"]["content"], str):
            raise TypeError("its content is no text")
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        detail = f"{type(error).__name__} {_short(error)}"
        raise EndpointError("nonsense", f"no chat completion ({detail})", again=True, billed=True) from None
    return Completion(choice, _usage(answer.get("usage")), str(answer.get("model", "")))


def _usage(usage: Any) -> tuple[int, int] | None:
    if not isinstance(usage, dict):
        return None
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    known = [count for count in counts if type(count) is int and count >= 0]
    return (known[0], known[1]) if len(known) == len(counts) else None


def _of_status(error: urllib.error.HTTPError) -> EndpointError:
    detail, code = "", ""
    try:
        with error:
            said = json.loads(error.read(_PART))["error"]
        detail, code = str(said["message"]), str(said.get("code"))
    except (ValueError, LookupError, TypeError, AttributeError, OSError, http.client.HTTPException):
        detail = detail or str(error.reason)
    out_of_money = code in ("insufficient_quota", "billing_hard_limit_reached")
    return EndpointError(
        f"HTTP {error.code}",
        in_one_line(detail)[:_SHOWN],
        again=error.code in _AGAIN and not out_of_money,
        wait=_seconds(error.headers.get("Retry-After") if error.headers else None),
        billed=False,
        hopeless=error.code in _HOPELESS or out_of_money,
    )


def _seconds(text: str | None) -> float | None:
    try:
        return max(float(text or ""), 0.0)
    except ValueError:  # a date, or nothing
        return None


def _short(error: object) -> str:
    return in_one_line(error)[:_SHOWN]
