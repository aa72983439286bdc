"""Who signed a skill: Sigstore bundles, made and checked by the `sigstore` library.

A signed skill has `skill.sigstore.json` beside its SKILL.md: a Sigstore bundle (format 0.3) over the list of all its other
files, which is the text that a skill's digest is made of. So one signature covers every byte, and nothing but the list
has to be given to the library. The signer is what the certificate says: an identity (an address, or a workflow's URL) and the
issuer that vouched for it.

What is trusted is the public Sigstore service, as the library finds it, or what `SKILLRUN_TRUST` names: a file in Sigstore's
own format for clients (`application/vnd.dev.sigstore.clienttrustconfig.v0.1+json`), for a service of one's own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skillrun.errors import Problem
from skillrun.skills.skill import SkillError, listing

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

FILE = "skill.sigstore.json"
"""The signature's name, in the skill's directory."""
TRUST, TOKEN = "SKILLRUN_TRUST", "SIGSTORE_ID_TOKEN"
"""Environment: a trust configuration instead of the public one; an identity token, as CI systems hand them out."""
MAX_BYTES = 1 << 20
"""A bundle above this size is not read."""
UNSIGNED, UNCHECKED = "unsigned", "signed, not checked"
"""What stands in the place of a signer: where there is no signature, and where the library that checks one is missing."""
EXTRA = "install skillrun-agent[sign]"

_ISSUER, _ISSUER_V1 = "1.3.6.1.4.1.57264.1.8", "1.3.6.1.4.1.57264.1.1"
"""Fulcio's extensions that name the issuer: a DER string, and before 2023 its bare bytes."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed. `issuer` is empty where `name` is UNSIGNED or UNCHECKED."""

    name: str
    issuer: str = ""


def signer_of(files: Mapping[str, bytes]) -> Signer:
    """Who signed these files of a skill. Raises SkillError where a signature is there and does not hold, in words."""
    bundle = files.get(FILE)
    if bundle is None:
        return Signer(UNSIGNED)
    try:
        import sigstore  # noqa: F401
    except ImportError:
        return Signer(UNCHECKED)
    return _checked(bundle, signed_text(files))


def signed_text(files: Mapping[str, bytes]) -> bytes:
    """What is signed: the list of all files but the signature, with their digests."""
    return listing({path: data for path, data in files.items() if path != FILE})


def _checked(bundle: bytes, text: bytes) -> Signer:
    """Raises SkillError unless the bundle is a signature over this text that holds under what is trusted."""
    from sigstore.errors import Error
    from sigstore.models import Bundle
    from sigstore.verify import Verifier
    from sigstore.verify.policy import Identity

    if len(bundle) > MAX_BYTES:
        raise SkillError(f"is larger than {MAX_BYTES >> 20} MiB: no signature is", FILE)
    try:
        read = Bundle.from_json(bundle)
        signer = _named(read.signing_certificate)
        verifier = Verifier(trusted_root=_trust().trusted_root)
        verifier.verify_artifact(text, read, Identity(identity=signer.name))
    except Error as error:
        raise SkillError(f"the signature does not hold: {_in_words(str(error))}", FILE) from None
    except (ValueError, TypeError) as error:  # what a bundle made to break the library's own reading comes to
        raise SkillError(f"the signature does not hold: it cannot be read ({_short(str(error))})", FILE) from None
    return signer


_MEANINGS = (
    ("failed to load bundle", "it cannot be read"),
    ("digest mismatch", "a file is not as it was signed"),
    ("invalid for input", "a file is not as it was signed"),
    ("at validation time", "its certificate had expired when it was signed"),
    ("expired at time", "its certificate had expired when it was signed"),
    ("certificate chain", "its certificate is of an authority that is not trusted here"),
    ("sct", "its certificate is in no log that is trusted here"),
    ("log entry", "its entry in the log of signatures does not hold"),
)
"""Words in the library's reasons, in lower case, and what they mean for a person; the first that is found."""


def _in_words(reason: str) -> str:
    """What a reason of the library means, and its own words."""
    meaning = next((meaning for words, meaning in _MEANINGS if words in reason.lower()), "")
    return meaning if reason.startswith("failed to load") else f"{meaning} ({_short(reason)})" if meaning else _short(reason)


def _short(reason: str) -> str:
    return " ".join(reason.split())[:200]


def _named(certificate: Certificate) -> Signer:
    """What a certificate says of its owner. Raises ValueError where it names none."""
    from cryptography.hazmat import asn1
    from cryptography.x509 import ExtensionNotFound, ObjectIdentifier, SubjectAlternativeName, UnrecognizedExtension

    def value(oid: str) -> bytes | None:
        try:
            found = certificate.extensions.get_extension_for_oid(ObjectIdentifier(oid)).value
        except ExtensionNotFound:
            return None
        return found.value if isinstance(found, UnrecognizedExtension) else None

    names = [str(name.value) for name in certificate.extensions.get_extension_for_class(SubjectAlternativeName).value]
    newer, older = value(_ISSUER), value(_ISSUER_V1)
    issuer = asn1.decode_der(str, newer) if newer is not None else (older or b"").decode()
    if len(names) != 1 or not issuer:
        raise ValueError("its certificate names no identity, or no issuer")
    return Signer(names[0], issuer)


def _trust() -> Any:
    """What is trusted: a file's, or the public service's, as it is now or, without a network, as the library knew it."""
    from sigstore.errors import TUFError
    from sigstore.models import ClientTrustConfig

    given = os.environ.get(TRUST, "")
    if given:
        try:
            return ClientTrustConfig.from_json(Path(given).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise Problem(
                f"{TRUST}={given} is no trust configuration of Sigstore: {str(error)[:200]}", "unset it, or mend it"
            ) from None
    try:
        return ClientTrustConfig.production()
    except TUFError:
        return ClientTrustConfig.production(offline=True)


def sign(files: Mapping[str, bytes]) -> tuple[bytes, Signer]:
    """A signature over a skill's files, to be kept as FILE beside them. A person may be sent to a browser to say who they are.

    Raises Problem where nobody can say who signs, the service cannot be reached, or the library is missing.
    """
    try:
        from sigstore.sign import SigningContext
    except ImportError as error:
        raise Problem(f"signing needs more than is installed ({error.name})", EXTRA) from None
    trust = _trust()
    try:
        with SigningContext.from_trust_config(trust).signer(_identity(trust)) as signer:
            bundle = signer.sign_artifact(signed_text(files)).to_json().encode()
    except Exception as error:  # noqa: BLE001 - what the library raises where a service refuses has no common ancestor
        raise Problem(f"not signed: {_short(str(error)) or type(error).__name__}", _SIGN_HINT, 6) from None
    return bundle, _checked(bundle, signed_text(files))


_SIGN_HINT = f"signing needs the Sigstore service and an identity: a browser, a CI system's, or {TOKEN}"


def _identity(trust: Any) -> Any:
    """The identity token: from the environment, from the CI system, or from a person's browser. Raises sigstore's errors."""
    from sigstore.oidc import IdentityToken, Issuer, detect_credential

    given = os.environ.get(TOKEN) or detect_credential()
    if given:
        return IdentityToken(given)
    return Issuer(trust.signing_config.get_oidc_url()).identity_token()
