"""Evaluation of arithmetic: exact for whole numbers, else decimals of fifty digits.

    sum     = product (("+" | "-") product)*
    product = sign (("*" | "/" | "//" | "%") sign)*
    sign    = ("+" | "-") sign | power
    power   = atom ("**" sign)?
    atom    = number | name | name "(" sum ("," sum)* ")" | "(" sum ")"

Nothing is ever run as code, and whatever is written here ends soon: numbers that would grow beyond
three thousand digits are refused before they are made.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import (
    ROUND_CEILING,
    ROUND_FLOOR,
    Context,
    Decimal,
    DecimalException,
    DivisionByZero,
    InvalidOperation,
    Overflow,
)
from functools import partial

import msgspec

Number = int | Decimal

MAX_LENGTH = 1000  # characters of an expression
MAX_DEPTH = 50
MAX_BITS = 10_000  # of a whole number: some 3000 digits


class InvalidExpression(ValueError):
    """Error in an expression, described for its author."""


def evaluate(expression: str) -> str:
    """Return the value as text. Raises `InvalidExpression`."""
    if len(expression) > MAX_LENGTH:
        raise InvalidExpression(f"The expression is longer than {MAX_LENGTH} characters.")
    try:
        return _format(_Parser(_tokenize(expression)).whole())
    except (ZeroDivisionError, DivisionByZero) as error:
        raise InvalidExpression("This divides by zero.") from error
    except (Overflow, OverflowError) as error:
        raise InvalidExpression("The result is too large.") from error
    except (DecimalException, ValueError, TypeError) as error:
        if isinstance(error, InvalidExpression):
            raise
        raise InvalidExpression("This has no value among the real numbers.") from error


class _Token(msgspec.Struct, frozen=True):
    kind: str
    text: str


_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z_0-9]*)"
    r"|(?P<sign>\*\*|//|[-+*/%(),]))",
    re.ASCII,
)
_SPOKEN = str.maketrans({"\u00d7": "*", "\u00f7": "/", "\u2212": "-", "\u00b7": "*"})
_END = _Token("end", "the end")
_ARITHMETIC = Context(
    prec=50, Emax=99_999, Emin=-99_999, traps=[DivisionByZero, InvalidOperation, Overflow]
)


def _tokenize(expression: str) -> Iterator[_Token]:
    text = expression.translate(_SPOKEN).rstrip()
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            hint = "; powers are written **" if "^" in text[at:] else ""
            raise InvalidExpression(f"{text[at:].strip()[:20]!r} cannot be read{hint}.")
        kind = str(found.lastgroup)
        yield _Token(kind, found[kind])
        at = found.end()
    yield _END


class _Parser:
    """Recursive-descent parser that evaluates as it reads: one method per line of the grammar."""

    def __init__(self, tokens: Iterator[_Token]) -> None:
        self._tokenize = tokens
        self._next = next(tokens)
        self._depth = 0

    def whole(self) -> Number:
        value = self._sum()
        self._expect(_END.text)
        return value

    def _sum(self) -> Number:
        value = self._product()
        while (sign := self._accept("+", "-")) is not None:
            value = _BINARY[sign](value, self._product())
        return value

    def _product(self) -> Number:
        value = self._parse_sign()
        while (sign := self._accept("*", "/", "//", "%")) is not None:
            value = _BINARY[sign](value, self._parse_sign())
        return value

    def _parse_sign(self) -> Number:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise InvalidExpression(f"The expression is nested more than {MAX_DEPTH} deep.")
        match self._accept("+", "-"):
            case "-":
                value = _negate(self._parse_sign())
            case "+":
                value = self._parse_sign()
            case _:
                value = self._power()
        self._depth -= 1
        return value

    def _power(self) -> Number:
        value = self._atom()
        return _power(value, self._parse_sign()) if self._accept("**") else value

    def _atom(self) -> Number:
        token = self._advance()
        match token:
            case _Token("number", text):
                digits = text.replace("_", "")
                if digits.isdigit():
                    return _check_bounds(int(digits))
                return _ARITHMETIC.create_decimal(digits)
            case _Token("name", name) if self._next.text == "(":
                return self._call(name)
            case _Token("name", name) if name in _CONSTANTS:
                return _CONSTANTS[name]
            case _Token("name", name):
                raise _unknown(name)
            case _Token(text="("):
                value = self._sum()
                self._expect(")")
                return value
            case _:
                raise InvalidExpression(f"A number was expected, and {token.text} came.")

    def _call(self, name: str) -> Number:
        if name not in _FUNCTIONS:
            raise _unknown(name)
        self._expect("(")
        arguments: list[Number] = []
        while not arguments or self._accept(","):
            arguments.append(self._sum())
        self._expect(")")
        try:
            return _FUNCTIONS[name](*arguments)
        except TypeError as error:
            raise InvalidExpression(f"{name} does not take {len(arguments)} numbers.") from error

    def _advance(self) -> _Token:
        token = self._next
        self._next = next(self._tokenize, _END)
        return token

    def _accept(self, *texts: str) -> str | None:
        return self._advance().text if self._next.text in texts else None

    def _expect(self, text: str) -> None:
        token = self._advance()
        if token.text != text:
            raise InvalidExpression(f"{text} was expected, and {token.text} came.")


def _unknown(name: str) -> InvalidExpression:
    known = ", ".join([*_FUNCTIONS, *_CONSTANTS])
    return InvalidExpression(f"There is no {name[:20]}. There are: {known}.")


def _check_bounds(value: int) -> int:
    if value.bit_length() > MAX_BITS:
        raise OverflowError
    return value


def _decimal(value: Number) -> Decimal:
    return _ARITHMETIC.create_decimal(value)


def _multiply(a: Number, b: Number) -> Number:
    if isinstance(a, int) and isinstance(b, int):
        return _check_bounds(a * b)
    return _ARITHMETIC.multiply(_decimal(a), _decimal(b))


def _add(a: Number, b: Number) -> Number:
    if isinstance(a, int) and isinstance(b, int):
        return _check_bounds(a + b)
    return _ARITHMETIC.add(_decimal(a), _decimal(b))


def _negate(a: Number) -> Number:
    return -a if isinstance(a, int) else _ARITHMETIC.minus(a)


def _divide(a: Number, b: Number) -> Number:
    if isinstance(a, int) and isinstance(b, int) and a % b == 0:
        return a // b
    return _ARITHMETIC.divide(_decimal(a), _decimal(b))


def _floor_divide(a: Number, b: Number) -> Number:
    """Divide, rounding down as Python does for whole numbers; decimals would round towards zero."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    return _floor(_divide(a, b))


