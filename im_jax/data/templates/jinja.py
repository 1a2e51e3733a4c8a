"""Jinja chat templates of Hugging Face tokenizers, with every character attributed or the template refused.

A template is given texts that know whose characters they are (`given`, `traced`), and runs once for each
conversation. What it wrote is attributed (`attribution`) and checked: each text is there once, whole and in
order (`coverage`). Where an answer begins follows from the generation prompt (`answers`).
"""

import datetime
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeVar

import jinja2

from im_jax.data.records.conversation import Conversation, Message, ToolCall
from im_jax.data.templates.answers import Answers
from im_jax.data.templates.attribution import Attribution, AttributionError, Stretch, runs_of, stretches
from im_jax.data.templates.coverage import HIDDEN_NOTES, LeftOutError, check_coverage, check_tools
from im_jax.data.templates.given import FORMS, Form, Given, give, matters
from im_jax.data.templates.limits import LimitError, bounded
from im_jax.data.templates.rendering import Piece, Rendered, assemble
from im_jax.data.templates.sandbox import Environment
from im_jax.data.templates.traced import concat
from im_jax.data.tokenizers import Tokenizer
from im_jax.data.tokenizers.added import read_object, token_text
from im_jax.errors import DataError
from im_jax.text import in_one_line

_T = TypeVar("_T")
_MAX_SOURCE: Final = 1 << 20
_REASON_SHOWN: Final = 300
_ROLES_SHOWN: Final = 10
_QUESTION: Final = (Message("user", "Hello?"), Message("assistant", "Hello."))
"""A conversation that every template must be able to write."""
_THOUGHT: Final = (Message("user", "Hello?"), Message("assistant", "Hello.", thought="Hmm."))
_CALL: Final = (
    Message("user", "Hello?"),
    Message("assistant", "", tool_calls=(ToolCall("greet", '{"whom": "Ann"}', as_text=False),)),
    Message("tool", "Greeted.", name="greet"),
    Message("assistant", "Hello."),
)
"""Conversations that tell how a template wants thoughts and calls."""


