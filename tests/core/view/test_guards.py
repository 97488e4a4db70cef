"""Who may look: the host, the token, the headers of every answer, and what the command refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from viewed_runs import ODD_RECORDS, serving, write_odd_run, write_run

from guerdon.cli.main import main


@pytest.fixture(scope="module")
def guarded(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving([runs / "first"], tmp_path_factory.mktemp("guarded"), token="sesame") as url:
        yield url


@pytest.mark.parametrize(
    "path", ["/", "/runs/first/", "/static/view.js", "/nowhere", "/runs/first/text/rl/7/completion"]
)
def test_every_answer_has_the_policy(address: str, path: str) -> None:
    headers = httpx.get(address + path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "192.168.0.9", "", "[::2]"]
)
def test_request_for_another_host_is_refused(address: str, host: str) -> None:
    assert httpx.get(f"{address}/runs/first/", headers={"host": host}).status_code in (400, 421)


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "127.0.0.2:80", "[::1]:8765"])
def test_request_for_this_machine_is_answered(address: str, host: str) -> None:
    assert httpx.get(f"{address}/runs/first/", headers={"host": host}).status_code == 200


def test_token_is_needed_once_and_leaves_the_address(guarded: str) -> None:
    assert httpx.get(f"{guarded}/runs/first/").status_code == 401
    assert httpx.get(f"{guarded}/state", headers={"authorization": "Bearer wrong"}).status_code == 401
    assert httpx.get(f"{guarded}/state?token=wrong").status_code == 401
    assert httpx.get(f"{guarded}/state", headers={"cookie": "guerdon-view=wrong"}).status_code == 401
    assert httpx.get(f"{guarded}/state", headers={"authorization": "Bearer sesame"}).status_code == 200
    with httpx.Client() as client:
        answer = client.get(f"{guarded}/runs/first/rollouts?text=a+b&token=sesame")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/runs/first/rollouts?text=a+b"
        assert "httponly" in answer.headers["set-cookie"].lower()
        assert "samesite=strict" in answer.headers["set-cookie"].lower()
        assert client.get(f"{guarded}/runs/first/").status_code == 200
        assert (
            client.get(f"{guarded}//evil.example/?token=sesame").headers.get("location", "/x").startswith("/")
        )
    answer = httpx.get(f"{guarded}//evil.example/x?token=sesame")
    assert answer.headers["location"] == "/evil.example/x"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/runs/none/", 404),
        ("/runs/first/nothing", 404),
        ("/runs/first/rollout/rl/0", 404),
        ("/runs/first/rollout/rl/9999999", 404),
        ("/runs/first/rollout/none/1", 404),
        ("/runs/first/rollout/rl/x", 422),
        ("/runs/first/group", 404),
        ("/runs/first/group?stage=rl&step=x", 400),
        ("/runs/first/prompt/zz", 400),
        ("/runs/first/text/rl/1/nothing", 404),
        ("/runs/first/compare?a_step_min=x", 200),
        ("/runs/first/curves?stage=none", 404),
        ("/runs/first/manifest?against=none", 200),
        ("/static/app.py", 404),
        ("/static/..%2fapp.py", 404),
    ],
)
def test_wrong_address_is_an_error_and_not_a_crash(address: str, path: str, status: int) -> None:
    assert httpx.get(address + path).status_code == status


def test_only_reading_is_possible(address: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert httpx.request(method, f"{address}/runs/first/").status_code == 405


def refusal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["guerdon", "view", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code, capsys.readouterr().err


def test_command_refuses_another_host_without_a_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GUERDON_VIEW_TOKEN", raising=False)
    run = write_run(tmp_path / "run", steps=5)
    code, said = refusal(capsys, monkeypatch, str(run), "--host", "0.0.0.0")
    assert code == 2
    assert said.count("\n") == 1
    assert "GUERDON_VIEW_TOKEN" in said


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_command_refuses_what_is_not_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    code, said = refusal(capsys, monkeypatch, str(tmp_path / name))
    assert code == 2
    assert "Name the folder that 'guerdon run' printed" in said
    assert said.count("\n") == 1


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = write_odd_run(tmp_path_factory.mktemp("odd") / "<img src=x>")
    with serving([folder], tmp_path_factory.mktemp("cache")) as url:
        yield f"{url}/runs/{quote(folder.name)}"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "curves",
        "rollouts",
        "group?stage=a%20b%26c%3F%23&step=1&group=0",
        "rewards",
        "verifiers",
        "manifest",
    ],
)
def test_page_of_odd_names_and_records_shows_them_as_text(odd: str, path: str) -> None:
    answer = httpx.get(f"{odd}/{path}")
    assert answer.status_code == 200
    assert not re.search(r"<(img|i|u|script)[ >]", answer.text.replace('<script src="/static/', ""))


@pytest.mark.parametrize("line", range(1, len(ODD_RECORDS) + 1))
def test_odd_record_is_a_page(odd: str, line: int) -> None:
    stage = "a%20b%26c%3F%23"
    assert httpx.get(f"{odd}/rollout/{stage}/{line}").status_code == 200
    for part in ("prompt", "completion", "columns", "scores", "record"):
        assert httpx.get(f"{odd}/text/{stage}/{line}/{part}").status_code in (200, 404)