def _remainder(a: Number, b: Number) -> Number:
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    rest = _ARITHMETIC.remainder(_decimal(a), _decimal(b))
    return _add(rest, b) if rest and (rest < 0) != (b < 0) else rest


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0:
        if abs(base) < 2:  # of its exponent only 0, odd and even matter
            return int(base ** min(exponent, 2 - exponent % 2))
        if exponent > MAX_BITS or base.bit_length() * exponent > 2 * MAX_BITS:
            raise OverflowError
        return _check_bounds(int(base**exponent))
    return _ARITHMETIC.power(_decimal(base), _decimal(exponent))


def _whole(value: Number, rounding: str) -> int:
    if isinstance(value, int):
        return value
    if value.adjusted() > MAX_BITS * 0.3:
        raise OverflowError
    return _check_bounds(int(value.to_integral_value(rounding)))


def _floor(value: Number) -> int:
    return _whole(value, ROUND_FLOOR)


def _round(value: Number, places: Number = 0) -> Number:
    if not isinstance(places, int) or abs(places) > 100:
        raise InvalidExpression("round takes a whole number of places, at most 100.")
    if isinstance(value, int) and places >= 0:
        return value
    rounded = round(Decimal(value), places)  # to even, as Python and its readers have it
    return rounded if places > 0 else int(rounded)


def _root(value: Number) -> Number:
    if isinstance(value, int) and value >= 0 and math.isqrt(value) ** 2 == value:
        return math.isqrt(value)
    return _ARITHMETIC.sqrt(_decimal(value))


def _logarithm(value: Number, base: Number | None = None) -> Number:
    if base is None:
        return _ARITHMETIC.ln(_decimal(value))
    return _divide(_ARITHMETIC.ln(_decimal(value)), _ARITHMETIC.ln(_decimal(base)))


def _by_decimal(function: Callable[[Decimal], Decimal]) -> Callable[[Number], Number]:
    return lambda value: function(_decimal(value))


def _by_float(function: Callable[[float], float]) -> Callable[[Number], Number]:
    return lambda value: Decimal(repr(function(float(value))))


_BINARY: Mapping[str, Callable[[Number, Number], Number]] = {
    "+": _add,
    "-": lambda a, b: _add(a, _negate(b)),
    "*": _multiply,
    "/": _divide,
    "//": _floor_divide,
    "%": _remainder,
}
_FUNCTIONS: Mapping[str, Callable[..., Number]] = {
    "abs": abs,
    "min": lambda *values: min(values),
    "max": lambda *values: max(values),
    "round": _round,
    "floor": _floor,
    "ceil": partial(_whole, rounding=ROUND_CEILING),
    "sqrt": _root,
    "exp": _by_decimal(_ARITHMETIC.exp),
    "ln": _by_decimal(_ARITHMETIC.ln),
    "log": _logarithm,
    "log10": _by_decimal(_ARITHMETIC.log10),
    "sin": _by_float(math.sin),
    "cos": _by_float(math.cos),
    "tan": _by_float(math.tan),
}
_CONSTANTS: Mapping[str, Number] = {
    "pi": Decimal("3.1415926535897932384626433832795028841971693993751"),
    "e": Decimal("2.7182818284590452353602874713526624977572470937000"),
}


def _format(value: Number) -> str:
    if isinstance(value, int):
        return str(value)
    if not value.is_finite():
        raise OverflowError
    if value == value.to_integral_value() and abs(value.adjusted()) < 50:
        return str(int(value))
    plain = value.normalize(_ARITHMETIC)
    return f"{plain:f}" if -20 < plain.adjusted() < 50 else str(plain)
