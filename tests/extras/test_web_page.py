"""The web page in a real browser: make test-web. Set DAE_SAMPLER_SHOTS to a folder to keep pictures of it."""

import base64
import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from PIL import Image

from dae_sampler import DenoisingAutoencoder, save

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
pytest.importorskip("uvicorn", reason="pip install 'dae-sampler[web]'")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FOUND = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(not FOUND, reason="no browser: install Chromium, such as by apt-get install chromium")
PATIENCE = 60_000
SHOTS = os.environ.get("DAE_SAMPLER_SHOTS")


@contextlib.contextmanager
def served(*models):
    """The address of a page with ``models``, by default all that ship."""
    words = [sys.executable, "-m", "dae_sampler", "web", *models, "--port", "0", "--no-open"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())[0]
        finally:
            process.terminate()
            assert process.wait(20) == 128 + 15


@pytest.fixture(scope="module")
def address():
    with served() as place:
        yield place


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=FOUND)
        yield started
        started.close()


@pytest.fixture
def visit(browser, address):
    """Opens the page for a visitor; whatever a visitor's browser asks for, or complains of, is held against it."""
    contexts, asked, complaints = [], [], []

    def open_page(tab="restore", at=address, **options):
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 1200}} | options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{at}#{tab}")
        until(page, "document.querySelector('[role=tab][aria-selected=true]')")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert asked
    assert {urlsplit(url).hostname for url in asked if urlsplit(url).scheme not in ("data", "blob")} == {"127.0.0.1"}
    assert [text for text in complaints if "status of 400" not in text] == []


