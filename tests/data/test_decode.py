import json
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from dae_sampler import data
from dae_sampler.data import decode as decoding
from dae_sampler.data import memory, workers
from dae_sampler.errors import InputError


@pytest.fixture
def folder(tmp_path):
    for i in range(6):
        place = tmp_path / "pictures" / f"class-{i % 2}"
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 10), (40 * i, 10, 10)).save(place / f"{i}.png")
    return tmp_path / "pictures"


def deep(path, values, dtype=np.uint16):
    Image.fromarray(np.broadcast_to(np.asarray(values, dtype), (10, 12)).copy()).save(path)


def test_folder_at_any_depth(folder):
    loaded = data.load(folder)
    assert loaded.images.shape == (6, 3, 10, 12)
    assert loaded.span == (0, 255)
    assert loaded.notes == ()
    assert sorted(loaded.images[:, 0, 0, 0].tolist()) == [0, 40, 80, 120, 160, 200]
    assert data.load(folder, size=8, channels=1).images.shape == (6, 1, 8, 8)
    assert data.load(folder, size=(8, 5)).images.shape == (6, 3, 5, 8)


def test_a_folder_is_grey_or_colour_by_content(tmp_path):
    for i in range(9):
        Image.new("L", (8, 8), 9 * i).save(tmp_path / f"{i}.png")
    Image.new("L", (8, 8), 99).convert("P").save(tmp_path / "palette.png")
    Image.new("RGB", (8, 8), (7, 7, 7)).save(tmp_path / "rgb.png")
    assert data.load(tmp_path).images.shape == (11, 1, 8, 8)
    Image.new("RGB", (8, 8), (7, 7, 8)).save(tmp_path / "tinted.png")
    loaded = data.load(tmp_path)
    assert loaded.images.shape == (12, 3, 8, 8)
    assert loaded.notes == ("11 of 12 pictures were made RGB",)
    assert data.load(tmp_path, channels=1).notes == ("1 of 12 pictures was made grey",)


def test_what_was_done_and_left_out_is_said_with_numbers(folder):
    Image.new("RGB", (30, 10)).save(folder / "wide.png")
    Image.new("RGB", (24, 20)).save(folder / "large.png")
    Image.new("RGBA", (12, 10), (0, 0, 0, 9)).save(folder / "blank.png")
    Image.new("RGBA", (12, 10), (0, 0, 0, 9)).save(folder / "blank2.png")
    (folder / "labels.csv").touch()
    for fit, what in (("crop", "cropped and resized"), ("pad", "resized and padded"), ("squash", "squashed")):
        loaded = data.load(folder, size=(12, 10), fit=fit)
        assert loaded.notes == (
            "left out 1 file that is not a picture (.csv)",
            "1 of 10 pictures was resized to 12x10",
            f"1 of 10 pictures was {what} to 12x10",
            "4 of 10 pictures were made RGB",
            f"{folder}/blank.png is blank once its transparency is laid over black: lay it over white (as for 1 more)",
        )
    assert not any("blank" in note for note in data.load(folder, size=10, over="white").notes)


def test_bad_file_is_skipped_and_named(folder):
    (folder / "bad.png").write_bytes(b"no")
    loaded = data.load(folder)
    assert len(loaded) == 6
    assert len(loaded.skipped) == 1
    assert "bad.png" in loaded.skipped[0]
    with pytest.raises(InputError, match=r"bad\.png"):
        data.load(folder, strict=True)


def test_several_sizes_ask_for_one(folder):
    Image.new("RGB", (30, 20)).save(folder / "large.png")
    with pytest.raises(InputError, match=r"12x10 and 30x20: give one for all as `size`"):
        data.load(folder)
    assert len(data.load(folder, size=16)) == 7


def test_nothing_readable_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no")
    for size in (None, 8):
        with pytest.raises(InputError, match="none of the 1 pictures"):
            data.load(tmp_path, size=size)


