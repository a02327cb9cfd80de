import numpy as np
import pytest
import torch
from PIL import Image

from dae_sampler import data
from dae_sampler.data.labels import from_names
from dae_sampler.data.named import load, load_crops
from dae_sampler.data.pairs import load_pairs
from dae_sampler.errors import InputError


@pytest.fixture
def animals(tmp_path):
    """Two cats, a dog deeper down, a picture of nothing, and one that cannot be read before the dog."""
    for i, name in enumerate(("cat/0.png", "cat/1.png", "dog/big/2.png", "other.png")):
        path = tmp_path / "animals" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 10 * i + 10).save(path)
    (tmp_path / "animals" / "cat" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "animals"


def by_brightness(loaded):
    """The label of each image that is there, by its grey value."""
    batch = loaded.take(torch.arange(len(loaded)))
    names = [*loaded.labels.names, None]
    return {int(x[0, 0, 0]): names[label] for x, label in zip(batch.x, batch.label, strict=True)}


def test_the_first_subfolder_is_the_class_also_where_files_are_skipped(animals):
    loaded = data.load(animals, labels="auto")
    assert loaded.labels.names == ("cat", "dog")
    assert by_brightness(loaded) == {10: "cat", 20: "cat", 30: "dog", 40: None}
    assert "1 of the images have no label and are trained on without one" in loaded.notes
    assert len(loaded.skipped) == 1
    assert data.load(animals).take(torch.tensor([0])).label is None


def test_a_table_gives_the_class_by_the_path(animals, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("file,mood,label\ncat/1.png,good,b\ndog/big/2.png,bad,a\ncat/0.png,bad,\n")
    assert by_brightness(data.load(animals, labels=str(table))) == {10: None, 20: "b", 30: "a", 40: None}


def test_crops_and_pairs_have_the_class_of_their_picture(animals, tmp_path, monkeypatch):
    def of_rows(crops):
        batch = crops.take(torch.arange(int(crops.ends[-1])))
        return {(int(x[0, 0, 0]), label) for x, label in zip(batch.x, batch.label.tolist(), strict=True)}

    expected = {(10, 0), (20, 0), (30, 1), (40, -1)}
    assert of_rows(load_crops(animals, 4, labels="auto")) == expected
    monkeypatch.setattr("dae_sampler.data.memory.IN_MEMORY", 0)
    for _ in range(2):  # decoded into a file, then read from it
        assert of_rows(load_crops(animals, 4, labels="auto", root=tmp_path)) == expected
    (animals / "cat" / "broken.png").unlink()
    pairs = load_pairs(animals, animals, 4, labels="auto")
    assert pairs.has_pairs
    assert of_rows(pairs) == expected


@pytest.mark.parametrize("text", ["name,label\n1,2\n", "file,label\nelsewhere.png,cat\n", "", "file,label\n"])
def test_a_table_that_cannot_be_meant_is_refused(animals, tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=r"t\.csv"):
        data.load(animals, labels=str(tmp_path / "t.csv"))


def test_arrays_have_theirs_beside_them_or_in_a_table_by_number(tmp_path):
    x = np.arange(3, dtype=np.uint8).repeat(16).reshape(3, 4, 4) * 100
    np.savez(tmp_path / "a.npz", x=x, y=np.array([10, 9, 10]))
    loaded = data.load(tmp_path / "a.npz", labels="auto")
    assert (loaded.labels.names, loaded.labels.numbers.tolist()) == (("9", "10"), [1, 0, 1])
    np.save(tmp_path / "a.npy", x)
    (tmp_path / "t.csv").write_text("file,label\n2,blue\n0,red\n")
    assert by_brightness(data.load(tmp_path / "a.npy", labels=str(tmp_path / "t.csv"))) == {
        0: "red",
        100: None,
        200: "blue",
    }
    for odd in ("a.npy", "short.npz"):
        np.savez(tmp_path / "short.npz", x=x, y=np.arange(2))
        with pytest.raises(InputError, match="`labels`"):
            data.load(tmp_path / odd, labels="auto")


def test_named_sets_know_theirs(data_root):
    loaded = data.load("mnist", root=data_root, labels="auto")
    assert loaded.labels.names == tuple("0123456789")
    assert loaded.labels.numbers[:5].tolist() == [5, 0, 4, 1, 9]
    digits = data.load("digits", labels="auto")
    assert digits.labels.numbers[:5].tolist() == [0, 1, 2, 3, 4]


def test_other_labels_are_other_data(tmp_path):
    x = np.zeros((3, 4, 4), np.uint8)
    for i, y in enumerate(([0, 1, 0], [0, 1, 1])):
        np.savez(tmp_path / f"{i}.npz", x=x, y=y)
    prints = {data.load(tmp_path / f"{i}.npz", labels=how).fingerprint() for i in (0, 1) for how in ("auto", None)}
    assert len(prints) == 3


def test_folders_without_subfolders_have_none(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="no subfolders"):
        data.load(tmp_path, labels="auto")


def test_classes_are_in_the_order_of_people():
    assert from_names(["10", "9", "-1"]).names == ("-1", "9", "10")
    assert from_names(["b", "10", "a"]).names == ("10", "a", "b")


def test_numbers_as_long_as_a_line_are_names():
    assert from_names(["1" * 5000, "2"]).names == ("1" * 5000, "2")


def test_the_number_minus_one_is_no_class_and_images_without_are_counted(tmp_path, data_root):
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 8, 8), np.uint8), y=np.array([-1, 0, 2, -1]))
    dataset = load(tmp_path / "x.npz", labels="auto")
    assert (dataset.labels.names, dataset.labels.numbers.tolist()) == (("0", "2"), [-1, 0, 1, -1])
    assert any("2 of the images have no label" in note for note in dataset.notes)
    (tmp_path / "few.csv").write_text("file,label\n0,five\n")
    dataset = load("mnist", root=data_root, labels=str(tmp_path / "few.csv"))
    assert any("59999 of the images have no label" in note for note in dataset.notes)
