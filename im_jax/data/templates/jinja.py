"""Jinja chat templates of Hugging Face tokenizers, with every character attributed or the template refused.

Such a template is a program that writes text; nothing says which text is whose. Looking for a content in
the text would mislead (a user may quote the answer, or the template), so the program is asked instead:

1. Each content is replaced by a mark, one private-use character, and the conversation is rendered. The
   marks cut the rendering into contents and the template's literals: its *layout*, which depends on the
   roles alone.
2. The first messages alone are rendered with marks: what follows the last mark there is the closing text
   of that message, and the rest of the literal opens the next one.
3. The real rendering must be exactly these literals with the contents, verbatim or stripped, in between.

    marks      <s>[INST] ① [/INST] ②</s>[INST] ③ [/INST] ④</s>
    closing of ②: render(first two) = <s>[INST] ① [/INST] ②</s>, so `</s>` is a stop and `[INST] ` a header
"""

import pathlib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import jinja2

from im_jax.data.records.conversation import Conversation, Message
from im_jax.data.templates.limits import LimitError, bounded
from im_jax.data.templates.rendering import CONTENT_CLASS, Piece, Rendered, assemble
from im_jax.data.templates.sandbox import Environment
from im_jax.data.templates.unwritten import refuse_unwritten
from im_jax.data.tokenizers import Tokenizer
from im_jax.data.tokenizers.added import read_object, token_text
from im_jax.errors import DataError
from im_jax.text import in_one_line
from im_jax.token_classes import TokenClass

_FIRST_MARK: Final = 0x100000
"""Marks are characters of the last private-use plane, which no template has a reason to write."""

_MAX_SOURCE: Final = 1 << 20
_REASON_SHOWN: Final = 300
_ROLES_SHOWN: Final = 10

Gap = tuple[Piece, ...]
"""Template text between two contents: the closing of one message, then the opening of the next."""


def load_jinja_template(path: pathlib.Path, tokenizer: Tokenizer) -> "JinjaTemplate":
    """Read a chat template.

    Args:
        path: a `tokenizer_config.json`, a directory with one, or a `.jinja` file. As in transformers, a
            `chat_template.jinja` beside a `tokenizer_config.json` goes before the template in it, and
            the configuration gives the template its special tokens.
        tokenizer: gives BOS and EOS where no configuration does.

    Raises:
        DataError: there is no template, or it is not usable.
    """
    folder = path if path.is_dir() else path.parent
    config_file = folder / "tokenizer_config.json" if path.is_dir() or path.suffix == ".jinja" else path
    config = read_object(config_file)
    template_file = path if path.suffix == ".jinja" else folder / "chat_template.jinja"
    if template_file.is_file():
        name, source = template_file, template_file.read_text(encoding="utf-8")
    else:
        name, source = config_file, _template_in(config, config_file)
    special = {"bos_token": tokenizer.bos_text, "eos_token": tokenizer.eos_text}
    special |= {key: token_text(value) for key, value in config.items() if key.endswith("_token")}
    return JinjaTemplate(str(name), source, {key: text for key, text in special.items() if text is not None})


def _template_in(config: Mapping[str, Any], file: pathlib.Path) -> str:
    """`chat_template` of a configuration: a text, or a list of named ones with a "default" among them."""
    found = config.get("chat_template")
    if isinstance(found, list):
        found = {entry.get("name"): entry.get("template") for entry in found}.get("default")
    if not isinstance(found, str):
        raise DataError(
            f"data.template: {file} holds no default chat_template, and no chat_template.jinja is "
            f"beside it; set --config.data.template to a file with one, or to a built-in template"
        )
    return found


