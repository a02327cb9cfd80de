import multiprocessing
import os
import stat

import pytest

from dae_sampler import files
from dae_sampler.errors import InputError


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with files.replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("n", [1, 3, 3 * files.FEW])
def test_many_files_are_replaced_together_or_not_at_all(tmp_path, n):
    paths = [tmp_path / f"{i % 2}" / f"{i}.txt" for i in range(n)]
    for text in ("old", "new"):
        with files.replacing_all() as place:
            for path in paths:
                place(path).write_text(text)
    assert {path.read_text() for path in paths} == {"new"}
    with pytest.raises(ZeroDivisionError), files.replacing_all() as place:
        for path in paths:
            place(path).write_text("newer")
        raise ZeroDivisionError
    assert {path.read_text() for path in paths} == {"new"}
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == n


@pytest.mark.parametrize("n", [1, 3 * files.FEW])
def test_everything_is_on_the_disk_before_the_first_file_gets_its_name(tmp_path, monkeypatch, n):
    def full(paths):
        assert len(paths) == n
        assert {path.read_text() for path in paths} == {"new"}
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_sync", full)
    with pytest.raises(InputError, match="No space left"), files.replacing_all() as place:
        for i in range(n):
            place(tmp_path / f"{i}.txt").write_text("new")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_names_the_file(tmp_path):
    with pytest.raises(InputError, match=r"b\.txt: .*free some space"), files.replacing_all() as place:
        place(tmp_path / "a.txt").write_text("whole")
        place(tmp_path / "b.txt")
        raise OSError(28, "No space left on device")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="choose another place"), files.replacing(tmp_path / "file" / "a.txt"):
        pass


def test_what_killed_processes_left_is_swept(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in (f"{files.PREFIX}a.png", f"deep/{files.PREFIX}b", "deep/kept.png"):
        (tmp_path / name).touch()
    files.sweep(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["kept.png"]


@pytest.fixture
def inputs(tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    for i in range(3):
        (folder / f"0{i}.png").write_text(str(i))
    return sorted(folder.iterdir())


def test_what_is_written_elsewhere_is_let_through(tmp_path, inputs):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "00.png").touch()
    files.check_apart(inputs, [tmp_path / "out" / "00.png", tmp_path / "out" / "01.png", inputs[0].parent / "new.png"])


@pytest.mark.parametrize("place", ["f/00.png", "f/../f/01.png", "linked.png", "hard.png", "g/02.png"])
def test_an_output_that_is_an_input_is_refused(tmp_path, inputs, place):
    (tmp_path / "linked.png").symlink_to(inputs[1])
    (tmp_path / "g").symlink_to(inputs[0].parent)
    os.link(inputs[2], tmp_path / "hard.png")
    with pytest.raises(InputError, match=r"would destroy the input .*f/0\d\.png"):
        files.check_apart(inputs, [tmp_path / "other.png", tmp_path / place])


def test_inputs_are_not_looked_at_where_nothing_is_overwritten(tmp_path):
    def read():
        raise AssertionError
        yield

    files.check_apart(read(), (tmp_path / f"{i}.png" for i in range(1000)))


def _hold(folder, ready, leave):
    with files.locked(folder, wait=True):
        ready.set()
        leave.wait(10)


def test_a_lock_keeps_other_processes_out(tmp_path):
    context = multiprocessing.get_context("fork")
    ready, leave = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path, ready, leave))
    process.start()
    assert ready.wait(10)
    with pytest.raises(BlockingIOError), files.locked(tmp_path, wait=False):
        pass
    leave.set()
    process.join()
    with files.locked(tmp_path, wait=False):
        pass


def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path, monkeypatch):
    files.check_writable(tmp_path / "new" / "a.png")
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="choose another place"):
        files.check_writable(tmp_path / "new" / "a.png")
