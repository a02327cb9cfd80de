"""Text form of the configurable parts: corruptions, densities, networks.

    chain  = part ("+" part)*                      masking(0.25)+gaussian(0.3)
    part   = name [ "(" value ("," value)* ")" ]   conv(code=64)
    value  = [ key "=" ] ( number | number ".." number | part | string )
    number = digits [ "/" digits ]                 gaussian(1/255..100/255)
    string = "'" characters "'"                    mask('hole.png'), only where the caller allows it

Numbers stay numbers, ``low..high`` is a pair ``(low, high)``, a nested part is a :class:`Part`. Nothing is
evaluated or imported, so a text from an untrusted file can do no more than fail to parse.
"""

from __future__ import annotations

import inspect
import math
import re
from dataclasses import dataclass, field
from typing import Any

from .errors import InputError, import_name, unknown

_TOKEN = re.compile(
    r"\s*(?:(\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|\.\d+)|([A-Za-z_][\w.:-]*)|(\.\.|[-+(),=/])|('[^']*')|(\S))"
)
_NUMBER, _NAME, _SYMBOL, _STRING = 1, 2, 3, 4
_MAX_LENGTH, _MAX_DEPTH = 1000, 8


class Fraction(float):
    """A number that was written as a fraction, and is shown as one."""

    def __new__(cls, over: float, under: float) -> Fraction:
        made = super().__new__(cls, over / under)
        made.parts = over, under
        return made

    parts: tuple[float, float]

    def __getnewargs__(self) -> tuple[float, float]:
        return self.parts


@dataclass(frozen=True)
class Part:
    """``name(*args, **options)`` before the name has been looked up."""

    name: str
    args: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        values = [show(a) for a in self.args] + [f"{k}={show(v)}" for k, v in self.options.items()]
        return f"{self.name}({', '.join(values)})" if values else self.name

    def build(self, what: str, classes: dict[str, Any], *leading: Any) -> Any:
        """Call the class of this name in ``classes`` with ``leading`` and these arguments.

        Raises:
            InputError: the name or an argument is not one that the class takes.
        """
        if self.name not in classes:
            raise unknown(what, self.name, classes)
        signature = inspect.signature(classes[self.name])
        try:
            signature.bind(*leading, *self.args, **self.options)
        except TypeError as error:
            own = list(signature.parameters.values())[len(leading) :]
            taken = ", ".join(str(parameter.replace(annotation=parameter.empty)) for parameter in own)
            raise InputError(f"{what} {self}: {error}; it takes {taken or 'nothing'}") from None
        return classes[self.name](*leading, *self.args, **self.options)


def show(value: Any) -> str:
    """The text that parses back to ``value`` exactly."""
    if isinstance(value, Fraction):
        return "/".join(map(show, value.parts))
    if isinstance(value, tuple):
        return f"{show(value[0])}..{show(value[1])}"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return f"'{value}'" if isinstance(value, str) else str(value)


def parse(text: str, strings: bool = False) -> list[Part]:
    """The parts of a chain, in order; with ``strings``, quoted strings may be values.

    Raises:
        InputError: ``text`` does not follow the grammar; the message has a caret under the spot.
    """
    return _Parser(text, strings).chain()


def parse_one(text: str) -> Part:
    """Like :func:`parse`, for a text that must be a single part."""
    parts = parse(text)
    if len(parts) != 1:
        raise InputError(f"{text!r} is a chain of {len(parts)} parts; only one is allowed here")
    return parts[0]


