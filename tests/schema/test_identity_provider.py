"""Tokens of the company's identity provider: real keys, served by a real server on this machine."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx2
import jwt
import pytest
import siyu_graphql
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from siyu.flow import provider as providers
from siyu.flow.context import Context
from siyu.flow.provider import IdentityProvider
from siyu.flow.tokens import Right, Role, Unauthenticated, still
from siyu.runtime import ApiSettings, SettingsError
from siyu.runtime.api import ProviderSettings
from siyu.store.models import Brand

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ISSUER, AUDIENCE = "https://login.example.com/", "siyu"


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    name = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig", "alg": name, **more}


class KeyServer(ThreadingHTTPServer):
    """Serves a key set, and counts how often it is asked."""

    def __init__(self) -> None:
        self.keys = [jwk(RSA, "r1"), jwk(EC, "e1")]
        self.asked = 0
        self.status = 200
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/jwks"


class Answer(BaseHTTPRequestHandler):
    server: KeyServer

    def do_GET(self) -> None:
        self.server.asked += 1
        body = json.dumps({"keys": self.server.keys}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer() as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


def settings(server: KeyServer, **more: Any) -> ProviderSettings:
    return ProviderSettings(issuer=ISSUER, audience=AUDIENCE, jwks=server.url, **more)


@pytest.fixture
def provider(server: KeyServer, ctx: Context, brand: Brand) -> IdentityProvider:
    """A provider, over a database with the brand ``shop``."""
    return IdentityProvider(settings(server))


def token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "r1", **changed: Any) -> str:
    """A good token but for what is changed; a claim of None is left out."""
    now = datetime.now(UTC)
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ann@corp.example",
        "exp": now + timedelta(minutes=5),
        "siyu_role": "operator",
        "siyu_brand": "shop",
        **changed,
    }
    headers = {} if kid is None else {"kid": kid}
    given = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(given, key, algorithm=algorithm, headers=headers)


async def test_a_token_that_the_provider_signed_is_taken(provider: IdentityProvider, brand: Brand) -> None:
    for given in (token(), token(EC, "ES256", "e1")):
        access = await provider.authenticate(given)
        assert access is not None
        assert (access.role, access.brand_id, access.by) == (Role.OPERATOR, brand.id, "ann@corp.example")
        assert access.may(Right.REFRESH)
        assert not access.may(Right.PERSONAL)
        assert await still(access) == access


async def test_roles_and_brands_are_read_from_claims_of_any_name(server: KeyServer, ctx: Context, brand: Brand) -> None:
    provider = IdentityProvider(settings(server, role_claim="groups", brand_claim="https://corp.example/brand"))
    claims: dict[str, Any] = {"groups": ["staff", "viewer", "developer", "personal"], "https://corp.example/brand": "*"}
    access = await provider.authenticate(token(**claims))
    assert access is not None
    assert (access.role, access.brand_id, access.may(Right.PERSONAL)) == (Role.DEVELOPER, None, True)
    assert await provider.authenticate(token()) is None


def public_pem() -> bytes:
    return RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def unsigned() -> str:
    return jwt.encode(
        jwt.decode(token(), options={"verify_signature": False}), "", algorithm="none", headers={"kid": "r1"}
    )


def by_public_key() -> str:
    """What a library that believes the header would check with the public key as a secret."""
    _, body, _ = token().split(".")
    header = jwt.utils.base64url_encode(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "r1"}).encode()).decode()
    signed = f"{header}.{body}"
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(signed.encode(), public_pem())
    return f"{signed}.{jwt.utils.base64url_encode(signature).decode()}"


def tampered() -> str:
    head, _, signature = token().split(".")
    return f"{head}.{token(siyu_role='admin').split('.')[1]}.{signature}"


AGO, SOON = timedelta(seconds=-31), timedelta(seconds=31)
REFUSED = {
    "alg none": (unsigned, "'none' is not configured"),
    "HS256 with the public key": (by_public_key, "'HS256' is not configured"),
    "an algorithm that does not fit the key": (lambda: token(EC, "ES256", "r1"), "algorithm"),
    "an algorithm that is not configured": (lambda: token(RSA, "RS512"), "'RS512' is not configured"),
    "another key under that name": (lambda: token(OTHER_RSA), "Signature"),
    "a claim that was changed": (tampered, "Signature"),
    "another issuer": (lambda: token(iss="https://evil.example/"), "issuer"),
    "no issuer": (lambda: token(iss=None), "iss"),
    "another audience": (lambda: token(aud="other"), "Audience"),
    "no audience": (lambda: token(aud=None), "aud"),
    "expired": (lambda: token(exp=datetime.now(UTC) + AGO), "expired"),
    "without an end": (lambda: token(exp=None), "exp"),
    "not yet valid": (lambda: token(nbf=datetime.now(UTC) + SOON), "not yet valid"),
    "issued in the future": (lambda: token(iat=datetime.now(UTC) + SOON), "not yet valid"),
    "an unknown key": (lambda: token(kid="r9"), "'r9' is not known"),
    "no key": (lambda: token(kid=None), "names no key"),
    "nobody": (lambda: token(sub=None), "sub"),
    "no role": (lambda: token(siyu_role=None), "names no role"),
    "a role that is none": (lambda: token(siyu_role="owner"), "names no role"),
    "a role of another shape": (lambda: token(siyu_role={"a": 1}), "names no role"),
    "no brand": (lambda: token(siyu_brand=None), "names no brand"),
    "a brand that is none": (lambda: token(siyu_brand="nope"), "names no brand"),
    "a brand of another shape": (lambda: token(siyu_brand=["shop"]), "names no brand"),
    "an end beyond all time": (lambda: token(exp=10**17), ""),
    "much too long": (lambda: token(note="x" * 9000), "too long"),
    "no token at all": (lambda: "a.b.c", ""),
}


@pytest.mark.parametrize("why", REFUSED)
async def test_what_is_not_proved_is_refused_for_that_reason(
    provider: IdentityProvider, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, reason = REFUSED[why]
    caplog.set_level(logging.INFO, "siyu.access")
    assert await provider.authenticate(make()) is None
    [record] = [each for each in caplog.records if "is refused" in each.getMessage()]
    assert reason.lower() in record.getMessage().lower()


async def test_clocks_may_differ_a_little(provider: IdentityProvider) -> None:
    now = datetime.now(UTC)
    late, early = timedelta(seconds=-25), timedelta(seconds=25)
    for given in (token(exp=now + late), token(nbf=now + early), token(iat=now + early)):
        assert await provider.authenticate(given) is not None


async def test_a_token_that_is_followed_ends_with_its_time(server: KeyServer, ctx: Context, brand: Brand) -> None:
    provider = IdentityProvider(settings(server, skew_seconds=0))
    access = await provider.authenticate(token(exp=datetime.now(UTC) + timedelta(seconds=2)))
    assert access is not None
    await asyncio.sleep(2.1)
    with pytest.raises(Unauthenticated):
        await still(access)


async def test_keys_are_kept_and_not_fetched_for_each_token(provider: IdentityProvider, server: KeyServer) -> None:
    for _ in range(5):
        assert await provider.authenticate(token()) is not None
    assert server.asked == 1
    given = [token(kid=f"unknown{n}") for n in range(20)]
    assert await asyncio.gather(*(provider.authenticate(each) for each in given)) == [None] * 20
    assert server.asked == 1, "within the pause nobody makes us ask again"


async def test_a_key_that_is_new_is_fetched_after_the_pause(provider: IdentityProvider, server: KeyServer) -> None:
    assert await provider.authenticate(token()) is not None
    server.keys.append(jwk(OTHER_RSA, "r2"))
    assert await provider.authenticate(token(OTHER_RSA, kid="r2")) is None
    with patch.object(providers, "PAUSE_SECONDS", 0):
        assert await provider.authenticate(token(OTHER_RSA, kid="r2")) is not None
    assert server.asked == 2


async def test_a_key_that_was_withdrawn_is_believed_no_longer(provider: IdentityProvider, server: KeyServer) -> None:
    assert await provider.authenticate(token()) is not None
    del server.keys[0]
    with patch.object(providers, "PAUSE_SECONDS", 0), patch.object(providers, "FRESH_SECONDS", 0):
        assert await provider.authenticate(token()) is None


@pytest.mark.parametrize("wrong", ["status", "body", "gone"])
async def test_a_provider_that_does_not_answer_is_not_asked_again_and_again(
    provider: IdentityProvider, server: KeyServer, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    if wrong == "status":
        server.status = 500
    elif wrong == "body":
        server.keys = [{"kty": "nonsense"}]
    else:
        server.shutdown()
        server.server_close()
    for _ in range(5):
        assert await provider.authenticate(token()) is None
    assert server.asked <= 1
    assert "cannot be had" in caplog.text


async def test_known_keys_outlive_an_outage_but_not_for_ever(provider: IdentityProvider, server: KeyServer) -> None:
    assert await provider.authenticate(token()) is not None
    server.status = 500
    with patch.object(providers, "PAUSE_SECONDS", 0), patch.object(providers, "FRESH_SECONDS", 0):
        assert await provider.authenticate(token()) is not None
        with patch.object(providers, "STALE_SECONDS", 0):
            assert await provider.authenticate(token()) is None


async def test_keys_that_encrypt_or_are_secrets_prove_nothing(provider: IdentityProvider, server: KeyServer) -> None:
    server.keys = [jwk(RSA, "r1", use="enc"), {"kty": "oct", "kid": "s1", "k": "c2VjcmV0", "alg": "HS256"}]
    assert await provider.authenticate(token()) is None
    assert await provider.authenticate(jwt.encode({"sub": "x"}, b"secret" * 8, headers={"kid": "s1"})) is None


async def test_keys_come_from_a_file_too(ctx: Context, brand: Brand, tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [jwk(RSA, "r1")]}))
    provider = IdentityProvider(ProviderSettings(issuer=ISSUER, audience=AUDIENCE, jwks=str(path)))
    assert await provider.authenticate(token()) is not None


@pytest.fixture
async def client(server: KeyServer, api: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """The API with that provider."""
    app = siyu_graphql.create_app(api.ctx, api.queue, settings=ApiSettings(provider=settings(server)))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://siyu") as http:
        yield http


async def test_the_api_takes_both_kinds_of_token(client: httpx2.AsyncClient, api: Any) -> None:
    async def me(bearer: str) -> Any:
        query = {"query": "{ me { role rights name prefix expiresAt brand { slug } } }"}
        return await client.post("/graphql", json=query, headers={"authorization": f"Bearer {bearer}"})

    mine = (await me(token(siyu_role="viewer"))).json()["data"]["me"]
    assert (mine["role"], mine["rights"], mine["name"]) == ("VIEWER", ["READ"], "ann@corp.example")
    assert mine["brand"] == {"slug": "shop"}
    assert (await me(api.token)).json()["data"]["me"]["role"] == "ADMIN"
    assert (await me(token(iss="https://evil.example/"))).status_code == 401
    response = await api.post({"query": "{ version }"}, token=token())
    assert response.status_code == 401, "an API without a provider takes none of its tokens"


# -- settings -----------------------------------------------------------------------------------------------------

WELL = {"SIYU_JWT_ISSUER": ISSUER, "SIYU_JWT_AUDIENCE": "siyu", "SIYU_JWT_JWKS": "https://login.example.com/jwks"}


def test_settings_are_read_from_the_environment() -> None:
    assert ApiSettings.from_env({}).provider is None
    found = ApiSettings.from_env({**WELL, "SIYU_JWT_ALGORITHMS": "RS256, ES384", "SIYU_JWT_SKEW_SECONDS": "5"}).provider
    assert found is not None
    assert (found.algorithms, found.skew_seconds) == (("RS256", "ES384"), 5)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"SIYU_JWT_AUDIENCE": ""}, "SIYU_JWT_AUDIENCE is not set"),
        ({"SIYU_JWT_ALGORITHMS": "RS256,HS256"}, "SIYU_JWT_ALGORITHMS=RS256,HS256: choose from RS256"),
        ({"SIYU_JWT_ALGORITHMS": "none"}, "choose from"),
        ({"SIYU_JWT_ALGORITHMS": ","}, "choose from"),
        ({"SIYU_JWT_JWKS": "http://login.example.com/jwks"}, "https"),
        ({"SIYU_JWT_JWKS": "/nowhere/jwks.json"}, "a file that is there"),
        ({"SIYU_JWT_JWKS": "file:///etc/passwd"}, "https"),
        ({"SIYU_JWT_SKEW_SECONDS": "9000"}, "SIYU_JWT_SKEW_SECONDS=9000"),
        ({"SIYU_ORIGINS": "shop.example.com"}, "write it like https://shop.example.com"),
        ({"SIYU_ORIGINS": "https://shop.example.com/"}, "no origin"),
        ({"SIYU_ORIGINS": "*"}, "no origin"),
        ({"SIYU_MOST_COST": "5"}, "SIYU_MOST_COST=5"),
    ],
)
def test_settings_that_cannot_be_name_the_variable_and_the_remedy(changed: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        ApiSettings.from_env({**WELL, **changed})
