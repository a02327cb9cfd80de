import contextlib
import json
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from dae_sampler import DenoisingAutoencoder, InputError, checkpoint, denoise, load, sample, save
from dae_sampler.checkpoint import KEY, _write
from dae_sampler.hub import resolve, shipped


@pytest.fixture
def dae():
    torch.manual_seed(0)
    model = DenoisingAutoencoder("unet(8)", "gaussian(0.02..20, lognormal(-0.5, 1.2))", (1, 8, 8)).eval()
    plans = {"sample": {"sampler": "euler", "steps": 3}}
    model.card = replace(model.card, data="test", plans=plans)
    return model


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
def test_round_trip_is_exact_in_the_stored_precision(dae, tmp_path, dtype):
    save(dae, tmp_path / "m.safetensors", dtype)
    again = load(tmp_path / "m.safetensors", precision="float32")
    for name, weight in dae.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight.to(dtype or weight.dtype).to(weight.dtype))
    assert (again.corruption, again.card, again.shape) == (dae.corruption, dae.card, dae.shape)


def test_loaded_model_samples_as_the_saved_one(dae, tmp_path):
    save(dae, tmp_path / "m.safetensors")
    assert torch.equal(sample(load(tmp_path / "m.safetensors", precision="float32"), 3), sample(dae, 3))


def test_every_shipped_model_loads_and_is_small():
    assert {"mnist", "mnist-paper"} <= set(shipped())
    for name, path in shipped().items():
        assert path.stat().st_size <= 6_000_000
        dae = load(name)
        made = sample(dae, 2, steps=2) if dae.card.size else denoise(dae, torch.rand(1, dae.shape[0], 33, 20))
        assert torch.isfinite(made).all()
        assert checkpoint.read_card(path)[0].licence


def test_folder_of_a_run_stands_for_its_model(dae, tmp_path):
    save(dae, tmp_path / "model.safetensors")
    assert resolve(tmp_path) == tmp_path / "model.safetensors"


def test_folder_of_data_does_not_hide_a_shipped_model(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    assert resolve("mnist") == shipped()["mnist"]


def test_unknown_names_get_a_hint():
    with pytest.raises(InputError, match="did you mean 'mnist'"):
        load("mnits")
    with pytest.raises(InputError, match="no model at"):
        load("nowhere/model.safetensors")


def damaged(path, dae):
    """Files that are no checkpoints, each with a word that its error must have."""
    save(dae, path)
    good = path.read_bytes()
    header = int.from_bytes(good[:8], "little")
    card, digest = checkpoint.read_card(path)
    facts = card.to_json() | {"sha256": digest}
    weights = {k: v.contiguous() for k, v in dae.state_dict().items()}

    def with_facts(**changes):
        save_file(weights, path, metadata={checkpoint.KEY: json.dumps(facts | changes)})
        return path.read_bytes()

    save_file(weights, path)
    yield path.read_bytes(), "metadata"
    yield b"", "safetensors"
    yield good[: len(good) // 2], "safetensors"
    yield good[:7], "safetensors"
    yield (2**60).to_bytes(8, "little") + good[8:], "safetensors"
    yield b"\x80\x04\x95" + good, "safetensors"
    yield good[:8] + b"x" * header + good[8 + header :], "safetensors"
    yield with_facts(format=99), "upgrade"
    yield with_facts(format=1), "train it again"
    yield with_facts(net="unet(16)"), "do not fit"
    yield with_facts(net="unet(1000000)"), "width"
    yield with_facts(net="dense(" + "8192, " * 80 + "8192)"), "do not fit"
    yield with_facts(net="os.system(1)"), "unknown"
    yield with_facts(corruption="gaussian("), "expected"
    yield with_facts(size=[10**9, 10**9]), "size"
    yield with_facts(size="no"), "size"
    yield with_facts(net=3), "net"
    yield with_facts(channels=0), "channels"
    for best in (
        3,
        None,
        {"sampler": ["a"]},
        {"sampler": "heun"},
        {"sampler": "heun", "steps": "x"},
        {"sampler": "heun", "steps": 10**20},
    ):
        yield with_facts(plans={"sample": best}), "plans"
    flipped = bytearray(good)
    flipped[-9] ^= 1
    yield bytes(flipped), "not those it was saved with"
    save_file({k: v.long() for k, v in weights.items()}, path, metadata={checkpoint.KEY: json.dumps(facts)})
    yield path.read_bytes(), "do not fit"


def test_damaged_files_are_refused_in_a_sentence(dae, tmp_path):
    path = tmp_path / "m.safetensors"
    for content, word in list(damaged(path, dae)):
        path.write_bytes(content)
        with pytest.raises(InputError) as error:
            load(path)
        assert word in str(error.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = "format net corruption size channels loss plans sha256 labels excess range"
FIELDS = st.sampled_from(NAMES.split())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(FIELDS, JSON, min_size=1, max_size=3))
def test_any_metadata_loads_or_is_refused_in_words(dae, tmp_path, changes):
    path = tmp_path / "m.safetensors"
    save(dae, path)
    card, digest = checkpoint.read_card(path)
    facts = card.to_json() | {"sha256": digest} | changes
    save_file(
        {k: v.contiguous() for k, v in dae.state_dict().items()}, path, metadata={checkpoint.KEY: json.dumps(facts)}
    )
    with contextlib.suppress(InputError):
        load(path)


@pytest.mark.parametrize(("net", "now"), [("unet", "unet(patch=2)"), ("unet(8, 16)", "unet(8, 16, patch=2)")])
def test_a_unet_of_64_pixels_from_before_its_patches_grew_still_loads(tmp_path, net, now):
    old = DenoisingAutoencoder(now, "gaussian(0.5)", (1, 64, 64)).eval()
    save(old, tmp_path / "m.safetensors")
    _, digest = checkpoint.read_card(tmp_path / "m.safetensors")
    facts = {"format": 2, "net": net, "corruption": "gaussian(0.5)", "loss": "bce", "shape": [1, 64, 64], "info": {}}
    weights = {name: weight.contiguous() for name, weight in old.state_dict().items()}
    save_file(weights, tmp_path / "m.safetensors", metadata={checkpoint.KEY: json.dumps(facts | {"sha256": digest})})
    x = torch.rand(1, 1, 64, 64)
    torch.testing.assert_close(load(tmp_path / "m.safetensors", precision="float32")(x, 0.5), old(x, 0.5))


def test_weights_of_other_types_and_odd_facts_of_training_are_one_sentence(tmp_path):
    path = tmp_path / "m.safetensors"
    dae = DenoisingAutoencoder("dense(4)", "gaussian(0.5)", (1, 4, 4))
    _write({**dae.state_dict(), "more": torch.zeros(3, dtype=torch.int64)}, dae.card, path)
    with pytest.raises(InputError, match="do not fit"):
        load(path)
    with pytest.raises(InputError, match="training cannot be"):
        replace(dae.card, training={"seconds": "x"})
    facts = json.dumps(dae.card.to_json() | {"training": {"loss": math.nan}, "sha256": ""})
    save_file(dae.state_dict(), path, metadata={KEY: facts})
    with pytest.raises(InputError, match="not a dae-sampler checkpoint"):
        load(path)
