"""Who may do what, over TCP with TLS."""

import datetime
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectionError, ClientSession, TCPConnector
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lvsha.api.events import EventStream
from lvsha.api.limits import RateLimit
from lvsha.api.roles import Credentials, Identity, Role
from lvsha.api.server import ApiServer
from lvsha.config.settings import ApiSettings
from lvsha.core.errors import ConfigErrors
from tests.api.pretended import Pretended

TOKENS = {"reader": "r" * 43, "operator": "o" * 43, "admin": "a" * 43}


def _certificate(folder: Path, name: str, issuer: tuple[Any, Any] | None) -> tuple[Any, Any]:
    """NAME.pem with its key; signed by ``issuer`` (certificate, key), or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    text = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / f"{name}.pem").write_bytes(text)
    return certificate, key


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root, a director's certificate, a client's, a stranger's, and the token file."""
    folder = tmp_path_factory.mktemp("access")
    root = _certificate(folder, "root", None)
    for name in ("director", "ops", "unknown"):
        _certificate(folder, name, root)
    _certificate(folder, "stranger", None)
    roles = {"reader": "read", "operator": "operate", "admin": "admin"}
    lines = []
    for name, token in TOKENS.items():
        lines += ["[[token]]", f'name = "{name}"', f'role = "{roles[name]}"']
        lines += [f'sha256 = "{hashlib.sha256(token.encode()).hexdigest()}"']
        lines += ['services = ["web"]'] if name == "operator" else []
    lines += ["[[certificate]]", 'name = "ops"', 'role = "admin"']
    (folder / "tokens.toml").write_text("\n".join(lines))
    (folder / "tokens.toml").chmod(0o600)
    return folder


Session = Callable[[str | None, str | None], ClientSession]


@asynccontextmanager
async def serving(folder: Path, port: Pretended, **changes: Any) -> AsyncIterator[Session]:
    """Makes sessions of a token and a certificate."""
    server = ApiServer(port, events=EventStream("life"))
    settings = ApiSettings(
        listen=(("127.0.0.1", 0),),
        certificate=str(folder / "director.pem"),
        key=str(folder / "director.pem"),
        token_file=str(folder / "tokens.toml"),
        client_ca=str(folder / "root.pem"),
        rate=1000,
    )
    sessions: list[ClientSession] = []

    def session(token: str | None, certificate: str | None = None) -> ClientSession:
        context = ssl.create_default_context(cafile=str(folder / "root.pem"))
        if certificate is not None:
            context.load_cert_chain(folder / f"{certificate}.pem")
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        made = ClientSession(
            f"https://127.0.0.1:{server.addresses[-1][1]}",
            connector=TCPConnector(ssl=context),
            headers=headers,
        )
        sessions.append(made)
        return made

    try:
        await server.start(folder / "directord.sock")
        await server.listen(replace(settings, **changes))
        yield session
    finally:
        for each in sessions:
            await each.close()
        await server.stop()


async def status(session: ClientSession, method: str, path: str, **body: Any) -> int:
    async with session.request(method, path, json=body or None) as response:
        await response.read()
        return response.status


async def test_no_token_and_a_wrong_one_are_401_a_small_role_is_403(folder: Path) -> None:
    port = Pretended()
    async with serving(folder, port) as session:
        found = {}
        for name, token in (("none", None), ("wrong", "w" * 43), *TOKENS.items()):
            client = session(token, None)
            found[name] = (
                await status(client, "GET", "/v1/status"),
                await status(client, "POST", "/v1/drain", target="web/rs11"),
                await status(client, "POST", "/v1/reload"),
            )

    assert found == {
        "none": (401, 401, 401),
        "wrong": (401, 401, 401),
        "reader": (200, 403, 403),
        "operator": (200, 200, 403),
        "admin": (200, 200, 200),
    }


async def test_an_order_carries_the_tokens_name_and_its_services(folder: Path) -> None:
    """What it says of itself counts for nothing, unless it is an administrator."""
    port = Pretended()
    async with serving(folder, port) as session:
        for name in ("operator", "admin"):
            await status(session(TOKENS[name], None), "POST", "/v1/drain", target="rs11", owner="boss")

    owners = [(fields["owner"], fields["services"]) for _, fields in port.orders]
    assert owners == [("operator", ("web",)), ("boss", None)]


