"""The server of the web page, spoken to over a real socket."""

import asyncio
import base64
import http.client
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from dae_sampler import DenoisingAutoencoder, denoise, inpaint, sample, save
from dae_sampler.noise import ImageNoise

pytest.importorskip("uvicorn", reason="pip install 'dae-sampler[web]'")
pytest.importorskip("starlette", reason="pip install 'dae-sampler[web]'")

from dae_sampler.web import desk as desks
from dae_sampler.web import images, server, work
from dae_sampler.web.exhibit import Exhibit

MODELS = {
    "fixed": DenoisingAutoencoder("dense(4)", "gaussian(0.02..20)", (1, 8, 8)),
    "erasing": DenoisingAutoencoder("dense(4)", "erasure(0..1)", (1, 8, 8)),
    "one-level": DenoisingAutoencoder("dense(4)", "gaussian(0.5)", (1, 8, 8)),
    "masking": DenoisingAutoencoder("dense(4)", "masking(0.1..0.9)", (1, 8, 8)),
    "any-size": DenoisingAutoencoder("unet(8)", "gaussian(0.02..20)", (1, None, None)),
    "weak-colour": DenoisingAutoencoder("unet(8)", "gaussian(1/255..50/255)", (3, None, None)),
    "median": DenoisingAutoencoder("dense(4)", "gaussian(0.02..20)", (1, 8, 8), loss="mae"),
    "paired": DenoisingAutoencoder("unet(8)", "given", (1, None, None)),
    "labelled": DenoisingAutoencoder("unet(8)", "gaussian(0.02..20)", (1, 8, 8), labels=("cat", "dog")),
    "any-size-labelled": DenoisingAutoencoder("unet(8)", "gaussian(0.02..20)", (1, None, None), labels=("cat", "dog")),
}
for name in ("labelled", "any-size-labelled"):
    for weight in MODELS[name].parameters():  # a new model does not tell labels apart
        torch.nn.init.normal_(weight, std=0.2)


@pytest.fixture(scope="module")
def port():
    exhibits = [Exhibit(name, dae.eval().requires_grad_(False)) for name, dae in MODELS.items()]
    with server.listen("127.0.0.1", 0) as place:
        running = server.server_of(exhibits)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [place]})
        thread.start()
        yield place.getsockname()[1]
        running.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def send(port, body, path="/work", method="POST", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, names)
    return connection.getresponse()


def ask(port, **request):
    """All events of a request."""
    response = send(port, request)
    text = response.read().decode()
    assert response.status == 200, text
    events = [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n") if line]
    assert events.pop() == {"end": True}
    return events


def url(pixels, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return "data:image/any;base64," + base64.b64encode(file.getvalue()).decode()


def pixels(data_url):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data_url.partition(",")[2]))))


def noise(*shape):
    return np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)


PICTURE = url(noise(8, 8))
HALF = url(np.repeat([[0] * 4 + [255] * 4], 8, 0).astype(np.uint8))


def describe(port):
    found = json.loads(send(port, b"", "/models", "GET").read())
    return {model["name"]: model for model in found["models"]}


def test_every_model_says_what_it_can_do_and_why_not(port):
    models = describe(port)
    damages = {name: {damage["name"] for damage in model["damages"]} for name, model in models.items()}
    assert {"gaussian", "erasure", "masking", "salt-pepper", "jpeg", "blur"} <= damages["fixed"]
    assert not {"given", "blindspot", "renoise"} & damages["fixed"]  # which damage nothing by themselves
    assert damages["erasing"] == {"erasure"}
    assert damages["one-level"] == damages["fixed"] - {"erasure"}
    shown = [damage for model in models.values() for damage in model["damages"]]
    assert all(damage["low"] <= damage["usual"] <= damage["high"] for damage in shown)
    assert models["fixed"]["sample"]["why_not"] is None
    assert "too weak to begin from" in models["weak-colour"]["sample"]["why_not"]
    assert "inpainting needs" in models["one-level"]["inpaint"]["why_not"]
    assert models["fixed"]["score"]["why_not"] is None
    assert all("has no score" in models[name]["score"]["why_not"] for name in ("erasing", "masking", "median"))


