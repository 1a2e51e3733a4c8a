"""The environment that transformers gives to chat templates, with limits on what a template may cost.

Texts of messages keep whose they are (`traced`): what Jinja joins is joined by `concat`, loops say which
message they are at, and functions that make texts of texts are `functions`' own, or lose it.

Jinja's sandbox keeps a template from the interpreter. Here are the places where it could grow or go on
without end, each of which is charged to the rendering's `Budget`: turns of loops, calls, filters, the
operators `+ * ** %` and `~`, lists written out, and what is written. Of texts and numbers, only methods that
are charged are allowed.
"""

import datetime
import functools
import re
from collections.abc import Callable
from typing import Any, Final

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.runtime
import jinja2.sandbox
import jinja2.visitor

from im_jax.data.templates import functions
from im_jax.data.templates.given import GivenMessage
from im_jax.data.templates.limits import (
    MAX_BITS,
    MAX_DEPTH,
    MAX_NESTED,
    MAX_TEXT,
    LimitError,
    current,
    size_of,
)
from im_jax.data.templates.traced import Enter, Leave, Traced, Turn, concat, join, lost, mark, parts_of

_TEXT_METHODS: Final = frozenset(
    [
        *(
            "capitalize",
            "casefold",
            "count",
            "endswith",
            "find",
            "format",
            "index",
            "join",
            "lower",
            "lstrip",
        ),
        *("isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric"),
        *("isprintable", "isspace", "istitle", "isupper", "partition", "removeprefix", "removesuffix"),
        *("lstrip", "replace", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "split", "splitlines"),
        *("startswith", "strip", "swapcase", "title", "upper"),
    ]
)
"""Methods of a text that make it longer by no more than is charged for."""
_WIDE: Final = re.compile(r"\d{5}")
"""A width in a format, such as `%099999d`."""
_WIDTH_GIVEN: Final = re.compile(r"\*|\{[^{}]*\{")
"""A width that is a value, as in `%*d` and `{:{}}`."""
_MAX_WIDTH: Final = 10_000
_WITH_WIDTH: Final = ("batch", "center", "indent", "round", "slice", "tojson", "truncate", "wordwrap")
"""Filters of which a number may be a width, a number of parts or of digits."""