async def test_a_client_certificate_has_the_role_of_its_name(folder: Path) -> None:
    async with serving(folder, Pretended()) as session:
        known = await status(session(None, "ops"), "POST", "/v1/reload")
        unknown = await status(session(None, "unknown"), "GET", "/v1/status")
        both = await status(session("w" * 43, "ops"), "GET", "/v1/status")
        with pytest.raises(ClientConnectionError):
            await status(session(None, "stranger"), "GET", "/v1/status")

    assert (known, unknown, both) == (200, 401, 401)


async def test_what_only_answers_by_its_status_needs_no_token(folder: Path) -> None:
    paths = ("/livez", "/readyz", "/master", "/healthy", "/in-sync", "/v1/openapi.json")
    async with serving(folder, Pretended()) as session:
        assert [await status(session(None, None), "GET", path) for path in paths] == [200] * len(paths)


async def test_who_asks_too_often_is_told_when_again(folder: Path) -> None:
    async with serving(folder, Pretended(), rate=1) as session:
        client = session(TOKENS["reader"], None)
        codes = [await status(client, "GET", "/livez") for _ in range(5)]
        async with client.get("/livez") as response:
            again = response.headers["Retry-After"]

    assert codes == [200, 200, 429, 429, 429]
    assert int(again) >= 1


async def test_plain_http_is_not_spoken(folder: Path) -> None:
    async with serving(folder, Pretended()) as session:
        address = str(session(None, None)._base_url).replace("https", "http")
        async with ClientSession() as plain:
            with pytest.raises(ClientConnectionError):
                await plain.get(address + "/livez")


@pytest.mark.parametrize(
    "change",
    [{"certificate": "/nowhere.pem"}, {"token_file": "/nowhere.toml"}, {"client_ca": "/nowhere.pem"}],
)
async def test_what_cannot_be_read_refuses_tcp_and_names_itself(folder: Path, change: dict[str, str]) -> None:
    with pytest.raises(ConfigErrors, match=r"nowhere|certificate"):
        async with serving(folder, Pretended(), **change):
            pass


def test_a_token_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    path.touch(0o644)

    with pytest.raises(ConfigErrors, match="chmod o-rwx"):
        Credentials.read(str(path))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[token]]\nname = 'x'\nrole = 'root'\nsha256 = '%s'" % ("0" * 64), "read, operate or admin"),
        ("[[token]]\nname = 'x'\nrole = 'read'\nsha256 = 'secret'", "64 hex digits"),
        ("[[token]]\nrole = 'read'\nsha256 = '%s'" % ("0" * 64), "name"),
        ("[[tokens]]", "no key of a token file"),
        ("[[certificate]]\nname = 'x'\nrole = 'read'\nsha256 = 'y'", "no key of it"),
        ("token = 3", "list of at most"),
        ("[[token]", "TOML"),
        (
            "[[token]]\nname = 'x'\nrole = 'read'\nservices = 'web'\nsha256 = '%s'" % ("0" * 64),
            "list of names",
        ),
    ],
)
def test_a_token_file_with_a_mistake_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(ConfigErrors, match=problem):
        Credentials(text)


def test_an_identity_shows_no_secret() -> None:
    credentials = Credentials(
        f"[[token]]\nname = 'x'\nrole = 'read'\nsha256 = '{hashlib.sha256(b't').hexdigest()}'"
    )

    assert credentials.of_token("t") == Identity(name="x", role=Role.READ)
    assert credentials.of_token("T") is None
    assert credentials.of_token("") is None


def test_a_bucket_fills_again_and_is_not_shared() -> None:
    limit = RateLimit(rate=2, burst=4)

    taken = [limit.wait_s("a", 0.0) for _ in range(5)]

    assert taken == [0, 0, 0, 0, 0.5]
    assert limit.wait_s("b", 0.0) == 0
    assert limit.wait_s("a", 0.5) == 0
    assert limit.wait_s("a", 0.5) == 0.5
