"""Names of repositories, and the page that a card makes."""

import pytest

from dae_sampler import Card, InputError, load
from dae_sampler.hub import Repository
from dae_sampler.sharing import push, readme


def test_a_repository_has_an_owner_a_name_and_perhaps_a_revision():
    assert Repository.parse("hf:me/digits") == ("me/digits", None)
    assert Repository.parse("hf:me/digits-2.1@v1/rc") == ("me/digits-2.1", "v1/rc")
    for text in ("hf:digits", "hf:me/", "hf:me/a/b", "hf:me/a@", "hf:../../etc@x y", "hf:https://host/a"):
        with pytest.raises(InputError, match="names no repository"):
            load(text)
        with pytest.raises(InputError, match="names no repository"):
            push("mnist", text)


def test_the_page_of_a_card_says_what_is_known_and_nothing_breaks_out_of_it():
    card = Card(net="unet", corruption="gaussian(0.1)", size=(8, 9), licence="MIT", data="a|b\n---", images=1200)
    page = readme(card, "me/x")
    head, body = page.split("---\n")[1:]
    assert 'license: "mit"' in head
    assert "| trained on | a\\|b ---, 1,200 images |" in body
    assert "| terms of the data | not stated |" in body
    assert "9x8" in body
    assert 'load("hf:me/x")' in body
    assert "denoise hf:me/x PICTURES" in readme(Card(net="unet", size=None), "me/x")