class JinjaTemplate:
    """A chat template, rendered as transformers renders it."""

    adds_bos = False
    """It writes a BOS itself where its model wants one."""

    def __init__(self, name: str, source: str, special_tokens: Mapping[str, str]) -> None:
        """
        Args:
            name: named in errors.
            source: Jinja source.
            special_tokens: variables of the template, such as `bos_token`.

        Raises:
            DataError: the source is not Jinja, or a plain question and answer cannot be attributed.
        """
        self.name = name
        self._special_tokens = dict(special_tokens)
        self._layouts: dict[tuple[str, ...], list[Gap]] = {}
        if len(source) > _MAX_SOURCE:
            self._refuse(f"is of more than {_MAX_SOURCE:,} characters", "it is no chat template")
        try:
            with bounded():
                self._template = Environment().from_string(source)
        except jinja2.TemplateSyntaxError as error:
            self._refuse(f"is not valid Jinja: line {error.lineno}: {_reason(error.message)}", "correct it")
        except Exception as error:  # Python's own compiler has limits, of nested blocks and brackets
            self._refuse(f"cannot be compiled: {_reason(error)}", "make it simpler")
        self._layout(("user", "assistant"))

    def render(self, conversation: Conversation) -> Rendered:
        """See `Template.render`."""
        refuse_unwritten(conversation, self.name)
        messages = conversation.messages
        try:
            gaps = self._layout(tuple(message.role for message in messages))
            text = self._write([(m.role, m.text) for m in messages])
            return assemble(self._attribute(text, messages, gaps), messages)
        except DataError as error:
            raise DataError(f"{conversation.origin}: {error}") from error

    def prompt(self, messages: Sequence[Message]) -> str:
        """See `Template.prompt`."""
        return self._write([(m.role, m.text) for m in messages], add_generation_prompt=True)

    def _write(self, messages: Sequence[tuple[str, str]], add_generation_prompt: bool = False) -> str:
        roles = ", ".join(role for role, _ in messages[:_ROLES_SHOWN])
        try:
            with bounded():
                return self._template.render(
                    messages=[{"role": role, "content": content} for role, content in messages],
                    tools=None,
                    documents=None,
                    add_generation_prompt=add_generation_prompt,
                    **self._special_tokens,
                )
        except LimitError as error:
            self._refuse(f"{error} on messages of {roles}", "use a template that does less")
        except Exception as error:  # a template is a program: it may raise anything
            self._refuse(f"fails on messages of {roles}: {_reason(error)}", "change the data or the template")

    def _layout(self, roles: tuple[str, ...]) -> list[Gap]:
        """The gap before each content, and the one after the last."""
        if roles not in self._layouts:
            self._layouts[roles] = self._find_layout(roles)
        return self._layouts[roles]

    def _find_layout(self, roles: tuple[str, ...]) -> list[Gap]:
        marked = [(role, chr(_FIRST_MARK + i)) for i, role in enumerate(roles)]
        literals = self._literals(marked)
        closings = ["", *(self._closing(marked[: i + 1], literals[i + 1]) for i in range(len(roles)))]
        return [
            (
                *_closing_pieces(closing, marked[i - 1][0], i - 1),
                *self._opening_pieces(literal[len(closing) :], i),
            )
            for i, (literal, closing) in enumerate(zip(literals, closings, strict=True))
        ]

    def _literals(self, marked: Sequence[tuple[str, str]]) -> list[str]:
        """What the template writes before, between and after the marks."""
        cut = re.split(f"([{chr(_FIRST_MARK)}-{chr(sys.maxunicode)}])", self._write(marked))
        found = cut[1::2]
        for role, mark in marked:
            if found.count(mark) != 1:
                problem = "leaves out" if mark not in found else f"writes {found.count(mark)} times"
                self._refuse(
                    f"{problem} the text of a {role} message",
                    "remove it from the data, or use a template that writes every message once",
                )
        if found != [mark for _, mark in marked]:
            self._refuse("writes messages in another order", "use a template that keeps their order")
        return cut[::2]

    def _closing(self, marked: Sequence[tuple[str, str]], literal: str) -> str:
        """The part of the literal after the last of these messages that closes the message."""
        role, mark = marked[-1]
        try:
            _, written, closing = self._write(marked).rpartition(mark)
        except DataError:
            if role != "system":
                raise
            written = closing = ""  # some templates refuse a system message alone
        if not written or not literal.startswith(closing):
            if role == "system":
                return ""  # it stands inside the user message, which has not ended yet
            self._refuse(
                f"does not tell where a message of role {role} ends: after it comes "
                f"{_shortened(literal)}, but {_shortened(closing)} when it is the last message",
                "use a template that closes each message in the same way wherever it stands",
            )
        if role == "assistant" and not closing.strip():
            self._refuse(
                "writes no stop after an answer, so the model would never learn to stop",
                "make it write eos_token after each assistant message",
            )
        return closing

    def _opening_pieces(self, text: str, message: int) -> Gap:
        bos = self._special_tokens.get("bos_token", "")
        if not text.startswith(bos):
            bos = ""
        return Piece(bos, TokenClass.BOS, message), Piece(text[len(bos) :], TokenClass.HEADER, message)

    def _attribute(self, text: str, messages: Sequence[Message], gaps: Sequence[Gap]) -> list[Piece]:
        """The rendering cut into the layout's pieces and the contents; refused unless it is exactly these."""
        literals = ["".join(piece.text for piece in gap) for gap in gaps]
        pieces, at = list(gaps[0]), len(literals[0])
        if not text.startswith(literals[0]):
            self._refuse_contents("the first message", literals[0], text)
        for i, message in enumerate(messages):
            literal = literals[i + 1]
            forms = (message.text, message.text.strip())
            content = next((form for form in forms if text.startswith(form + literal, at)), None)
            if content is None:
                where = f"message {i + 1} ({message.role})"
                self._refuse_contents(where, message.text + literal, text[at:])
            pieces += [Piece(content, CONTENT_CLASS[message.role], i), *gaps[i + 1]]
            at += len(content + literal)
        if at != len(text):
            self._refuse_contents("the end", "", text[at:])
        return pieces

    def _refuse_contents(self, where: str, expected: str, written: str) -> NoReturn:
        self._refuse(
            f"changes what it writes with the contents: at {where} it should write {_shortened(expected)}, "
            f"but writes {_shortened(written)}",
            "leave this example out, or use a template that writes contents as they are",
        )

    def _refuse(self, problem: str, advice: str) -> NoReturn:
        raise DataError(f"the chat template {self.name} {problem}; {advice}")


def _closing_pieces(text: str, role: str, message: int) -> Gap:
    """An answer's closing text is the stop up to its last visible character."""
    stop = text.rstrip() if role == "assistant" else ""
    return Piece(stop, TokenClass.STOP, message), Piece(text[len(stop) :], TokenClass.SEPARATOR, message)


def _reason(error: object) -> str:
    """What an error says, shortened: a template chooses the words, and could steer a terminal by them."""
    text = in_one_line(str(error)[:_REASON_SHOWN]) or type(error).__name__
    return text if len(str(error)) <= _REASON_SHOWN else f"{text}..."


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
