"""Verdicts on made-up losses, of which it is known what is wrong."""

import math

import pytest

from dae_sampler import InputError
from dae_sampler.corruption import parse
from dae_sampler.evaluation.diagnosis import History, copying, diagnose

LEVELS = [0.05, 0.1, 0.2, 0.4, 0.7, 1.1, 1.8, 4.0]
VARIANCE = 0.1


def mse(level):
    """Of the exact denoiser of N(mean, 0.1): what the excess by level looks like."""
    return VARIANCE * level**2 / (VARIANCE + level**2)


def history(excess, loss=None, floor=0.05, levels=LEVELS):
    """A run whose held-out excess and training loss take this course."""
    loss = loss or [value + floor for value in excess]
    rows = []
    for i, (held_out, trained) in enumerate(zip(excess, loss, strict=True), 1):
        row = {"step": 100 * i, "seconds": 10 * i, "loss": trained, "valid_loss": held_out + floor}
        row |= {"valid_excess": held_out} | {f"excess@{level:g}": mse(level) for level in levels}
        rows.append({name: str(value) for name, value in row.items()})
    return History.of(rows)


def kinds(made, corruption="gaussian(0.02..20)", images=50_000, held_out=2000, steps=1000, draws=True):
    return [found.kind for found in diagnose(made, parse(corruption), images, held_out, steps, draws)]


FALLING = [0.1 / t for t in range(1, 11)]
SETTLED = [0.05 + 0.05 * math.exp(-2 * t) for t in range(1, 11)]
RISING = [0.05 + 0.01 * abs(t - 4) for t in range(1, 11)]
LEARNT = [0.12 - 0.01 * t for t in range(1, 11)]


def test_a_loss_that_falls_until_the_end_is_still_falling():
    assert kinds(history(FALLING)) == ["still falling"]
    assert kinds(history(SETTLED)) == ["settled"]


def test_overfitting_is_dated_and_put_down_to_too_few_pictures():
    made = history(RISING, LEARNT)
    course, cause = diagnose(made, parse("gaussian(0.02..20)"), 500, 50, 1000, True)
    assert (course.kind, cause.kind) == ("overfitting", "too few pictures")
    assert "since step 400" in course.text
    assert "500" in cause.text


def test_a_rising_loss_alone_is_no_overfitting():
    assert "overfitting" not in kinds(history(RISING, [0.1 + 0.01 * t for t in range(10)]))


def test_training_that_leaves_held_out_images_behind_has_too_few_pictures():
    assert kinds(history(SETTLED, LEARNT)) == ["settled", "too few pictures"]
    assert kinds(history(SETTLED), images=8, held_out=0) == ["settled", "too few pictures"]


@pytest.mark.parametrize("brightness", [0.0, 0.05, 0.4])
def test_verdicts_do_not_hang_on_what_the_floors_happen_to_be(brightness):
    loss = [value + 0.05 + brightness for value in SETTLED]  # of training images, brighter than those held out
    assert kinds(history(SETTLED, loss)) == ["settled"]


@pytest.mark.parametrize(
    ("corruption", "levels", "words"),
    [
        ("gaussian(0.02..0.5)", [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.45], "raise the upper end"),
        ("gaussian(0.0001..20)", [1e-4, 3e-4, 1e-3, 2e-3, 0.01, 0.5, 2, 10], "raise the lower end"),
        ("gaussian(0.02..2000)", [0.1, 0.5, 1, 20, 100, 500, 1000, 1500], "lower the upper end"),
        ("gaussian(0.5..20)", [0.6, 0.8, 1, 1.5, 2, 5, 10, 15], "lower the lower end"),
    ],
)
def test_a_level_range_that_does_not_fit_is_named_with_the_end_that_is_wrong(corruption, levels, words):
    made = history(SETTLED, levels=levels)
    found = [f.text for f in diagnose(made, parse(corruption), 50_000, 2000, 1000, True) if f.kind == "level range"]
    assert any(words in text for text in found), found
    assert not any("raise" in text and "lower the upper" in text for text in found)


def test_the_upper_end_that_is_asked_for_is_then_high_enough():
    def texts(high):
        levels = [0.02 * (high / 0.02) ** ((i + 0.5) / 8) for i in range(8)]
        made = history(SETTLED, levels=levels)
        found = diagnose(made, parse(f"gaussian(0.02..{high})"), 50_000, 2000, 1000, True)
        return [f.text for f in found if "raise the upper end" in f.text]

    (text,) = texts(0.5)
    assert not texts(float(text.split(" to ")[-1].split()[0]))


def test_a_model_that_only_restores_needs_no_noise_to_start_from():
    made = history(SETTLED, levels=[0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.45])
    assert kinds(made, "gaussian(0.02..0.5)", draws=False) == ["settled"]


def test_samples_that_lie_on_training_images_are_copies_and_others_are_not():
    usual = [1 + i / 100 for i in range(100)]
    assert copying([0.01] * 32 + [1.5] * 32, usual).kind == "copies"
    assert copying(usual, usual).kind == "no copies"


def test_few_or_damaged_validations_are_said():
    assert kinds(history([0.1, 0.05]))[0] == "too early"
    with pytest.raises(InputError, match="not validated yet"):
        History.of([])
    with pytest.raises(InputError, match="valid_loss"):
        History.of([{"step": "1", "seconds": "1", "loss": "1"}])


@pytest.mark.parametrize(
    ("losses", "kind"), [(FALLING, "still falling"), (SETTLED, "settled"), (RISING, "overfitting")]
)
def test_the_course_of_a_loss_without_a_floor_is_told_too(losses, kind):
    rows = [
        {"step": f"{100 * i}", "seconds": "1", "loss": f"{trained}", "valid_loss": f"{loss - 1}"}
        for i, (loss, trained) in enumerate(zip(losses, LEARNT, strict=True), 1)
    ]
    assert kinds(History.of(rows), "given")[0] == kind


def test_a_tuned_model_is_not_judged_by_its_loss():
    made = diagnose(history(RISING, LEARNT), parse("gaussian(0.02..20)"), 50_000, 2000, 1000, True, tunes=True)
    assert [found.kind for found in made] == ["tuning"]