@pytest.mark.parametrize("name", MODELS)
def test_every_damage_of_every_model_can_be_drawn_and_undone(port, name):
    model = describe(port)[name]
    size = (8, 8) if model["width"] else (12, 20)
    for damage in model["damages"]:
        level = damage["low"] + 0.3 * (damage["high"] - damage["low"])
        request = {"model": name, "picture": url(noise(*size)), "damage": damage["name"], "level": level, "steps": 2}
        seen = ask(port, task="damage", **request)[0]["damaged"]
        told = ask(port, task="restore", **request)
        assert told[0]["damaged"] == seen  # what was shown is what is restored
        assert pixels(told[-1]["result"]).shape[:2] == size
        assert [event["step"] for event in told if "step" in event] == ([1] if name == "paired" else [1, 2])


def test_a_restoration_is_that_of_the_library(port):
    """The picture is damaged with noise that the sampler does not draw again."""
    x = torch.from_numpy(noise(8, 8))[None, None] / 255
    damage = Exhibit("fixed", MODELS["fixed"]).damages["gaussian"]
    drawn = damage.draw(x, 0.5, 3).x_tilde
    expected = denoise(MODELS["fixed"], drawn, level=0.5, steps=3, seed=3, sampler="ancestral")
    *_, last = ask(
        port, task="restore", model="fixed", picture=PICTURE, damage="gaussian", level=0.5, steps=3, seed=3,
        sampler="ancestral",
    )  # fmt: skip
    assert np.abs(pixels(last["result"]) - 255 * expected[0, 0].numpy()).max() <= 0.51
    again = damage.draw(x, 0.5, 3).x_tilde
    own = damage.at(0.5).draw(x, torch.tensor(0.5), ImageNoise(3, 0, 1)).x_tilde
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, own)


def test_completions_keep_what_is_known_and_differ_in_what_is_not(port):
    *_, last = ask(port, task="inpaint", model="fixed", picture=PICTURE, mask=HALF, n=4, steps=2)
    sheet = pixels(last["result"]).reshape(2, 8, 2, 8).swapaxes(1, 2).reshape(4, 8, 8)
    assert (sheet[:, :, :4] == noise(8, 8)[:, :4]).all()
    assert len({image[:, 4:].tobytes() for image in sheet}) == 4


def test_a_sample_depends_on_its_seed_alone_and_comes_with_a_film(port):
    def made(**more):
        return ask(port, task="sample", model="fixed", n=2, steps=3, **more)[-1]

    assert made(seed=1)["result"] == made(seed=1)["result"] != made(seed=2)["result"]
    film = Image.open(io.BytesIO(base64.b64decode(made()["film"].partition(",")[2])))
    assert film.format == "GIF"
    assert film.n_frames >= 3
    *_, wide = ask(port, task="sample", model="any-size", n=1, width=24, height=16, steps=1)
    assert pixels(wide["result"]).shape == (16, 24)


def near(data_url, image):
    """Whether a picture is (C,H,W) ``image`` to the nearest of 8 bits."""
    return np.abs(pixels(data_url) - 255 * image[0].numpy()).max() <= 0.51


def test_labels_are_told_of_by_the_models_that_know_them(port):
    labels = {name: model["labels"] for name, model in describe(port).items()}
    assert labels["labelled"] == labels["any-size-labelled"] == ["cat", "dog"]
    assert labels["fixed"] == []


def test_a_label_and_its_guidance_do_what_they_do_in_the_library(port):
    """In every task; without a label the picture is that of any class."""
    dae, x = MODELS["labelled"], torch.from_numpy(noise(8, 8))[None, None] / 255
    keep = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    keep[..., :4] = True
    made, seen = {}, {"model": "labelled", "picture": PICTURE, "mask": HALF, "assumed": 0.5, "steps": 2}
    for more in ({}, {"label": "dog"}, {"label": "dog", "guidance": 3.0}):
        for task, expected in (
            ("sample", sample(dae, 1, steps=2, **more)),
            ("restore", denoise(dae, x, level=0.5, steps=2, **more)),
            ("inpaint", inpaint(dae, x, keep, steps=2, **more)),
        ):
            *_, last = ask(port, task=task, **seen, **more)
            assert near(last["result"], expected[0])
            made.setdefault(task, set()).add(last["result"])
    assert {task: len(results) for task, results in made.items()} == {"sample": 3, "restore": 3, "inpaint": 3}


