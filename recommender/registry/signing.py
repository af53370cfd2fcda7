"""OpenSSF model signing with an elliptic-curve key of one's own; no network is asked.

The private key is the file named by `OSTINATO_SIGNING_KEY` (a mounted secret), or one that is
generated once into the workspace's `keys/`, readable by its owner only. Whoever verifies needs
the public key alone: `OSTINATO_PUBLIC_KEY` names its file, otherwise `keys/model-signing.pub`
is trusted. A public key that lay beside the models would prove nothing.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from recommender.errors import ArtifactError, RegistryError, StorageError
from recommender.registry.content import SIGNATURE, digests, version_of

PRIVATE_VARIABLE = "OSTINATO_SIGNING_KEY"
PUBLIC_VARIABLE = "OSTINATO_PUBLIC_KEY"
_PRIVATE, _PUBLIC = "model-signing.key", "model-signing.pub"


def sign(folder: Path, keys: Path) -> bytes:
    """Sign every file of a folder.

    Args:
        folder: the model and its lineage.
        keys: the workspace's folder of keys.

    Returns:
        a Sigstore bundle (JSON) that goes beside the files as `model.sig`.

    Raises:
        RegistryError: the key is missing, unreadable, of an unsupported kind, or not the one
            that this workspace trusts.
    """
    from model_signing import signing

    private = _private_key(keys)
    _pin(private, keys)
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(temporary) / SIGNATURE
        config: Any = signing.Config()  # type: ignore[no-untyped-call]  # half typed
        config.use_elliptic_key_signer(private_key=private)
        config.set_hashing_config(_hashing()).sign(folder, target)
        return target.read_bytes()


def verify(folder: Path, keys: Path, version: str | None = None) -> str:
    """Check that a folder is a signed model, whole and untouched.

    Args:
        folder: model files, `lineage.json` and `model.sig`.
        keys: the workspace's folder of keys.
        version: what it is said to be; a signed model under another's name is refused.

    Returns:
        its version.

    Raises:
        ArtifactError: a file was changed, cut off, removed or added (it is named), the signature
            is missing or not by the trusted key, or it is another version.
        RegistryError: there is no public key to verify with.
    """
    from cryptography.exceptions import InvalidSignature
    from model_signing import verifying

    public = public_key(keys)
    # Refuses what no signature can make safe: links, and formats that run code.
    hashes = digests(folder)
    signature = folder / SIGNATURE
    if not signature.is_file():
        raise ArtifactError(
            f"{folder} is not signed: {SIGNATURE} is missing",
            "only versions fetched from the registry can be served",
        )
    try:
        config: Any = verifying.Config()  # type: ignore[no-untyped-call]  # half typed
        config.use_elliptic_key_verifier(public_key=public)
        config.set_hashing_config(_hashing()).verify(folder, signature)
    except InvalidSignature:
        raise ArtifactError(
            f"{signature} was not made by the trusted key, or was changed", f"trusted is {public}"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OSError) as error:
        raise ArtifactError(
            f"{folder} does not match its {SIGNATURE}: {_told(error)}",
            "the model was changed after it was signed; fetch it again, or register it anew",
        ) from None
    actual = version_of(hashes)
    if version is not None and actual != version:
        raise ArtifactError(
            f"{folder} is a signed model, but it is {actual}, not {version}",
            "somebody put one version in another's place; fetch it again",
        )
    return actual


def make_keys(keys: Path) -> Path:
    """Make the pair of keys unless it is there; return the file of the public one.

    The first `sign` does the same. Servers on a cluster mount the public key before that.

    Args:
        keys: the workspace's folder of keys.

    Raises:
        RegistryError: as for `sign`.
    """
    _pin(_private_key(keys), keys)
    return public_key(keys)


def public_key(keys: Path) -> Path:
    """Return the file of the public key that is trusted here.

    Raises:
        RegistryError: there is none.
    """
    given = os.environ.get(PUBLIC_VARIABLE)
    path = Path(given) if given else keys / _PUBLIC
    if not path.is_file():
        raise RegistryError(
            f"the public key {path} does not exist, so no model can be verified",
            f"it is written when the first model is registered; elsewhere, name it in "
            f"{PUBLIC_VARIABLE}",
        )
    return path


def _private_key(keys: Path) -> Path:
    """Return the file of the private key; generate one where none is given."""
    given = os.environ.get(PRIVATE_VARIABLE)
    path = Path(given) if given else keys / _PRIVATE
    if given:
        if not path.is_file():
            raise RegistryError(f"{PRIVATE_VARIABLE} names {path}, which does not exist")
        return path
    if not path.exists():
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        _write_once(path, pem, 0o600)
    return path


def _pin(private: Path, keys: Path) -> None:
    """Write the public half where verifiers look; refuse a key that isn't the trusted one."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_private_key(private.read_bytes(), None)
    except (ValueError, TypeError, OSError) as error:
        # Say which file, never what is in it.
        raise RegistryError(
            f"{private} is not a readable, unencrypted PEM private key ({type(error).__name__})",
            "make one: openssl ecparam -name prime256v1 -genkey -noout",
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in (
        "secp256r1",
        "secp384r1",
        "secp521r1",
    ):
        raise RegistryError(f"{private} is not an elliptic-curve key on P-256, P-384 or P-521")
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    given = os.environ.get(PUBLIC_VARIABLE)
    trusted = Path(given) if given else keys / _PUBLIC
    if not given:
        _write_once(trusted, pem, 0o644)
    if trusted.read_bytes().strip() != pem.strip():
        raise RegistryError(
            f"the signing key {private} does not belong to the trusted public key {trusted}",
            "models signed by it would be refused when served; use the matching key, or replace "
            "the public key to trust the new one (older versions must then be signed again)",
        )


def _write_once(path: Path, content: bytes, mode: int) -> None:
    """Write a file unless it is there; of two writers at once the first wins, for both."""
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".key.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                os.fchmod(stream.fileno(), mode)
                os.fsync(stream.fileno())
            with suppress(FileExistsError):
                # A link, unlike a rename, never takes the place of a file that is there.
                os.link(name, path)
        finally:
            Path(name).unlink()
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


def _hashing() -> Any:
    from model_signing import hashing

    # Git's files are ignored by default; a model has none, and an added one must be noticed.
    config: Any = hashing.Config()  # type: ignore[no-untyped-call]  # half typed
    return config.set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _told(error: Exception) -> str:
    """Return the library's reason, without the hashes that only fill the line."""
    text = str(error) or type(error).__name__
    return text.removeprefix("Signature mismatch: ").strip("[]")
