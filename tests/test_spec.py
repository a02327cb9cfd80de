import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dae_sampler import corruption
from dae_sampler.errors import InputError
from dae_sampler.spec import Part, parse, parse_number, parse_one

TEXTS = [
    "gaussian(0.5)",
    "gaussian(0.02..20, lognormal(-0.5, 1.2))",
    "masking(0.25)+gaussian(0.3)",
    "unet(64, 128, blocks=2)",
    "salt-pepper(1e-05..0.9)",
    "dense(128, 64, 28)",
    "unet",
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_a_round_trip(text):
    parts = parse(text)
    assert "+".join(map(str, parts)) == text
    assert parse("+".join(map(str, parts))) == parts


def test_spaces_do_not_matter():
    assert parse(" masking( .25 ) +gaussian(0.02 .. 20 )") == parse("masking(0.25)+gaussian(0.02..20)")


def test_a_fraction_is_shown_as_it_was_written():
    assert str(Part("a", (), {"sigma": parse_number("25/255", "noise")})) == "a(sigma=25/255)"


def test_every_float_survives():
    draw = random.Random(0)
    for _ in range(300):
        value = draw.choice([draw.random(), draw.random() * 10 ** draw.randint(-30, 30), draw.randint(-9, 9)])
        assert parse_one(str(Part("a", (value,)))).args == (value,)


@pytest.mark.parametrize(
    ("text", "caret"),
    [
        ("gaussian(0.5", 12),
        ("gaussian(,)", 9),
        ("(0.5)", 0),
        ("gaussian(0.5)x", 13),
        ("a(b=)", 4),
        ("a($)", 2),
        ("a(b=1, b=2)", 9),
        ("", 0),
    ],
)
def test_errors_point_at_the_spot(text, caret):
    with pytest.raises(InputError) as error:
        parse(text)
    assert str(error.value).splitlines()[-1].index("^") == caret + 2


def test_absurd_texts_are_refused():
    for text in ("a(" * 900, "x" * 5000, "a(" * 400 + ")" * 400):
        with pytest.raises(InputError):
            parse(text)


NUMBERS = st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,9}", fullmatch=True)
VALUES = st.recursive(
    NUMBERS | st.tuples(NUMBERS, NUMBERS),
    lambda inner: st.builds(Part, NAMES, st.lists(inner, max_size=3).map(tuple)),
    max_leaves=5,
)
PARTS = st.builds(Part, NAMES, st.lists(VALUES, max_size=3).map(tuple), st.dictionaries(NAMES, VALUES, max_size=2))


@given(PARTS)
def test_any_part_is_a_round_trip(part):
    if len(str(part)) <= 1000:
        assert parse_one(str(part)) == part


@given(st.text(max_size=60) | st.text("gausinmk(),.+=0123456789e- ", max_size=40))
def test_any_text_parses_or_is_refused_in_words(text):
    with contextlib.suppress(InputError):
        found = corruption.parse(text)
        assert corruption.parse(str(found)) == found
