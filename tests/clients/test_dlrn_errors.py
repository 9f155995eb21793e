"""What goes wrong on the way to a real DLRN, and how it is said."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from lab.certificates import server_certificate
from lab.faults import Fault, FaultProxy
from lab.ports import free_port
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.errors import AnswerError, AuthError, ConfigError, PermanentError, ServiceError
from tests.clients.dlrn_lab import LabDlrn

pytest_plugins = ["tests.clients.dlrn_fixtures"]
pytestmark = pytest.mark.lab


def test_credentials(lab_dlrn: LabDlrn, client: DlrnClient) -> None:
    client.check_credentials()
    with (
        lab_dlrn.client(password="wrong-secret") as stranger,
        pytest.raises(AuthError, match="401") as caught,
    ):
        stranger.check_credentials()
    assert "<" not in str(caught.value)
    assert "wrong-secret" not in str(caught.value)
    with lab_dlrn.client(username=None) as nobody, pytest.raises(AuthError, match="needs a user"):
        nobody.check_credentials()


def test_the_right_to_promote_is_looked_at_without_promoting(
    lab_dlrn: LabDlrn, shaky: DlrnClient, api_proxy: FaultProxy, label: str
) -> None:
    shaky.check_may_promote(label)
    assert len(api_proxy.seen("POST", "/api/promote")) == 1
    assert (shaky.current(label), shaky.label_hash(label)) == (None, None)
    with lab_dlrn.client(password="wrong-secret") as stranger, pytest.raises(AuthError, match="401"):
        stranger.check_may_promote(label)
    facts = lab_dlrn.facts
    with lab_dlrn.client(username=facts.reader_username, password=facts.reader_password) as reader:
        reader.check_credentials()
        with pytest.raises(AuthError, match=r"403.*user 'reader' is not allowed to do this"):
            reader.check_may_promote(label)
    api_proxy.add(Fault("/api/promote", "POST", answer=503))
    with pytest.raises(ServiceError, match="503"):
        shaky.check_may_promote(label)
    api_proxy.add(Fault("/api/promote", "POST", answer=200))
    with pytest.raises(AnswerError, match="without JSON"):
        shaky.check_may_promote(label)


def test_https_to_a_server_that_speaks_none_is_for_a_person(lab_dlrn: LabDlrn, label: str) -> None:
    facts = lab_dlrn.facts
    api, repo = (url.replace("http:", "https:") for url in (facts.api_url, facts.repo_url))
    with lab_dlrn.client(api) as client, pytest.raises(ConfigError, match=r"DLRN: .* does not speak TLS"):
        client.current(label)
    with lab_dlrn.client(None, repo) as client, pytest.raises(ConfigError, match="does not speak TLS"):
        client.label_hash(label)


def test_password_beyond_latin_1_is_sent(lab_dlrn: LabDlrn) -> None:
    with lab_dlrn.client(password="日本語") as stranger, pytest.raises(AuthError, match="401"):
        stranger.check_credentials()


def test_no_secret_in_repr_or_log(
    lab_dlrn: LabDlrn, client: DlrnClient, label: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        client.promote(lab_dlrn.build(), label)
        with lab_dlrn.client(f"http://u:{lab_dlrn.facts.password}@127.0.0.1:{free_port()}") as wrong:
            with pytest.raises(ServiceError) as caught:
                wrong.current(label)
            printed = [repr(client), repr(wrong), repr(wrong._api), repr(lab_dlrn.facts), str(caught.value)]
    assert lab_dlrn.facts.password not in "\n".join([*printed, caplog.text])
    assert label in caplog.text


def test_label_that_dlrn_forbids(lab_dlrn: LabDlrn, client: DlrnClient) -> None:
    build = lab_dlrn.build()
    body = {"commit_hash": build.commit_hash, "distro_hash": build.distro_hash}
    for label in ("consistent", "../x"):
        with pytest.raises(ConfigError, match="403"):
            client._api.post("promote", {**body, "promote_name": label})


def test_html_page_of_a_real_500_is_one_line(lab_dlrn: LabDlrn, client: DlrnClient) -> None:
    build = lab_dlrn.build()
    body = {"commit_hash": build.commit_hash, "distro_hash": build.distro_hash, "promote_name": "a/b"}
    with pytest.raises(ServiceError, match="500") as caught:
        client._api.post("promote", body)
    assert "<" not in str(caught.value)
    assert len(str(caught.value)) < 350


def test_missing_parameters(client: DlrnClient) -> None:
    with pytest.raises(AnswerError, match="Missing parameters"):
        client._api.get("repo_status", {})


@pytest.mark.parametrize("answer", [None, 429, 500, 502, 503, 504])
def test_questions_are_asked_again(
    lab_dlrn: LabDlrn, shaky: DlrnClient, api_proxy: FaultProxy, label: str, answer: int | None
) -> None:
    api_proxy.add(Fault("/api/promotions", answer=answer, times=2))
    assert shaky.current(label) is None
    assert len(api_proxy.seen()) == 3


@pytest.mark.parametrize("answer", [None, 503])
def test_retries_are_bounded(
    shaky: DlrnClient, api_proxy: FaultProxy, label: str, answer: int | None
) -> None:
    api_proxy.add(Fault("/api/promotions", answer=answer, times=3))
    with pytest.raises(ServiceError) as caught:
        shaky.current(label)
    assert caught.value.status == answer
    assert "/api/promotions" in str(caught.value)
    assert "object at 0x" not in str(caught.value)


def test_repository_tree_in_trouble(
    lab_dlrn: LabDlrn, shaky: DlrnClient, repo_proxy: FaultProxy, label: str
) -> None:
    build = lab_dlrn.build()
    repo_proxy.add(Fault("/delorean.repo", "HEAD", answer=503, times=3))
    with pytest.raises(ServiceError, match="503"):
        shaky.promote(build, label)
    repo_proxy.add(Fault("/delorean.repo", "HEAD", answer=403))
    with pytest.raises(AuthError, match="readable"):
        shaky.promote(build, label)
    assert shaky.promotions(label) == []


def test_nobody_listens(lab_dlrn: LabDlrn, label: str) -> None:
    with lab_dlrn.client(f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(ServiceError, match="Connection refused"):
            client.current(label)
        with pytest.raises(ServiceError, match="Connection refused"):
            client.check_credentials()


def test_wrong_addresses(lab_dlrn: LabDlrn, shaky: DlrnClient, api_proxy: FaultProxy, label: str) -> None:
    with lab_dlrn.client(lab_dlrn.facts.repo_url) as client, pytest.raises(ConfigError, match="without /api"):
        client.current(label)
    with lab_dlrn.client("trunk.example.org") as client, pytest.raises(ConfigError, match="no address"):
        client.current(label)
    api_proxy.add(Fault("/api/promotions", answer=200))
    with pytest.raises(AnswerError, match="without JSON"):
        shaky.current(label)
    # As a server does that wants https: followed, the POST would become a GET that needs no login.
    health = f"{lab_dlrn.facts.api_url}/api/health"
    api_proxy.add(Fault("/api/health", "POST", answer=302, location=health))
    with pytest.raises(ConfigError, match=f"302.*points to {health}"):
        shaky.check_credentials()
    promotions = f"{lab_dlrn.facts.api_url}/api/promotions"
    api_proxy.add(Fault("/api/promotions", answer=301, location=f"{promotions}?promote_name={label}&limit=1"))
    assert shaky.current(label) is None


def test_certificates_are_verified(lab_dlrn: LabDlrn, label: str, tmp_path: Path) -> None:
    ca = server_certificate(tmp_path)
    files = (tmp_path / "server.crt", tmp_path / "server.key")
    with FaultProxy(lab_dlrn.facts.api_url, tls=files) as proxy:
        assert proxy.url.startswith("https://")
        with lab_dlrn.client(proxy.url, verify=str(ca)) as client:
            assert client.current(label) is None
        for verify, why in ((True, "not trusted"), (str(tmp_path / "missing"), "was not sent")):
            with (
                lab_dlrn.client(proxy.url, verify=verify) as client,
                pytest.raises(PermanentError, match=why),
            ):
                client.current(label)


def test_a_proxy_is_used_unless_the_address_is_excepted(
    lab_dlrn: LabDlrn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with lab_dlrn.client(retries=0) as client, pytest.raises(ServiceError):
        client.now()
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    with lab_dlrn.client(retries=0) as client:
        assert client.now() > 0
