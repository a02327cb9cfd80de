"""Training on whatever has a length and takes an index."""

import numpy as np
import pytest
import torch
from PIL import Image

from dae_sampler import DenoisingAutoencoder, InputError, Recipe, StopTraining, fit

PIXELS = np.random.default_rng(0).integers(256, size=(40, 1, 6, 6), dtype=np.uint8)
SHORT = Recipe(steps=3, batch=8, every=3, held_out=4)


class Counting(torch.utils.data.Dataset):
    """A map-style data set of (image, label) that says which items were asked for."""

    def __init__(self, form):
        self.form, self.asked = form, []

    def __len__(self):
        return len(PIXELS)

    def __getitem__(self, i):
        self.asked.append(i)
        return self.form(PIXELS[i]), i % 10


def weights(images, recipe=SHORT, **options):
    return fit(DenoisingAutoencoder("dense(4)", shape=(1, 6, 6)), images, recipe, **options).state_dict()


@pytest.mark.parametrize(
    "form",
    [torch.from_numpy, lambda x: x[0], lambda x: np.moveaxis(x, 0, 2), lambda x: Image.fromarray(x[0])],
    ids=["tensor", "grey", "channels last", "Pillow"],
)
def test_a_map_style_data_set_trains_as_its_images_would(form):
    torch.testing.assert_close(weights(Counting(form)), weights(PIXELS), atol=0, rtol=0)


def test_floats_and_bits_are_taken_as_arrays_of_them_are():
    floats = [x.astype(np.float64) / 255 for x in PIXELS]
    torch.testing.assert_close(weights(floats), weights(np.stack(floats)), atol=0, rtol=0)
    bits = [x[0] > 127 for x in PIXELS]
    torch.testing.assert_close(weights(bits), weights((PIXELS > 127).astype(np.float32)), atol=1e-6, rtol=0)


def test_no_more_items_are_read_than_batches_take():
    source = Counting(torch.from_numpy)
    weights(source, Recipe(steps=2, batch=3, every=2, held_out=4))
    assert len(source.asked) <= 1 + 2 * 3 + 4 + 16  # the first, batches, held-out ones, a fingerprint


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (iter(PIXELS), "needs a length and an index"),
        ([], "there are none"),
        (["a", "b"], "has the shape"),
        ([PIXELS[0]] * 9 + [PIXELS[0][:, :4]] * 9, "sizes differ"),
        ([PIXELS[0]] * 9 + [PIXELS[0] / 255.0] * 9, "(?s)alike|outside"),
        ([x + 3.0 for x in PIXELS], "beyond|outside|from"),
    ],
    ids=["iterator", "empty", "text", "sizes", "types", "values"],
)
def test_what_is_no_data_set_of_images_is_refused(source, words):
    with pytest.raises(InputError, match=words):
        weights(source)


def test_a_callback_ends_training_with_the_best_weights(tmp_path):
    from dae_sampler import Run, load

    seen = []

    def end(progress):
        seen.append(progress.step)
        if progress.validation:
            raise StopTraining

    made = weights(PIXELS, Recipe(steps=50, batch=8, every=2, held_out=4), run=Run(tmp_path), on_progress=end)
    assert seen == [1, 2]
    torch.testing.assert_close(load(tmp_path).state_dict(), made)
    assert Run(tmp_path).done() == 2


def test_whole_numbers_of_no_known_white_are_refused():
    with pytest.raises(InputError, match="are int64: give uint8"):
        weights([pixels.astype(np.int64) for pixels in PIXELS])
