"""`vqcodec serve`: what its server answers, and how it begins and ends."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vqcodec.cli.main import app
from vqcodec.cli.serve import exported, site
from vqcodec.cli.serve.server import HOST, POLICY, Server, open_server

MODEL = Path(__file__).resolve().parents[1] / "golden" / "context.safetensors"
FILES = ("encoder.onnx", "decoder.onnx", "codes.safetensors")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder like an exported model's."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.fixture
def server(model: Path) -> Iterator[Server]:
    with open_server(site.addresses(model), 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def get(server: Server, path: str, host: str | None = None, method: str = "GET") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(HOST, server.server_address[1])
    connection.request(method, path, headers={} if host is None else {"Host": host})
    return connection.getresponse()


def test_the_page_and_the_model_are_served(server: Server) -> None:
    for path, kind in (("/", "text/html"), ("/app.js", "text/javascript"), ("/codec/vq.js", "text/javascript")):
        answer = get(server, path)
        assert answer.status == 200 and answer.headers["Content-Type"].startswith(kind)
        assert len(answer.read()) == int(answer.headers["Content-Length"]) > 0
    assert [get(server, f"/model/{name}").read() for name in FILES] == [name.encode() for name in FILES]
    assert get(server, "/model/encoder.onnx", method="HEAD").read() == b""


@pytest.mark.parametrize("path", ["/nothing", "/../pyproject.toml", "/__init__.py", "/vendor.sh", "/model/", "/codec"])
def test_nothing_else_is_served(server: Server, path: str) -> None:
    assert get(server, path).status == 404


def test_onnxruntime_is_not_needed() -> None:
    code = """import sys; sys.modules["onnxruntime"] = None
import vqcodec.cli.serve.site
from vqcodec import VqcodecError, light
from vqcodec.light.networks import Network
try:
    Network(None, 1)
except VqcodecError as error:
    assert "vqcodec[light]" in str(error)
else:
    raise SystemExit("onnxruntime was found")"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300).stderr == ""


def test_other_hosts_are_refused(server: Server) -> None:
    assert get(server, "/", host="example.org").status == 421
    assert get(server, "/", host="localhost:1").status == 200


def test_the_policy_is_sent_and_stated(server: Server) -> None:
    answer = get(server, "/")
    assert answer.headers["Content-Security-Policy"] == f"{POLICY}; frame-ancestors 'none'"
    assert f'content="{POLICY}"' in answer.read().decode()
    assert "unsafe-inline" not in POLICY and "'unsafe-eval'" not in POLICY


def test_modules_are_small() -> None:
    lengths = {path.name: len(path.read_text("utf-8").splitlines()) for path in site.page_folder().rglob("*.js")}
    lengths = {name: length for name, length in lengths.items() if length > 400}
    assert lengths == {}


def fails(*arguments: object) -> str:
    """The one line of a failure."""
    result = CliRunner().invoke(app, ["serve", *map(str, arguments)])
    assert result.exit_code == 1 and result.stderr.count("\n") == 1
    return str(result.stderr)


@pytest.fixture
def with_runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The page as it is once `vendor.sh` has run."""
    folder = tmp_path / "page"
    (folder / "vendor").mkdir(parents=True)
    for name in ("index.html", *(f"vendor/{name}" for name in site.RUNTIME)):
        (folder / name).write_text("")
    monkeypatch.setattr(site, "page_folder", lambda: folder)


def test_without_the_runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Path) -> None:
    monkeypatch.setattr(site, "page_folder", lambda: tmp_path)
    assert re.search(r"npm fetches: run  ?sh .*vendor\.sh", fails("--onnx", model))


@pytest.mark.usefixtures("with_runtime")
def test_what_cannot_be_served(model: Path, server: Server) -> None:
    assert "cannot be used: Address already in use" in fails("--onnx", model, "--port", server.server_address[1])
    (model / "decoder.onnx").unlink()
    assert "decoder.onnx is missing" in fails("--onnx", model)
    assert CliRunner().invoke(app, ["serve", "--onnx", str(model), "--model", "speech_16k"]).exit_code == 2


def test_a_model_is_exported_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    integration = pytest.importorskip("vqcodec.integrations.onnx", reason="the extra onnx is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    exports = []

    def write(path: Path, folder: Path) -> None:
        exports.append(path)
        folder.mkdir()

    monkeypatch.setattr(integration, "write_folder", write)
    folder = exported.exported(MODEL)
    assert folder.parent == tmp_path / "vqcodec" / "onnx" and exported.exported(MODEL) == folder
    assert exports == [MODEL] and list(folder.parent.iterdir()) == [folder]


def test_ctrl_c_ends_it(model: Path) -> None:
    if not all((site.page_folder() / "vendor" / name).is_file() for name in site.RUNTIME):
        pytest.skip("onnxruntime-web is not there: web/vendor.sh fetches it")
    command = [sys.executable, "-m", "vqcodec", "serve", "--onnx", str(model), "--port", "0"]
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  # whoever runs the tests may ignore it
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed) as process:
        assert process.stderr is not None
        assert "the page is at http://127.0.0.1:" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=300)[1]
    assert process.returncode == 0 and "no longer served" in told and "Traceback" not in told