class _Parser:
    def __init__(self, text: str, strings: bool) -> None:
        self.text, self.strings, self.position, self.depth = text, strings, 0, 0
        if len(text) > _MAX_LENGTH:
            raise InputError(f"a text of {len(text)} characters is too long: at most {_MAX_LENGTH}")
        found = [(m, m.lastindex or 0) for m in _TOKEN.finditer(text)]
        self.tokens = [(m.group(kind), kind, m.start(kind)) for m, kind in found]
        self.tokens.append(("", 0, len(text)))

    def fail(self, expected: str) -> InputError:
        start = self.tokens[self.position][2]
        return InputError(f"cannot read this text: expected {expected} here\n  {self.text}\n  {' ' * start}^")

    def accept(self, symbol: str) -> bool:
        found = self.tokens[self.position][:2] == (symbol, _SYMBOL)
        self.position += found
        return found

    def expect(self, kind: int, expected: str) -> str:
        token, found, _ = self.tokens[self.position]
        if found != kind:
            raise self.fail(expected)
        self.position += 1
        return token

    def chain(self) -> list[Part]:
        parts = [self.part()]
        while self.accept("+"):
            parts.append(self.part())
        if self.tokens[self.position][1]:
            raise self.fail("'+' or the end")
        return parts

    def part(self) -> Part:
        name, args, options = self.expect(_NAME, "a name"), [], {}
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.fail("fewer nested parts")
        if self.accept("("):
            while not self.accept(")"):
                self.value(args, options)
                if not self.accept(",") and self.tokens[self.position][:2] != (")", _SYMBOL):
                    raise self.fail("',' or ')'")
        self.depth -= 1
        return Part(name, tuple(args), options)

    def value(self, args: list[Any], options: dict[str, Any]) -> None:
        if self.tokens[self.position + 1 :] and self.tokens[self.position + 1][:2] == ("=", _SYMBOL):
            key = self.expect(_NAME, "a key")
            self.accept("=")
            if key in options:
                raise self.fail(f"{key} only once")
            options[key] = self.literal()
        elif options:
            raise self.fail("key=value, as the values before it have keys")
        else:
            args.append(self.literal())

    def literal(self) -> Any:
        kind = self.tokens[self.position][1]
        if kind == _NAME:
            return self.part()
        if kind == _STRING and self.strings:
            return self.expect(_STRING, "a string").strip("'")
        low = self.number()
        return (low, self.number()) if self.accept("..") else low

    def number(self) -> int | float:
        sign = -1 if self.accept("-") else 1
        value = self.digits()
        if self.accept("/"):
            under = self.digits()
            if not under:
                self.position -= 1
                raise self.fail("a number other than 0")
            return Fraction(sign * value, under)
        return sign * value

    def digits(self) -> int | float:
        token = self.expect(_NUMBER, "a number")
        value = int(token) if token.isdigit() and len(token) < 16 else float(token)
        if not math.isfinite(value):
            self.position -= 1
            raise self.fail("a number that is not so large")
        return value


def parse_number(text: str, name: str) -> float:
    """A number or a fraction.

    Raises:
        InputError: it is neither; ``name`` says what it was given as.

    >>> parse_number("25/255", "level")
    0.09803921568627451
    """
    try:
        over, slash, under = text.partition("/")
        value = Fraction(float(over), float(under)) if slash else float(over)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"`{name}` {text!r} is no number: give one, or a fraction such as 25/255")
    return value


def parse_size(text: str) -> tuple[int, int]:
    """Width and height from ``SIDE`` or ``WIDTHxHEIGHT``, in pixels.

    Raises:
        InputError: it is neither, or a side is not from 2 to 8192 pixels.

    >>> parse_size("64"), parse_size("64x128")
    ((64, 64), (64, 128))
    """
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and 2 <= int(side) <= 8192 for side in sides):
        raise InputError(f"`size` {text!r} is no size: give SIDE or WIDTHxHEIGHT, each from 2 to 8192 pixels")
    return int(sides[0]), int(sides[-1])


def import_own(text: str, what: str, base: type, known: dict[str, Any]) -> None:
    """Import the classes that ``text`` names as ``module:Class``, and enter them into ``known``.

    Only for texts that the user wrote: a checkpoint never gets here.

    Args:
        text: what the user wrote.
        what: the parameter that it was given as.
        base: what the classes must derive from.
        known: the registry of such classes, by name.

    Raises:
        InputError: there is no such module, it fails, or it has no such class.
    """
    for name in (part.name for part in parse(text) if ":" in part.name):
        found = import_name(name, what)
        if not (isinstance(found, type) and issubclass(found, base)):
            raise InputError(f"{name} is no {what}: it has to be a subclass of {base.__name__}")
        known[name] = found
