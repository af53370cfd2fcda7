"""Keys stay private; what was not signed by the trusted key is refused."""

from __future__ import annotations

import shutil
import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from recommender.errors import ArtifactError, RegistryError
from recommender.registry.signing import public_key, sign, verify


def signed(model: Path, keys: Path) -> Path:
    (model / "model.sig").write_bytes(sign(model, keys))
    return model


def pem(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, password: bytes | None = None
) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else None
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )


def test_a_key_is_generated_once_for_its_owner_only(model: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    verify(signed(model, keys), keys)
    private = keys / "model-signing.key"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    before = private.read_bytes()
    verify(signed(model, keys), keys)
    assert private.read_bytes() == before
    assert sorted(path.name for path in keys.iterdir()) == [
        "model-signing.key",
        "model-signing.pub",
    ]


def test_many_first_signers_at_once_agree_on_one_key(model: Path, tmp_path: Path) -> None:
    keys, bundles = tmp_path / "keys", []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        bundles.append(sign(model, keys))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bundles) == 4
    for bundle in bundles:
        (model / "model.sig").write_bytes(bundle)
        verify(model, keys)


def test_a_key_from_a_secret_is_used_and_its_public_half_is_enough(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret.pem"
    secret.write_bytes(pem(ec.generate_private_key(ec.SECP384R1())))
    monkeypatch.setenv("OSTINATO_SIGNING_KEY", str(secret))
    signed(model, tmp_path / "keys")
    monkeypatch.delenv("OSTINATO_SIGNING_KEY")
    assert not (tmp_path / "keys" / "model-signing.key").exists()
    elsewhere = tmp_path / "elsewhere.pub"
    shutil.copy(public_key(tmp_path / "keys"), elsewhere)
    with pytest.raises(RegistryError, match=r"public key .* does not exist"):
        verify(model, tmp_path / "serving-machine")
    monkeypatch.setenv("OSTINATO_PUBLIC_KEY", str(elsewhere))
    assert verify(model, tmp_path / "serving-machine").startswith("m-")


def test_a_model_signed_with_another_key_is_refused(model: Path, tmp_path: Path) -> None:
    sign(model, tmp_path / "ours")
    signed(model, tmp_path / "theirs")
    with pytest.raises(ArtifactError, match=r"model\.sig.*Key mismatch"):
        verify(model, tmp_path / "ours")


def test_signing_with_a_key_that_nobody_here_trusts_is_refused_at_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(model, tmp_path / "keys")
    other = tmp_path / "other.pem"
    other.write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    monkeypatch.setenv("OSTINATO_SIGNING_KEY", str(other))
    with pytest.raises(RegistryError, match="does not belong to the trusted public key"):
        sign(model, tmp_path / "keys")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"-----BEGIN PRIVATE KEY-----\nSECRETSECRET\n-----END PRIVATE KEY-----\n",
            "not a readable",
        ),
        (pem(ec.generate_private_key(ec.SECP256R1()), b"password"), "unencrypted"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "P-256, P-384 or P-521"),
        (pem(rsa.generate_private_key(65537, 2048)), "not an elliptic-curve key"),
    ],
    ids=["garbage", "encrypted", "other-curve", "rsa"],
)
def test_an_unusable_key_is_named_but_never_shown(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    path = tmp_path / "secret.pem"
    path.write_bytes(content)
    monkeypatch.setenv("OSTINATO_SIGNING_KEY", str(path))
    with pytest.raises(RegistryError, match=message) as raised:
        sign(model, tmp_path / "keys")
    assert str(path) in str(raised.value)
    assert content.splitlines()[1].decode() not in str(raised.value)


def test_an_unsigned_folder_is_refused(model: Path, tmp_path: Path) -> None:
    sign(model, tmp_path / "keys")
    with pytest.raises(ArtifactError, match=r"not signed: model\.sig is missing"):
        verify(model, tmp_path / "keys")


@pytest.mark.parametrize("name", [".gitignore", ".hidden.json", "sub/more.json", "code.py"])
def test_an_added_file_is_refused_even_where_git_or_a_hidden_name_hides_it(
    model: Path, tmp_path: Path, name: str
) -> None:
    signed(model, tmp_path / "keys")
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_text("{}")
    with pytest.raises(ArtifactError, match=name.replace(".", r"\.")):
        verify(model, tmp_path / "keys")


def test_a_link_is_refused_in_a_model(model: Path, tmp_path: Path) -> None:
    signed(model, tmp_path / "keys")
    (model / "link.json").symlink_to("/etc/hostname")
    with pytest.raises(ArtifactError, match=r"link\.json is a link"):
        verify(model, tmp_path / "keys")
