"""Models shared by a server that speaks the hub's protocol, on this machine."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dae_sampler import DenoisingAutoencoder, save

pytest.importorskip("huggingface_hub")


class Hub(BaseHTTPRequestHandler):
    """Repositories, branches and large files as the hub has them; ``server.asked`` holds every path."""

    protocol_version = "HTTP/1.1"

    def answer(self, code=200, body=b"", **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self):
        hub, body = self.server, self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub.asked.append(self.path)
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            if name.startswith("others/"):
                return self.answer(403, {"error": "You do not have the rights to create a model there"})
            hub.private[name] = asked.get("private") or asked.get("visibility") == "private"
            return self.answer(body={"url": f"{hub.address}/{name}", "name": name})
        if self.path.startswith("/api/validate-yaml"):
            return self.answer(body={"warnings": [], "errors": []})
        if found := re.search(r"/preupload/", self.path):
            modes = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if "safetensors" in f["path"] else "regular",
                    "shouldIgnore": False,
                }
                for f in json.loads(body)["files"]
            ]
            return self.answer(body={"files": modes})
        if self.path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**o, "actions": {"upload": {"href": f"{hub.address}/large/{o['oid']}"}}}
                for o in json.loads(body)["objects"]
            ]
            return self.answer(body={"transfer": "basic", "objects": objects})
        if found := re.fullmatch(r"/api/models/(.+)/commit/(.+)", self.path):
            files = hub.revisions.setdefault((found[1], found[2]), {})
            for line in map(json.loads, body.decode().splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.large[value["oid"]]
            commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
            hub.revisions[found[1], commit] = dict(files)
            hub.commits[found[1], found[2]] = commit
            return self.answer(body={"success": True, "commitOid": commit, "commitUrl": f"{hub.address}/c/{commit}"})
        return self.answer(404)

    def do_PUT(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        name = self.path.rsplit("/", 1)[1]
        assert hashlib.sha256(content).hexdigest() == name
        self.server.large[name] = content
        self.answer()

    def do_GET(self):
        hub = self.server
        hub.asked.append(self.path)
        found = re.fullmatch(r"/(.+)/resolve/([^/]+)/(.+)", self.path)
        files = found and hub.revisions.get((found[1], found[2]))
        if not files:
            return self.answer(404, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        content = files[found[3]]
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        return self.answer(200, content, ETag=etag, X_Repo_Commit=hub.commits.get((found[1], found[2]), found[2]))

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.address = f"http://127.0.0.1:{server.server_port}"
    server.large, server.revisions, server.commits, server.private, server.asked = {}, {}, {}, {}, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def program(hub, tmp_path):
    def run(*words, code=0, **more):
        environment = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "cache"), "HF_TOKEN": "hf_made_up"}
        environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        words = [sys.executable, "-m", "dae_sampler", *map(str, words)]
        done = subprocess.run(words, env=os.environ | environment | more, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    return run


def test_a_model_is_pushed_and_loaded_again_also_without_the_network(hub, program, tmp_path):
    dae = DenoisingAutoencoder("dense(4)", "gaussian(0.02..20)", (1, 8, 8))
    save(dae, tmp_path / "m.safetensors")
    assert "--licence" in program("push", "m.safetensors", "hf:me/small", code=2)
    assert not hub.asked  # nothing is made before that is known
    program("push", "m.safetensors", "hf:me/small", "--licence", "MIT", "--terms", "CC0", "--private")
    files = hub.revisions["me/small", "main"]
    assert set(files) == {"model.safetensors", "README.md"}
    assert hub.private["me/small"]
    assert b'license: "mit"' in files["README.md"]
    hub.asked.clear()

    found = json.loads(program("info", "hf:me/small", "--json"))["model"]
    assert (found["licence"], found["terms"], found["net"]) == ("MIT", "CC0", "dense(4)")
    assert {path.rsplit("/", 1)[1] for path in hub.asked} == {"model.safetensors"}  # nothing else is read

    commit = hub.commits["me/small", "main"]
    program("sample", f"hf:me/small@{commit}", "-n", 2, "--steps", 1)
    assert (tmp_path / "samples.png").is_file()
    hub.asked.clear()
    program("info", f"hf:me/small@{commit}")
    assert not hub.asked  # a commit that is cached is never asked for again
    program("info", "hf:me/small", HF_HUB_OFFLINE="1")
    assert not hub.asked


def test_what_cannot_be_had_ends_in_a_sentence(hub, program, tmp_path):
    save(DenoisingAutoencoder("dense(4)", "gaussian(0.5)", (1, 8, 8)), tmp_path / "m.safetensors")
    assert "cannot fetch model.safetensors of me/nothing" in program("info", "hf:me/nothing", code=2)
    assert "cannot fetch" in program("info", "hf:me/nothing", code=2, HF_HUB_OFFLINE="1")
    refused = program("push", "m.safetensors", "hf:others/x", "--licence", "mit", code=2)
    assert "cannot push to others/x" in refused
    assert "rights" in refused


def test_weights_that_were_changed_on_the_way_are_refused(hub, program, tmp_path):
    save(DenoisingAutoencoder("dense(4)", "gaussian(0.5)", (1, 8, 8)), tmp_path / "m.safetensors")
    program("push", "m.safetensors", "hf:me/small", "--licence", "mit")
    files = hub.revisions["me/small", "main"]
    content = bytearray(files["model.safetensors"])
    content[-1] ^= 1
    files["model.safetensors"] = bytes(content)
    assert "not those it was saved with" in program("sample", "hf:me/small", "-n", 1, code=2)