def test_what_a_run_wrote_inside_is_not_trained_on(folder):
    for name in ("run/config.json", "run/state.safetensors"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    (folder / "run" / "samples").mkdir()
    Image.new("RGB", (99, 99)).save(folder / "run" / "samples" / "1.png")
    loaded = data.load(folder)
    assert len(loaded) == 6
    assert loaded.notes == ("left out 1 training run (run)",)
    (folder / "run" / "config.json").unlink()
    assert len(data.load(folder, without=[folder / "run"])) == 6


@pytest.fixture
def microscope(tmp_path):
    """12 bits in 16, in some pictures fewer."""
    folder = tmp_path / "microscope"
    folder.mkdir()
    for i, top in enumerate((100, 4000, 2000)):
        deep(folder / f"{i}.tif", np.linspace(0, top, 120).reshape(10, 12))
    return folder


def test_the_range_is_found_over_the_whole_folder_and_said(microscope):
    loaded = data.load(microscope)
    assert loaded.images.dtype == torch.uint16
    assert loaded.span == (0, 4095)
    assert loaded.images.float().amax((1, 2, 3)).tolist() == [100, 4000, 2000]
    assert loaded.notes == (f"the 16-bit pictures in {microscope}: values from 0 (black) to 4095 (white)",)
    given = data.load(microscope, span=(0, 65535))
    assert given.span == (0, 65535)
    assert given.notes == ()


def test_a_mixed_folder_reads_each_type_over_its_own_range(microscope):
    Image.new("L", (12, 10), 255).save(microscope / "white.png")
    loaded = data.load(microscope)
    assert loaded.images.float().amax((1, 2, 3)).tolist() == [100, 4000, 2000, 4095]
    assert "holds 8-bit and 16-bit pictures" in loaded.notes[-1]
    deep(microscope / "z.tif", 0.5, np.float32)
    loaded = data.load(microscope)
    assert loaded.images.dtype == torch.float32
    assert loaded.span == (0, 1)
    assert loaded.images.amax((1, 2, 3)).tolist() == pytest.approx([100 / 4095, 4000 / 4095, 2000 / 4095, 1, 0.5])


def test_float_targets_outside_their_range_are_refused(tmp_path):
    deep(tmp_path / "a.tif", np.linspace(-0.4, 1.4, 120).reshape(10, 12), np.float32)
    with pytest.raises(InputError, match=r"a\.tif .*clip"):
        data.load(tmp_path)
    deep(tmp_path / "b.tif", 7.0, np.float32)  # with this beside it, the range is the lowest to the highest
    assert data.load(tmp_path).span == pytest.approx((-0.4, 7))


def test_pictures_of_only_0_and_1_are_black_and_white(tmp_path):
    for i in range(3):
        Image.fromarray(np.eye(8, dtype=np.uint8) * (i > 0)).save(tmp_path / f"{i}.png")
    loaded = data.load(tmp_path)
    assert loaded.span == (0, 1)
    assert loaded.notes == (f"the 8-bit pictures in {tmp_path}: values from 0 (black) to 1 (white)",)


@pytest.fixture
def mapped(monkeypatch):
    monkeypatch.setattr(memory, "IN_MEMORY", 0)
    monkeypatch.setattr(decoding, "SAVE_EVERY", 2)


def test_a_folder_too_large_for_memory_is_mapped(folder, tmp_path, mapped, monkeypatch):
    (folder / "bad.png").write_bytes(b"no")
    loaded = data.load(folder, root=tmp_path / "cache")
    assert loaded.images.shape == (6, 3, 10, 12)
    assert len(loaded.skipped) == 1
    assert len(list((tmp_path / "cache" / "decoded").iterdir())) == 1
    monkeypatch.setattr(decoding._Decoder, "_read", None)  # no picture is decoded again
    again = data.load(folder, root=tmp_path / "cache")
    assert torch.equal(again.images, loaded.images)
    assert again.skipped == loaded.skipped


def test_a_mapped_folder_of_16_bits_is_surveyed_once(microscope, tmp_path, mapped, monkeypatch):
    loaded = data.load(microscope, root=tmp_path / "cache")
    monkeypatch.setattr(decoding, "survey", None)
    monkeypatch.setattr(decoding._Decoder, "_read", None)
    again = data.load(microscope, root=tmp_path / "cache")
    assert again.images.dtype == torch.uint16
    assert torch.equal(again.images, loaded.images)
    assert (again.span, again.notes) == (loaded.span, loaded.notes)


def test_every_option_has_a_cache_of_its_own(folder, tmp_path, mapped):
    wanted = ({}, {"fit": "pad"}, {"fit": "squash"}, {"over": "white"}, {"channels": 1}, {"span": (0.0, 100.0)})
    for i, options in enumerate(wanted, 1):
        mapped_images = data.load(folder, size=8, root=tmp_path / "cache", **options).images
        assert len(list((tmp_path / "cache" / "decoded").iterdir())) == i
        assert torch.equal(mapped_images, data.load(folder, size=8, root=tmp_path / "other", **options).images)
    data.load(folder, size=(8, 9), root=tmp_path / "cache")
    assert len(list((tmp_path / "cache" / "decoded").iterdir())) == len(wanted) + 1


def interrupt_at(file):
    def on_file(done, total):
        if done == file:
            raise KeyboardInterrupt

    return on_file


@pytest.mark.parametrize("threads", [1, 3])
def test_an_interrupted_pass_goes_on(folder, tmp_path, mapped, monkeypatch, threads):
    monkeypatch.setattr(workers, "WORTH_A_THREAD", 0)
    monkeypatch.setattr(workers, "_cores", lambda: threads)
    (folder / "class-0" / "bad.png").write_bytes(b"no")
    with pytest.raises(KeyboardInterrupt):
        data.load(folder, size=8, root=tmp_path / "cache", on_file=interrupt_at(5))
    seen = []
    resumed = data.load(folder, size=8, root=tmp_path / "cache", on_file=lambda done, total: seen.append(done))
    assert seen == [5, 6, 7]
    monkeypatch.setattr(memory, "IN_MEMORY", 1 << 30)
    whole = data.load(folder, size=8)
    assert torch.equal(resumed.images, whole.images)
    assert (resumed.notes, resumed.skipped) == (whole.notes, whole.skipped)


def test_an_interrupted_pass_over_deeper_pictures_goes_on(microscope, tmp_path, mapped):
    for i in range(3):
        Image.new("L", (12, 10), 40 * i).save(microscope / f"-{i}.png")  # come first: 8 bits are expected of all
    with pytest.raises(KeyboardInterrupt):
        data.load(microscope, root=tmp_path / "cache", on_file=interrupt_at(5))
    resumed = data.load(microscope, root=tmp_path / "cache")
    assert resumed.images.float().amax((1, 2, 3)).tolist() == pytest.approx([0, 642, 1285, 100, 4000, 2000], abs=0.5)


def test_a_changed_folder_is_decoded_anew(folder, tmp_path, mapped):
    before = data.load(folder, root=tmp_path / "cache").images
    Image.new("RGB", (12, 10), (7, 7, 7)).save(folder / "class-0" / "0.png")
    after = data.load(folder, root=tmp_path / "cache").images
    assert not torch.equal(before, after)


def test_a_mapped_grey_folder_stays_grey(tmp_path, mapped):
    Image.new("L", (8, 8), 9).save(tmp_path / "a.png")
    assert data.load(tmp_path, root=tmp_path / "cache").images.shape == (1, 1, 8, 8)


def test_a_lost_or_damaged_file_of_the_cache_is_made_again(folder, tmp_path, mapped):
    before = data.load(folder, root=tmp_path / "cache").images.clone()
    (place,) = (tmp_path / "cache" / "decoded").iterdir()
    (place / "images.npy").unlink()
    with pytest.raises(KeyboardInterrupt):
        data.load(folder, root=tmp_path / "cache", on_file=interrupt_at(1))
    assert torch.equal(data.load(folder, root=tmp_path / "cache").images, before)
    for damaged in ("", "[]", "{}", json.dumps({"spans": {"uint8": [0, 255]}, "tally": {"more": 1}})):
        (place / "pass.json").write_text(damaged)
        assert torch.equal(data.load(folder, root=tmp_path / "cache").images, before)


def test_a_cached_pass_is_strict_when_asked_to_be(folder, tmp_path, mapped):
    (folder / "bad.png").write_bytes(b"no")
    data.load(folder, root=tmp_path / "cache")
    with pytest.raises(InputError, match=r"bad\.png"):
        data.load(folder, root=tmp_path / "cache", strict=True)


@pytest.mark.parametrize("channels", [3, 1])
def test_rows_of_a_mapped_file_are_those_of_the_array(tmp_path, mapped, channels):
    array = np.random.default_rng(0).integers(256, size=(50, 3, 40, 41), dtype=np.uint8)
    np.save(tmp_path / "images.npy", array)
    images = torch.from_numpy(memory.mapped(tmp_path / "images.npy")[5:])[:, :channels]
    rows = torch.tensor([44, 0, 7, 7, 30])
    taken = memory.take(images, rows)
    assert taken.is_contiguous()
    assert np.array_equal(taken, array[5:, :channels][rows])


def test_files_are_read_by_several_threads_and_come_in_order(tmp_path, monkeypatch):
    files = [tmp_path / f"{i}" for i in range(50)]
    for file in files:
        file.write_bytes(bytes(workers.WORTH_A_THREAD))
    monkeypatch.setattr(workers, "_cores", lambda: 4)
    together, threads, ahead = threading.Barrier(4), set(), []

    def read(file):
        if file.name in ("0", "1", "2", "3"):
            together.wait(10)  # four at a time, or never
        threads.add(threading.get_ident())
        ahead.append(file)
        return file.name

    for i, name in enumerate(workers.in_order(read, files)):
        assert name == str(i)
        assert len(ahead) <= i + 10  # few results are held
    assert 1 < len(threads) <= 4


def test_small_files_are_read_by_one_thread(tmp_path):
    files = [tmp_path / f"{i}" for i in range(9)]
    for file in files:
        file.write_bytes(b"small")
    assert set(workers.in_order(lambda file: threading.get_ident(), files)) == {threading.get_ident()}


def test_an_error_in_a_thread_ends_the_pass(tmp_path, monkeypatch):
    files = [tmp_path / f"{i}" for i in range(50)]
    for file in files:
        file.write_bytes(bytes(workers.WORTH_A_THREAD))
    monkeypatch.setattr(workers, "_cores", lambda: 4)
    read = []

    def fail(file):
        read.append(file)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(workers.in_order(fail, files))
    assert len(read) < 20