class Environment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """A sandbox that charges what a template does."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])

    concat = staticmethod(concat)

    def __init__(self, now: datetime.datetime | None = None) -> None:
        """`now`: what templates that write a date take it to be; None: what it is."""
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_GenerationTag, jinja2.ext.loopcontrols],
            finalize=_written,
        )
        del self.globals["lipsum"]
        self.filters |= functions.FILTERS
        self.filters = {name: _charged(name, function) for name, function in self.filters.items()}
        self.globals["raise_exception"] = functions.raise_exception
        self.globals["strftime_now"] = functools.partial(_strftime, now)

    def _parse(self, source: str, name: str | None, filename: str | None) -> jinja2.nodes.Template:
        """The template's tree, before Jinja makes a program of it."""
        parsed = super()._parse(source, name, filename)
        waiting: list[tuple[jinja2.nodes.Node, int]] = [(parsed, 0)]
        while waiting:
            node, depth = waiting.pop()
            depth += isinstance(node, jinja2.nodes.Stmt)
            if depth > MAX_NESTED:
                raise LimitError(f"it nests more than {MAX_NESTED} blocks")
            waiting += [(child, depth) for child in node.iter_child_nodes()]
        return parsed

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        """The operators of `intercepted_binops`, refused before they make something too large."""
        current().steps()
        _check_operands(operator, left, right)
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return current().made(
                concat((left, right)) if Traced in (type(left), type(right)) else left + right
            )
        made = super().call_binop(context, operator, left, right)
        if operator == "%" and type(made) is str:
            made = lost(made, "%", left, right)
        return current().made(made)

    def call(*args: Any, **kwargs: Any) -> Any:
        """A call out of a template: of a macro, a method, a global function or a recursive loop."""
        self, context, function, *given = args  # as Jinja does, so that no name is taken from the arguments
        if getattr(function, "__self__", None) is self:
            return function(*given)  # put here by `_Charging`: no template names a method of its environment
        budget = current()
        budget.steps()
        if isinstance(function, jinja2.runtime.LoopContext) and given:
            given[0] = self.turns(given[0], self.literal)
        if isinstance(function, jinja2.runtime.Macro):
            budget.text(self.literal)
        _check_method(function, given)
        function = _tracing(function, given)
        budget.depth += 1
        if budget.depth > MAX_DEPTH:
            raise LimitError(f"calls itself more than {MAX_DEPTH} deep")
        try:
            return budget.made(
                jinja2.sandbox.ImmutableSandboxedEnvironment.call(self, context, function, *given, **kwargs)
            )
        finally:
            budget.depth -= 1

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Also refuses methods of texts and numbers that make something of any size."""
        if isinstance(obj, str | bytes | int | float):
            return isinstance(obj, str) and attr in _TEXT_METHODS
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """The method `format` of a text, in the sandbox's own way; `format_map` is refused as others are."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None or value.__name__ != "format":
            return None

        def charged(*args: Any, **kwargs: Any) -> str:
            _check_format(value.__self__, [*args, *kwargs.values()])
            return lost(wrapped(*args, **kwargs), "format", value.__self__, args, kwargs)

        return charged

    literal = 0
    """Characters that the template writes by itself, at most, in a macro."""

    def turns(self, items: Any, literal: int) -> Any:
        """See `Budget.turns`."""
        return current().turns(items, literal)

    def made(self, value: Any) -> Any:
        """See `Budget.made`."""
        return current().made(value)

    def joined(self, *parts: Any) -> str:
        """The operator `~`."""
        current().steps()
        current().text(sum(size_of(part)[1] for part in parts))
        return concat([str(part) for part in parts])

    def turn(self, item: Any) -> str:
        """A mark that a loop is at this item, where it is a message or goes with one."""
        if isinstance(item, GivenMessage):
            return mark(Turn(item.number))
        if isinstance(item, tuple):
            return next((mark(Turn(part.number)) for part in item if isinstance(part, GivenMessage)), "")
        return ""

    def enter(self) -> str:
        """A mark that a loop begins."""
        return _ENTER

    def leave(self) -> str:
        """A mark that a loop ends."""
        return _LEAVE

    def _generate(self, source: jinja2.nodes.Template, *args: Any, **kwargs: Any) -> str:
        self.literal = _literal_characters(source)
        return super()._generate(_Charging().visit(source), *args, **kwargs)


_ENTER: Final = mark(Enter())
_LEAVE: Final = mark(Leave())


class _Charging(jinja2.visitor.NodeTransformer):
    """Puts the environment's functions around loops, lists and `~`, and marks at the turns of loops."""

    def visit_For(self, node: jinja2.nodes.For) -> list[jinja2.nodes.Node]:
        literal = jinja2.nodes.Const(_literal_characters(node))
        self.generic_visit(node)
        node.iter = _call("turns", node.iter, literal)
        node.body.insert(0, _written_call("turn", _loaded(node.target)))
        return [_written_call("enter"), node, _written_call("leave")]

    def visit_Concat(self, node: jinja2.nodes.Concat) -> jinja2.nodes.Expr:
        self.generic_visit(node)
        return _call("joined", *node.nodes)

    def visit_List(self, node: jinja2.nodes.List) -> jinja2.nodes.Expr:
        self.generic_visit(node)
        return _call("made", node)

    def visit_Dict(self, node: jinja2.nodes.Dict) -> jinja2.nodes.Expr:
        self.generic_visit(node)
        return _call("made", node)

    def visit_Tuple(self, node: jinja2.nodes.Tuple) -> jinja2.nodes.Expr:
        self.generic_visit(node)
        return node if node.ctx == "store" else _call("made", node)


def _call(name: str, *arguments: Any) -> jinja2.nodes.Expr:
    return jinja2.nodes.Call(jinja2.nodes.EnvironmentAttribute(name), list(arguments), [], None, None)


def _written_call(name: str, *arguments: Any) -> jinja2.nodes.Output:
    return jinja2.nodes.Output([_call(name, *arguments)])


def _loaded(target: jinja2.nodes.Node) -> jinja2.nodes.Expr:
    """The value of what a loop assigns to."""
    if isinstance(target, jinja2.nodes.Tuple):
        return jinja2.nodes.Tuple([_loaded(item) for item in target.items], "load")
    return jinja2.nodes.Name(target.name, "load") if isinstance(target, jinja2.nodes.Name) else _NOTHING


_NOTHING: Final = jinja2.nodes.Const(None)