def test_a_model_of_any_size_takes_a_label(port):
    request = {"task": "sample", "model": "any-size-labelled", "width": 24, "height": 16, "steps": 2}
    for more in ({}, {"label": "cat"}, {"label": "dog"}):
        *_, last = ask(port, **request, **more)
        assert near(last["result"], sample(MODELS["any-size-labelled"], 1, size=(24, 16), steps=2, **more)[0])
    assert last["result"] != ask(port, **request, label="cat")[-1]["result"]


def test_the_score_is_that_of_the_model(port):
    """At sigma the field is (r - x)/sigma^2; its largest value is told, and black pixels cannot ask for less."""
    (told,) = ask(port, task="score", model="fixed", picture=url(np.zeros((8, 8), np.uint8)), level=0.5)
    field = MODELS["fixed"].score(torch.zeros(1, 1, 8, 8), 0.5)
    assert told["most"] == pytest.approx(field.abs().quantile(0.995).item(), rel=1e-4)
    red, _, blue = pixels(told["field"]).transpose(2, 0, 1).astype(int)
    assert (red >= blue - 10).all()


@pytest.mark.parametrize(
    ("picture", "shape", "said"),
    [
        (url(noise(20, 40, 3)), (8, 8), "cropped and resized to 8x8 and made grey"),
        (url(noise(8, 8).astype(np.uint16) * 257), (8, 8), "shows and saves 8 bits"),
        (url(noise(8, 8, 3), "JPEG"), (8, 8), "made grey"),
        (url(noise(8, 8, 4), "WEBP", lossless=True), (8, 8), "made grey"),
    ],
)
def test_an_upload_becomes_what_the_model_takes_and_that_is_said(port, picture, shape, said):
    (told,) = ask(port, task="open", model="fixed", picture=picture)
    assert pixels(told["picture"]).shape == shape
    assert said in " ".join(told["notes"])


def test_a_large_upload_is_scaled_down_to_what_the_page_takes(port, monkeypatch):
    monkeypatch.setattr(images, "MOST_PIXELS", 1000)
    (told,) = ask(port, task="open", model="any-size", picture=url(noise(100, 40)))
    height, width = pixels(told["picture"]).shape
    assert height * width <= 1000 < 1.1 * height * width
    assert "resized" in told["notes"][0]


def bomb(side):
    """A valid head of a PNG of side x side pixels, and next to nothing behind it."""

    def chunk(kind, body):
        return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)

    head = side.to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


