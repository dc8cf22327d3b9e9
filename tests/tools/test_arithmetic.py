"""Values of expressions."""

import math
import time
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.tools.arithmetic import InvalidExpression, evaluate


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("2 ** 3 ** 2", "512"),
        ("-2 ** 2", "-4"),
        ("2 ** -1", "0.5"),
        ("7 // 2", "3"),
        ("-7 // 2", "-4"),
        ("-7 % 3", "2"),
        ("7.5 % -2", "-0.5"),
        ("0.1 + 0.2", "0.3"),
        ("10 / 4", "2.5"),
        ("10 / 5", "2"),
        ("100 * 1.19", "119"),
        ("12345678901234567890 * 98765432109876543210", "1219326311370217952237463801111263526900"),
        ("sqrt(16)", "4"),
        ("sqrt(2)", "1.4142135623730950488016887242096980785696718753769"),
        ("round(2.675, 2)", "2.68"),
        ("round(1234, -2)", "1200"),
        ("max(1, 2.5, 3)", "3"),
        ("min(4, abs(-3))", "3"),
        ("floor(-2.5) + ceil(2.1)", "0"),
        ("log(8, 2)", "3"),
        ("log10(1000)", "3"),
        ("sin(pi / 2)", "1"),
        ("1_000 * .5e1", "5000"),
        ("3 \u00d7 4 \u00f7 2 \u2212 1", "5"),
        ("1 ** 999999999999", "1"),
        ("(-1) ** 999999999999", "-1"),
        ("0 ** 0", "1"),
        ("1e400", "1E+400"),
    ],
)
def test_an_expression_has_a_value(expression: str, value: str) -> None:
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("9**9**9", "too large"),
        ("10 ** 3000 * 10 ** 20", "too large"),
        ("2 ** 999999999999", "too large"),
        ("1e99999 * 10", "too large"),
        ("exp(1e9)", "too large"),
        ("floor(1e9999)", "too large"),
        ("1 / 0", "divides by zero"),
        ("5 % 0", "divides by zero"),
        ("1.5 // 0", "divides by zero"),
        ("sqrt(-1)", "no value"),
        ("(-8) ** (1 / 3)", "no value"),
        ("sin(1e400)", "no value"),
        ("2 ^ 3", r"powers are written \*\*"),
        ("2(3)", "the end was expected"),
        ("(1", r"\) was expected"),
        ("", "A number was expected"),
        ("x + 1", "There is no x. There are: abs"),
        ("round(1, 2, 3)", "does not take 3"),
        ("round(1, 0.5)", "whole number of places"),
        ("__import__('os').system('id')", "There is no __import__"),
        ("(1).__class__", "cannot be read"),
        ("[1, 2]", "cannot be read"),
        ("\u0663 + 1", "cannot be read"),
        ("(" * 400, "nested"),
        ("-" * 400 + "1", "nested"),
        ("1 + " * 400 + "1", "longer than"),
    ],
)
def test_an_expression_without_a_value_is_explained(expression: str, expected: str) -> None:
    with pytest.raises(InvalidExpression, match=expected):
        evaluate(expression)


WHOLE_NUMBERS = st.integers(0, 10**30)


@given(
    st.recursive(
        WHOLE_NUMBERS.map(str),
        lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(
            lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
        ),
        max_leaves=12,
    )
)
def test_whole_numbers_are_exact(expression: str) -> None:
    assert int(evaluate(expression)) == eval(expression)


@given(WHOLE_NUMBERS, st.integers(1, 10**20))
def test_a_quotient_is_right_to_fifty_digits(a: int, b: int) -> None:
    value, exact = Fraction(Decimal(evaluate(f"{a} / {b}"))), Fraction(a, b)

    assert abs(value - exact) <= exact / 10**49


TOKENS = ["(", ")", "+", "-", "*", "/", "//", "%", "**", ",", "9", "1e9999", ".5", "round", "exp"]


@given(st.lists(st.sampled_from([*TOKENS, "sqrt", "floor", "pi", "ln", "sin"]), max_size=60))
def test_whatever_is_written_ends_soon_in_a_value_or_a_reason(tokens: list[Any]) -> None:
    started_at = time.process_time()
    with suppress(InvalidExpression):
        assert not math.isnan(Decimal(evaluate("".join(tokens))))

    assert time.process_time() - started_at < 2