def _literal_characters(node: jinja2.nodes.Node) -> int:
    return sum(len(data.data) for data in node.find_all(jinja2.nodes.TemplateData))


def _check_operands(operator: str, left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        bits = {"*": left.bit_length() + right.bit_length(), "**": left.bit_length() * max(right, 1)}
        if bits.get(operator, 0) > MAX_BITS:
            raise LimitError(f"makes a number of more than {MAX_BITS:,} bits")
    elif operator == "*":
        for value, times in ((left, right), (right, left)):
            if isinstance(value, str | list | tuple) and isinstance(times, int):
                current().text(len(value) * max(times, 0))
    elif operator == "%" and isinstance(left, str):
        _check_format(left, right if isinstance(right, tuple) else (right,))


def _check_format(form: str, values: Any) -> None:
    """A format, and what is filled in: no width, and no value for each place, may make it too large."""
    if _WIDE.search(form) or (_WIDTH_GIVEN.search(form) and any(map(_is_wide, values))):
        raise LimitError(f"formats with a width above {_MAX_WIDTH:,}")
    places = form.count("%") + form.count("{")
    current().text(len(form) + places * (size_of(list(values))[1] + _MAX_WIDTH // 10))


def _is_wide(value: Any) -> bool:
    return isinstance(value, int) and abs(value) > _MAX_WIDTH


def _check_method(function: Any, given: list[Any]) -> None:
    """Charge a method of a text, before it makes a longer one."""
    text, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    current().used(text)
    for value in given:
        current().used(value)
    if name == "replace" and isinstance(text, str) and len(given) > 1:
        _check_replace(text, *given[:2])
    elif name == "join" and isinstance(text, str) and given:
        given[0] = list(given[0])
        current().text(size_of(given[0])[1] + len(text) * len(given[0]))


def _check_replace(text: Any, old: Any, new: Any) -> None:
    times = str(text).count(str(old)) if str(old) else len(str(text)) + 1
    if len(str(text)) + times * len(str(new)) > MAX_TEXT:
        raise LimitError(f"makes a text of more than {MAX_TEXT >> 20} million characters")


def _tracing(function: Any, given: list[Any]) -> Any:
    """The method of a plain text that is to keep whose the texts are that it is given."""
    text, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if type(text) is not str or name not in ("join", "replace") or not any(True for _ in parts_of(given)):
        return function
    kept: Callable[..., str] = join if name == "join" else functions.replace
    return functools.partial(kept, text)


def _charged(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that is charged for what it is given and what it makes."""

    @functools.wraps(function)
    def charged(*args: Any, **kwargs: Any) -> Any:
        budget = current()
        budget.steps()
        values = list(args[1:] if hasattr(function, "jinja_pass_arg") else args)
        numbers = [v for v in (*values[1:], *kwargs.values()) if isinstance(v, int)]
        if name in _WITH_WIDTH and any(map(_is_wide, numbers)):
            raise LimitError(f"gives the filter `{name}` a number above {_MAX_WIDTH:,}")
        for value in values:
            budget.used(value)
        if name in ("join", "string", "tojson", "pprint", "indent", "format") and values:
            _, characters = size_of(values[0])
            rows = str(values[0]).count("\n") + 1 if name == "indent" else 1
            budget.text(characters + sum(min(abs(n), _MAX_WIDTH) for n in numbers) * rows)
        if name == "format" and isinstance(values[0], str):
            _check_format(values[0], [*values[1:], *kwargs.values()])
        if name == "replace" and len(values) > 2:
            _check_replace(*values[:3])
        made = function(*args, **kwargs)
        if name in functions.LOSING:
            made = lost(made, name, *values, kwargs)
        return budget.made(made)

    return charged


@jinja2.pass_context
def _written(context: jinja2.runtime.Context, value: Any) -> Any:
    """Charge what `{{ }}` writes. (With a context, since Jinja would write constants while it compiles.)"""
    budget = current()
    budget.steps()
    budget.text(len(value) if isinstance(value, str) else size_of(value)[1])
    return value


class _GenerationTag(jinja2.ext.Extension):
    """Accepts `{% generation %}...{% endgeneration %}`, which marks what the assistant writes."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body).set_lineno(line)


def _strftime(now: datetime.datetime | None, form: str) -> str:
    _check_format(form, ())
    return (now or datetime.datetime.now()).strftime(form)