HOSTILE = {
    "nothing": b"",
    "text": b"<svg onload=alert(1)>",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "cut off": base64.b64decode(url(noise(50, 50)).partition(",")[2])[:1000],
    "bomb": bomb(20_000),
    "larger bomb": bomb(2**31 - 1),
    "above the limit": bomb(6000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_upload_is_refused_in_a_sentence(port, name):
    picture = "data:image/png;base64," + base64.b64encode(HOSTILE[name]).decode()
    (told,) = ask(port, task="open", model="any-size", picture=picture)
    assert set(told) == {"error"}
    assert told["error"].endswith(".")
    assert not any(word in told["error"] for word in ("\n", "Traceback", " object at ", "/"))


@pytest.mark.parametrize(
    "request_",
    [
        {"task": "sample", "model": "/etc/passwd"},
        {"task": "open", "model": "fixed", "picture": "/etc/passwd"},
        {"task": "open", "model": "fixed", "picture": "file:///etc/passwd"},
        {"task": "../x", "model": "fixed"},
        {"task": "restore", "model": "fixed", "picture": PICTURE, "damage": "os:system"},
        {"task": "restore", "model": "fixed", "picture": PICTURE, "damage": "gaussian", "level": 1e3},
        {"task": "sample", "model": "fixed", "sampler": "ancestral(resample=1000)"},
        {"task": "sample", "model": "any-size", "n": 64, "width": 1024, "height": 1024},
        {"task": "inpaint", "model": "fixed", "picture": PICTURE, "mask": url(np.zeros((8, 8), np.uint8))},
        {"task": "inpaint", "model": "fixed", "picture": PICTURE, "mask": url(noise(9, 9))},
        {"task": "score", "model": "median", "picture": PICTURE},
        {"task": "sample", "model": "fixed", "label": "cat"},
        {"task": "sample", "model": "labelled", "label": "bird"},
        {"task": "sample", "model": "labelled", "guidance": 2},
        {"task": "restore", "model": "erasing", "picture": PICTURE},
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(port, request_):
    *_, told = ask(port, **request_)
    assert set(told) == {"error"}
    assert told["error"].endswith(".")
    assert "\n" not in told["error"]
    assert "`" not in told["error"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[" * 100_000,
        b"\xff",
        b"null",
        [],
        {"task": "sample"},
        {"task": None, "model": "fixed"},
        *({"task": "sample", "model": "fixed"} | more for more in (
            {"n": 65}, {"n": 0}, {"n": True}, {"n": "1"}, {"n": 1.5}, {"steps": 10**400}, {"seed": -1}, {"steps": 1001},
            {"path": "x"}, {"sampler": 3}, {"label": 0}, {"guidance": -1}, {"guidance": 1001}, {"guidance": "2"},
        )),
        b'{"task": "restore", "model": "fixed", "level": NaN}',
        b'{"task": "restore", "model": "fixed", "level": 1e999}',
    ],
    ids=lambda body: str(body)[-40:],
)  # fmt: skip
def test_a_request_that_is_none_is_refused_before_anything_is_done(port, body):
    response = send(port, body)
    assert response.status == 400
    assert json.loads(response.read())["error"].endswith(".")


def test_a_request_that_is_too_large_is_refused_while_it_arrives(port, monkeypatch):
    monkeypatch.setattr(server, "MOST_BYTES", 10_000)
    response = send(port, b'"' + b"x" * 50_000 + b'"')
    assert response.status == 400
    assert "too large" in json.loads(response.read())["error"]


def test_the_page_loads_nothing_from_elsewhere_and_may_not(port):
    for path, kind in (
        ("/", "text/html"),
        ("/page.js", "javascript"),
        ("/style.css", "text/css"),
        ("/icon.svg", "svg"),
    ):
        response = send(port, b"", path, "GET")
        text = response.read().decode()
        assert response.status == 200
        assert kind in response.headers["Content-Type"]
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "//" not in text.replace("http://www.w3.org/2000/svg", "").replace("// ", "")
        assert "style=" not in text


@pytest.mark.parametrize("path", ["/../pyproject.toml", "/%2e%2e/server.py", "/etc/passwd", "/page/", "/server.py"])
def test_no_file_can_be_named(port, path):
    response = send(port, b"", path, "GET")
    assert (response.status, json.loads(response.read())) == (404, {"error": "There is nothing here."})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:1"}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:80"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:80"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "localhost", "Origin": "http://localhost"}, 200),
        ({"Host": "localhost", "Origin": "https://localhost"}, 200),
        ({"Host": "localhost", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
        ({"Content_Type": "text/plain"}, 400),
    ],
)
def test_other_sites_cannot_use_a_visitors_browser(port, headers, status):
    response = send(port, {"task": "sample", "model": "fixed", "steps": 1}, **headers)
    assert response.status == status
    assert b"error" in response.read() or status == 200


def wait_for(condition):
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def jobs():
    return [t for t in threading.enumerate() if getattr(t, "_target", None) and t._target.__qualname__ == "Job._run"]


def open_stream(port, **request):
    """A request whose answer is not read."""
    body = json.dumps(request).encode()
    stream = socket.create_connection(("127.0.0.1", port))
    head = ["POST /work HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    stream.sendall("\r\n".join([*head, "", ""]).encode() + body)
    return stream


LONG = {"task": "sample", "model": "fixed", "steps": 1000, "n": 64}


def test_a_visitor_who_leaves_frees_the_work(port):
    wait_for(lambda: not jobs())
    stream = open_stream(port, **LONG)
    stream.recv(1000)
    wait_for(jobs)
    stream.close()
    wait_for(lambda: not jobs())


def test_two_visitors_are_served_in_turn(port):
    """A short request ends while a long one, which began before it, goes on."""
    stream = open_stream(port, **LONG)
    stream.recv(1000)
    told = ask(port, task="sample", model="fixed", steps=2)
    assert "result" in told[-1]
    assert jobs()
    stream.close()
    wait_for(lambda: not jobs())


def test_more_jobs_than_there_may_be_are_refused_and_later_taken(port, monkeypatch):
    monkeypatch.setattr(desks, "MOST_EACH", 2)
    streams = [open_stream(port, **LONG) for _ in range(2)]
    for stream in streams:
        stream.recv(100)
    response = send(port, LONG)
    assert response.status == 503
    assert "try again" in json.loads(response.read())["error"]
    for stream in streams:
        stream.close()
    wait_for(lambda: not jobs())
    assert "result" in ask(port, task="sample", model="fixed", steps=1)[-1]


def test_who_does_not_read_is_waited_for_and_then_dropped(monkeypatch):
    monkeypatch.setattr(desks, "PATIENCE", 0.1)
    desk, told = desks.Desk(), []

    def work(tell):
        for i in range(1000):
            told.append(i)
            tell({"step": i})

    async def serve():
        job = desk.open("a visitor who reads nothing", work)
        while desk.jobs:
            await asyncio.sleep(0.01)
        assert "start it again" in (await job.events.get())["error"]  # which is there if they read on
        assert await job.events.get() is None

    asyncio.run(asyncio.wait_for(serve(), 20))
    assert 1 < len(told) < 10


def test_who_leaves_while_waiting_makes_room_at_once():
    desk, begun, go_on = desks.Desk(), threading.Event(), threading.Event()

    async def serve():
        desk.open("who has the turn", lambda tell: (begun.set(), go_on.wait()))
        while not begun.is_set():
            await asyncio.sleep(0.01)
        waiting = [desk.open("who leaves", lambda tell: None) for _ in range(desks.MOST_EACH)]
        for job in waiting:
            job.leave()
        while len(desk.jobs) > 1:
            await asyncio.sleep(0.01)
        desk.open("who leaves", lambda tell: None)
        go_on.set()
        while desk.jobs:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(serve(), 20))


def test_turns_go_to_the_visitor_who_has_waited_longest():
    """Three jobs of one visitor and one of another: every second turn is the other's."""
    turns, served = desks.Turns(), []
    here = threading.Event()
    turns.take("gate", here)

    def visit(visitor):
        for _ in range(4):
            turns.take(visitor, here)
            served.append(visitor)
            turns.pass_on()

    threads = [threading.Thread(target=visit, args=(name,)) for name in ("many", "many", "many", "one")]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(turns.waiting) == 4)
    turns.pass_on()
    for thread in threads:
        thread.join()
    assert served.index("one") <= 1
    assert len(served) == 16


def test_a_fault_of_ours_is_said_without_its_traceback(port, monkeypatch, caplog):
    monkeypatch.setitem(work.WORK, "open", lambda *_: 1 / 0)
    (told,) = ask(port, task="open", model="fixed", picture=PICTURE)
    assert told["error"].startswith("Something went wrong here")
    assert "ZeroDivisionError" in caplog.text


def test_nothing_leaves_the_machine(port):
    """Every connection that this process opens while it serves goes to itself."""
    addresses = []
    sys.addaudithook(lambda event, given: addresses.append(given[1]) if event == "socket.connect" else None)
    ask(port, task="sample", model="fixed", steps=1)
    ask(port, task="score", model="fixed", picture=PICTURE, level=0.5)
    assert addresses
    assert {address[0] for address in addresses} == {"127.0.0.1"}


def test_a_port_that_is_taken_is_refused_in_a_sentence(command, port):
    assert "choose another --port" in command("web", "mnist-paper", "--port", port, "--no-open", code=2)
    assert "unknown model" in command("web", "nonsense", "--no-open", code=2)


def test_ctrl_c_ends_quietly_while_a_visitors_work_is_under_way(tmp_path):
    save(DenoisingAutoencoder("unet(8)", "gaussian(0.02..20)", (1, 8, 8)), tmp_path / "m.safetensors")
    words = [sys.executable, "-m", "dae_sampler", "web", tmp_path / "m.safetensors", "--port", "0", "--no-open"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        port = int(re.search(r":(\d+)/", process.stdout.readline())[1])
        there = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        ask = json.dumps({"model": "m", "task": "sample", "n": 4, "steps": 1000, "seed": 0})
        there.request("POST", "/work", ask, {"Content-Type": "application/json"})
        assert b'"step": 1,' in there.getresponse().read(60)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == ""