def until(page, expression):
    """Wait until JavaScript is true; playwright's own way needs eval, which the page's policy forbids."""
    for _ in range(PATIENCE // 50):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(expression)


def draw(page, *strokes):
    """Strokes on the canvas, in shares of its side."""
    page.click("#clear")
    page.locator("#cursor").scroll_into_view_if_needed()
    box = page.locator("#cursor").bounding_box()
    for (x, y), *rest in strokes:
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.mouse.down()
        for to_x, to_y in rest:
            page.mouse.move(box["x"] + to_x * box["width"], box["y"] + to_y * box["height"], steps=4)
        page.mouse.up()


SEVEN = [(0.3, 0.25), (0.72, 0.25), (0.45, 0.8)]


def canvas(page, selector):
    """The pixels of a canvas, grey."""
    url = page.eval_on_selector(selector, "canvas => canvas.toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("L")).astype(int)


def figure(page, title):
    return canvas(page, f"figure:has(figcaption:text-is('{title}')) canvas")


def run(page):
    page.click("#go")
    page.wait_for_selector("#keep:not([hidden])")


def error(a, b):
    return float(((a - b) ** 2).mean())


def keep_shot(page, name):
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png")


def test_draw_damage_restore_and_download(visit):
    page = visit()
    draw(page, SEVEN)
    picture = canvas(page, "#picture")
    assert picture.shape == (28, 28)
    assert 30 < (picture > 127).sum() < 150
    page.wait_for_selector("figcaption:text-is('Damaged')")
    weak = figure(page, "Damaged")
    page.fill("#level", "0.8")
    page.dispatch_event("#level", "change")
    page.wait_for_timeout(1000)
    strong = figure(page, "Damaged")
    assert 0 < error(weak, picture) < error(strong, picture)
    run(page)
    assert "PSNR" in page.inner_text("#status")
    assert error(figure(page, "Result"), picture) < error(strong, picture) / 3
    keep_shot(page, "restore")
    page.eval_on_selector("#frame", "slider => { slider.value = 0; slider.dispatchEvent(new Event('input')) }")
    assert "step 1" in page.inner_text("#at")
    assert error(figure(page, "Step 1 of 20"), picture) > error(figure(page, "Best guess so far"), picture)
    with page.expect_download() as download:
        page.click("#save")
    assert Image.open(download.value.path()).size == (28, 28)
    with page.expect_download() as download:
        page.click("#save-film")
    assert Image.open(download.value.path()).n_frames > 5


def test_what_is_hidden_is_filled_in_several_ways(visit):
    page = visit("inpaint")
    page.click("label:has([value=draw])")
    draw(page, SEVEN)
    page.click("[data-half=bottom]")
    page.fill("#n", "4")
    page.click("#how summary")
    page.fill("#steps", "10")
    run(page)
    keep_shot(page, "inpaint")
    tiles = [canvas(page, f".tiles button:nth-child({i}) canvas") for i in range(1, 5)]
    picture = canvas(page, "#picture")
    assert picture[:14].max() > 200
    assert all((tile[:14] == picture[:14]).all() for tile in tiles)
    assert len({tile[14:].tobytes() for tile in tiles}) == 4
    with page.expect_download() as download:
        page.click("#save-all")
    assert Image.open(download.value.path()).size == (56, 56)
    page.click(".tiles button:nth-child(3)")
    page.click("#use")
    assert (canvas(page, "#picture") == tiles[2]).all()


def test_a_mask_is_painted_and_an_empty_one_refused(visit):
    page = visit("inpaint")
    page.click("#go")
    page.wait_for_selector("#error:not([hidden])")
    assert "hides nothing" in page.inner_text("#error")
    draw(page, [(0.5, 0.5), (0.7, 0.5)])
    assert canvas(page, "#picture").max() == 0  # the brush hides, and does not draw
    assert 10 < (canvas(page, "#mask") > 0).sum() < 28 * 28 / 2


def test_stop_ends_the_work_between_steps(visit):
    page = visit("sample")
    page.fill("#n", "36")
    page.click("#how summary")
    page.fill("#steps", "1000")
    page.click("#go")
    until(page, "document.querySelector('#progress').value > 3")
    page.click("#stop")
    until(page, "document.querySelector('#status').textContent.startsWith('Stopped after step')")
    page.fill("#steps", "2")
    page.fill("#n", "1")
    run(page)


def test_a_hostile_upload_ends_in_a_sentence_and_the_page_goes_on(visit, tmp_path):
    page = visit()
    (tmp_path / "x.png").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + os.urandom(19_000_000))
    Image.new("1", (9000, 9000)).save(tmp_path / "bomb.png")
    for name, said in (("x", "no picture"), ("bomb", "megapixels"), ("huge", "too large")):
        page.set_input_files("#file", tmp_path / f"{name}.png")
        until(page, f"document.querySelector('#error').textContent.includes('{said}')")
    Image.fromarray(np.full((60, 90, 3), 200, np.uint8)).save(tmp_path / "good.jpg")
    page.set_input_files("#file", tmp_path / "good.jpg")
    until(page, "document.querySelector('#notes').textContent.includes('resized to 28x28')")
    assert abs(canvas(page, "#picture").mean() - 200) < 3
    assert page.is_hidden("#error")


def test_two_visitors_at_once(visit):
    first, second = visit("sample"), visit()
    first.fill("#n", "16")
    first.click("#how summary")
    first.fill("#steps", "1000")
    first.click("#go")
    until(first, "document.querySelector('#progress').value > 1")
    draw(second, SEVEN)
    run(second)
    now = first.evaluate("document.querySelector('#progress').value")
    assert now < 1000
    until(first, f"document.querySelector('#progress').value > {now}")
    first.click("#stop")


@pytest.mark.parametrize("model", ["mnist", "mnist-erasure", "mnist-paper"])
def test_every_model_does_what_it_can_and_says_what_it_cannot(visit, model):
    page = visit("sample")
    page.select_option("#model", model)
    page.fill("#n", "4")
    page.click("#how summary")
    page.fill("#steps", "10")
    run(page)
    keep_shot(page, f"sample-{model}")
    page.click("#use")  # its picture, in the tab for restoring
    for tab in ("restore", "inpaint", "score"):
        page.click(f"#tab-{tab}")
        if page.is_visible("#why-not"):
            assert model != "mnist"
            assert page.inner_text("#why-not").endswith(".")
            assert page.is_hidden("#works")
            continue
        if tab == "inpaint":
            page.click("[data-half=left]")
        if tab != "score":
            page.fill("#steps", "10")
        run(page)
        keep_shot(page, f"{tab}-{model}")
        assert page.locator("figure").count() >= 2


def test_a_label_and_its_guidance_are_asked_for_where_a_model_knows_labels(visit, tmp_path):
    page = visit("sample")
    page.select_option("#model", "mnist-paper")
    assert page.is_hidden("#label")
    dae = DenoisingAutoencoder("unet(8)", "gaussian(0.02..20)", (1, 8, 8), labels=("cat", "dog"))
    for weight in dae.parameters():  # a new model does not tell labels apart
        torch.nn.init.normal_(weight, std=0.2)
    save(dae, tmp_path / "animals.safetensors")
    with served(str(tmp_path / "animals.safetensors")) as place:
        page = visit("sample", place)
        assert page.locator("#label option").all_inner_texts() == ["any", "cat", "dog"]
        results = []
        for label, guidance in (("", None), ("dog", ""), ("dog", "3")):
            page.select_option("#label", label)
            assert page.is_visible("#guidance") == (guidance is not None)
            if guidance is not None:
                page.fill("#guidance", guidance)
            run(page)
            results.append(figure(page, "Results").tobytes())
            assert ("told the label dog" in page.inner_text("#status")) == bool(label)
        assert "with guidance 3" in page.inner_text("#status")
        assert len(set(results)) == 3
        keep_shot(page, "sample-labels")
        for tab, shown in (("restore", True), ("inpaint", True), ("score", False)):
            page.click(f"#tab-{tab}")
            assert page.is_visible("#label") == shown


def test_it_is_used_by_keyboard_alone(visit):
    page = visit("sample")
    page.focus("#tab-sample")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#tab-inpaint").get_attribute("aria-selected") == "true"
    page.keyboard.press("ArrowLeft")
    page.click("#clear")
    page.focus("#cursor")
    for key in ("Space", "Shift+ArrowRight", "Space", "ArrowDown", "Space"):
        page.keyboard.press(key)
    drawn = canvas(page, "#picture") > 100
    assert np.ptp(np.flatnonzero(drawn.any(0))) >= 5  # two places, five pixels apart
    page.keyboard.press("Control+z")
    assert (canvas(page, "#picture") > 100).sum() < drawn.sum()
    page.focus("#level")
    page.keyboard.press("Enter")
    page.wait_for_selector("#keep:not([hidden])")


UNNAMED = """() => [...document.querySelectorAll('button, input, select, canvas[tabindex]')]
    .filter((one) => !one.getAttribute('aria-label') && !one.textContent.trim() && !(one.labels || []).length)
    .map((one) => one.outerHTML)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_every_control_has_a_name(visit, scheme):
    for tab in ("restore", "inpaint", "sample", "score"):
        page = visit(tab, color_scheme=scheme, viewport={"width": 360, "height": 740}, has_touch=True)
        page.click("#tab-" + tab)
        if tab == "inpaint":
            page.click("[data-half=top]")
        if tab in ("restore", "score"):
            run(page)
        keep_shot(page, f"phone-{scheme}-{tab}")
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
        assert page.evaluate(UNNAMED) == []
        shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (int(re.search(r"\d+", shade)[0]) > 127) == (scheme == "light")