class _FailureError(Exception):
    """The template raised an error: `problem` says which."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem, self.advice = problem, "change the data or the template"


def load_jinja_template(
    path: pathlib.Path, tokenizer: Tokenizer, now: datetime.datetime | None = None
) -> "JinjaTemplate":
    """Read a chat template.

    Args:
        path: a `tokenizer_config.json`, a directory with one, or a `.jinja` file. As in transformers, a
            `chat_template.jinja` beside a `tokenizer_config.json` goes before the template in it, and
            the configuration gives the template its special tokens.
        tokenizer: gives BOS and EOS where no configuration does.
        now: what a template that writes the date takes it to be; None: what it is.

    Raises:
        DataError: there is no template, or it is not usable.
    """
    name, source, config = template_source(path)
    special = {"bos_token": tokenizer.bos_text, "eos_token": tokenizer.eos_text}
    special |= {key: token_text(value) for key, value in config.items() if key.endswith("_token")}
    known = {key: text for key, text in special.items() if text is not None}
    marks = [tokenizer.piece(token) for token in sorted(tokenizer.special_ids)]
    return JinjaTemplate(name, source, known, now, marks)


def template_source(path: pathlib.Path) -> tuple[str, str, Mapping[str, Any]]:
    """File and text of the template that a path means, and the configuration beside it: see above."""
    folder = path if path.is_dir() else path.parent
    config_file = folder / "tokenizer_config.json" if path.is_dir() or path.suffix == ".jinja" else path
    config = read_object(config_file)
    template_file = path if path.suffix == ".jinja" else folder / "chat_template.jinja"
    if template_file.is_file():
        return str(template_file), template_file.read_text(encoding="utf-8"), config
    return str(config_file), _template_in(config, config_file), config


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

    def __init__(
        self,
        name: str,
        source: str,
        special_tokens: Mapping[str, str],
        now: datetime.datetime | None = None,
        marks: Sequence[str] = (),
    ) -> None:
        """
        Args:
            name: named in errors.
            source: Jinja source.
            special_tokens: variables of the template, such as `bos_token`.
            now: what it takes the date to be; None: what it is.
            marks: texts of the tokenizer's special tokens, one of which may end an answer that calls tools.

        Raises:
            DataError: the source is not Jinja, or a plain question and answer cannot be attributed.
        """
        self.name, self.source = name, source
        self._special_tokens = dict(special_tokens)
        if len(source) > _MAX_SOURCE:
            self._refuse(f"is of more than {_MAX_SOURCE:,} characters", "it is no chat template")
        try:
            with bounded():
                self._template = Environment(now).from_string(source)
        except jinja2.TemplateSyntaxError as error:
            self._refuse(f"is not valid Jinja: line {error.lineno}: {_reason(error.message)}", "correct it")
        except Exception as error:  # Python's own compiler has limits, of nested blocks and brackets
            self._refuse(f"cannot be compiled: {_reason(error)}", "make it simpler")
        self._answers = Answers((*special_tokens.values(), *marks))
        try:
            self._answers.learn(self._attributed(_QUESTION, ())[0])
        except (AttributionError, _FailureError) as error:
            self._refuse(error.problem, error.advice)
        try:
            self._answers.learn(self._attributed(_QUESTION * 2, ())[0])
        except (AttributionError, _FailureError):
            return  # it is refused where an example has several turns

    @property
    def special_tokens(self) -> Mapping[str, str]:
        """Variables that it is given, such as `bos_token`."""
        return self._special_tokens

    def render(self, conversation: Conversation) -> Rendered:
        """See `Template.render`."""
        messages = conversation.messages
        try:
            pieces, notes = self._attributed(messages, conversation.tools)
        except (AttributionError, _FailureError) as error:
            self._refuse(error.problem, error.advice, f"{conversation.origin}: ")
        return assemble(pieces, messages, notes)

    def prompt(self, messages: Sequence[Message], tools: Sequence[str] = ()) -> str:
        """See `Template.prompt`."""
        answered = (*messages, Message("assistant", ""))

        def written(form: Form) -> tuple[str, tuple[str, ...]]:
            given = give(messages, tools, form)
            text = self._write(given, add_generation_prompt=True)
            try:
                notes = tuple(_notes(text, given, stretches(text, given.parts), answered, form))
            except LeftOutError:
                raise
            except AttributionError:
                notes = ()  # whose the text of a prompt is does not matter
            return str.__str__(text), notes

        try:
            return self._in_a_form(messages, written)[0]
        except (AttributionError, _FailureError) as error:
            self._refuse(error.problem, error.advice)

    def _forms(self, messages: Sequence[Message]) -> Iterator[Form]:
        """How these messages can be given."""
        if any(message.thought or message.tool_calls for message in messages):
            yield from dict.fromkeys(matters(form, messages) for form in self._wanted)
        else:
            yield FORMS[0]

    @functools.cached_property
    def _thought_form(self) -> Form | None:
        """How this template wants thoughts; None: it does not write that of a plain answer in any way.

        Found out once, by a conversation that is always the same: no example depends on those before it.
        """
        return next((form for form in FORMS if self._writes(_THOUGHT, form)), None)

    @functools.cached_property
    def _wanted(self) -> tuple[Form, ...]:
        """How this template wants thoughts and calls, found out once: the first form, then what may serve.

        One that writes thoughts in one place is not asked for another, where it might leave them out.
        """
        thought = self._thought_form
        forms = [f for f in FORMS if thought is None or f.thought_in_content == thought.thought_in_content]
        calls = next((form for form in forms if self._writes(_CALL, form)), forms[0])
        return (calls, *(form for form in forms if form != calls))

    def _writes(self, messages: Sequence[Message], form: Form) -> bool:
        try:
            self._attributed_as(form, messages, ())
        except (AttributionError, _FailureError):
            return False
        return True

    def _in_a_form(
        self, messages: Sequence[Message], write: Callable[[Form], tuple[_T, tuple[str, ...]]]
    ) -> tuple[_T, tuple[str, ...]]:
        """What the first form that serves gives, with notes. Raises the error that says most.

        Where a template has no place for thoughts, a form that leaves none out goes before one that does.
        """
        failure: AttributionError | _FailureError | None = None
        second: tuple[_T, tuple[str, ...]] | None = None
        for form in self._forms(messages):
            try:
                made = write(form)
            except (AttributionError, _FailureError) as error:
                # What a template wrote and cannot be attributed says more than that it took another form.
                told = isinstance(failure, AttributionError) or not isinstance(error, AttributionError)
                failure = failure if failure and told else error
                continue
            if not HIDDEN_NOTES.intersection(made[1]) or self._thought_form is not None:
                return made
            second = second or made
        if second is not None:
            return second
        assert failure is not None
        raise failure

    def _attributed(
        self, messages: Sequence[Message], tools: Sequence[str]
    ) -> tuple[list[Piece], tuple[str, ...]]:
        """Pieces and notes."""
        return self._in_a_form(messages, lambda form: self._attributed_as(form, messages, tools))

    def _attributed_as(
        self, form: Form, messages: Sequence[Message], tools: Sequence[str]
    ) -> tuple[list[Piece], tuple[str, ...]]:
        given = give(messages, tools, form)
        text = self._write(given)
        cut = stretches(text, given.parts)
        notes = list(_notes(text, given, cut, messages, form))

        def begin(message: int, closing: str, header: str, before_content: bool, mark: str) -> int:
            before = messages[:message]
            prompt = functools.partial(self._prompt_of, before, tools, form)
            kept, note = self._answers.begin(before, closing, header, mark, prompt)
            notes.extend([note] if note and before_content else [])
            return kept

        bos = self._special_tokens.get("bos_token", "")
        attribution = Attribution(str.__str__(text), cut, messages, begin, self._answers.stop, bos)
        return attribution.pieces(), tuple(dict.fromkeys(notes))

    def _prompt_of(self, messages: Sequence[Message], tools: Sequence[str], form: Form) -> str | None:
        """What a prompt has behind the last part of these messages; None: there is no such prompt."""
        given = give(messages, tools, form)
        try:
            text = self._write(given, add_generation_prompt=True)
            return text[max((s.end for s in stretches(text, given.parts) if s.part), default=0) :]
        except (AttributionError, _FailureError):
            return None

    def _write(self, given: Given, add_generation_prompt: bool = False) -> str:
        roles = ", ".join(message["role"] for message in given.messages[:_ROLES_SHOWN])
        try:
            with bounded():
                context = self._template.new_context(
                    {
                        "messages": given.messages,
                        "tools": given.tools,
                        "documents": None,
                        "add_generation_prompt": add_generation_prompt,
                    }
                    | self._special_tokens
                )
                return concat(list(self._template.root_render_func(context)))
        except LimitError as error:
            self._refuse(f"{error} on messages of {roles}", "use a template that does less")
        except Exception as error:  # a template is a program: it may raise anything
            raise _FailureError(f"fails on messages of {roles}: {_reason(error)}") from error

    def _refuse(self, problem: str, advice: str, where: str = "") -> NoReturn:
        raise DataError(f"{where}the chat template {self.name} {problem}; {advice}") from None


def _notes(
    text: str, given: Given, cut: Sequence[Stretch], messages: Sequence[Message], form: Form
) -> Iterator[str]:
    """Notes on what a text leaves out on purpose. Raises `AttributionError` where it leaves out more."""
    yield from check_coverage(runs_of(text), cut, given.parts, messages, not form.thought_in_content)
    check_tools(str.__str__(text), cut, given.tools or (), messages)


def _reason(error: object) -> str:
    """What an error says, shortened: a template chooses the words, and could steer a terminal by them."""
    text = in_one_line(str(error)[:_REASON_SHOWN]) or type(error).__name__
    return text if len(str(error)) <= _REASON_SHOWN else f"{text}..."
