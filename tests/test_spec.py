import random

import pytest

from dae_sampler.errors import InputError
from dae_sampler.spec import Part, parse, parse_one

TEXTS = [
    "gaussian(0.5)",
    "gaussian(0.02..20, lognormal(-0.5, 1.2))",
    "masking(0.25)+gaussian(0.3)",
    "unet(width=64, blocks=2)",
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
