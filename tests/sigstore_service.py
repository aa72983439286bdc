"""A Sigstore service on the loopback: an authority, a certificate log and a signature log with keys of their own.

It does what the public one does, so that the real library signs and verifies against it with nothing replaced: it issues
a certificate for an identity token with a signed certificate timestamp (RFC 6962) in it, and enters signatures in a log with
a signed promise, an inclusion proof and a signed checkpoint (Rekor v1). It asks nobody whether a token is genuine.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
LONG_AGO = "2020-01-01T00:00:00Z"


def token(identity: str, issuer: str = "https://accounts.example") -> str:
    """An identity token that says so."""
    now = int(time.time())
    claims = {"iss": issuer, "sub": identity, "aud": "sigstore", "iat": now, "exp": now + 300}
    return jwt.encode(claims, "k" * 32, algorithm="HS256")


def der(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Its public key."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def b64(data: bytes) -> str:
    """Base64 as text."""
    return base64.b64encode(data).decode()


class Service:
    """Keys, a root certificate, and how old the certificates it issues are."""

    def __init__(self) -> None:
        self.url = ""
        self.authority, self.certificates, self.log = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        self.age = timedelta()
        """How long ago the certificates it issues were issued: they hold for ten minutes."""
        self.late = timedelta()
        """How long after it was asked to it enters a signature in its log, as its clock says."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's authority")])
        key_id = x509.SubjectKeyIdentifier.from_public_key(self.authority.public_key())
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.authority.public_key())
        builder = builder.serial_number(1).not_valid_before(datetime(2020, 1, 1)).not_valid_after(datetime(2099, 1, 1))  # noqa: DTZ001
        builder = builder.add_extension(x509.BasicConstraints(True, 0), True).add_extension(usage, True)
        self.root = builder.add_extension(key_id, False).sign(self.authority, hashes.SHA256())

    def config(self) -> dict[str, Any]:
        """The trust configuration of its clients."""

        def key(private: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
            public = {"rawBytes": b64(der(private)), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": {"start": LONG_AGO}}
            log_id = {"keyId": b64(hashlib.sha256(der(private)).digest())}
            return {"baseUrl": self.url, "hashAlgorithm": "SHA2_256", "publicKey": public, "logId": log_id}

        authority = {
            "subject": {"organization": "test", "commonName": "test"}, "uri": self.url, "validFor": {"start": LONG_AGO},
            "certChain": {"certificates": [{"rawBytes": b64(self.root.public_bytes(Encoding.DER))}]},
        }  # fmt: skip
        service = {"url": self.url, "majorApiVersion": 1, "validFor": {"start": LONG_AGO}, "operator": "test"}
        return {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [key(self.log)], "certificateAuthorities": [authority], "ctlogs": [key(self.certificates)],
            },
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json", "caUrls": [service],
                "rekorTlogUrls": [service], "rekorTlogConfig": {"selector": "ANY"},
            },
        }  # fmt: skip

    def issue(self, csr: x509.CertificateSigningRequest, claims: dict[str, Any]) -> x509.Certificate:
        """A certificate for ten minutes, with the promise of the certificate log in it."""
        born = datetime.now(UTC) - self.age
        san = x509.RFC822Name(claims["sub"]) if "@" in claims["sub"] else x509.UniformResourceIdentifier(claims["sub"])
        issuer_text = claims["iss"].encode()
        builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(self.root.subject)
        builder = builder.public_key(csr.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(born - timedelta(seconds=5)).not_valid_after(born + timedelta(minutes=10))
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        public = self.authority.public_key()
        for extension, critical in (
            (usage, True), (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(public), False),
            (x509.SubjectAlternativeName([san]), True),
            (x509.UnrecognizedExtension(ISSUER, b"\x0c" + bytes([len(issuer_text)]) + issuer_text), False),
        ):  # fmt: skip
            builder = builder.add_extension(extension, critical)
        logged = builder.sign(self.authority, hashes.SHA256()).tbs_certificate_bytes
        promise = self._promise(logged, int(born.timestamp() * 1000))
        return builder.add_extension(x509.UnrecognizedExtension(SCT_LIST, promise), False).sign(self.authority, hashes.SHA256())

    def _promise(self, logged: bytes, when_ms: int) -> bytes:
        """A signed certificate timestamp list of one, as the extension holds it."""
        issuer_key = hashlib.sha256(der(self.authority)).digest()
        entry = issuer_key + len(logged).to_bytes(3, "big") + logged
        signed = struct.pack("!BBQH", 0, 0, when_ms, 1) + entry + b"\0\0"
        signature = self.certificates.sign(signed, ec.ECDSA(hashes.SHA256()))
        sct = b"\0" + hashlib.sha256(der(self.certificates)).digest() + struct.pack("!QHBBH", when_ms, 0, 4, 3, len(signature))
        sct += signature
        whole = struct.pack("!HH", len(sct) + 2, len(sct)) + sct
        return b"\x04" + bytes([len(whole)] if len(whole) < 128 else [0x81, len(whole)]) + whole

    def enter(self, proposed: dict[str, Any]) -> dict[str, Any]:
        """The log's answer to a proposed entry: a log with this one entry."""
        body = json.dumps(proposed, sort_keys=True, separators=(",", ":")).encode()
        root, log_id = hashlib.sha256(b"\0" + body).digest(), hashlib.sha256(der(self.log)).digest()
        note = f"test log\n1\n{b64(root)}\n"
        checkpoint = b64(log_id[:4] + self.log.sign(note.encode(), ec.ECDSA(hashes.SHA256())))
        when = int((datetime.now(UTC) + self.late).timestamp())
        entry = {"body": b64(body), "integratedTime": when, "logID": log_id.hex(), "logIndex": 0}
        promise = self.log.sign(json.dumps(entry, sort_keys=True, separators=(",", ":")).encode(), ec.ECDSA(hashes.SHA256()))
        proof = {
            "logIndex": 0, "rootHash": root.hex(), "treeSize": 1, "hashes": [],
            "checkpoint": f"{note}\n— test {checkpoint}\n",
        }  # fmt: skip
        return {"uuid": {**entry, "verification": {"signedEntryTimestamp": b64(promise), "inclusionProof": proof}}}

    def answer(self, path: str, body: dict[str, Any], bearer: str) -> dict[str, Any]:
        """What it answers to a request."""
        if path.endswith("/log/entries"):
            return self.enter(body)
        csr = x509.load_pem_x509_csr(base64.b64decode(body["certificateSigningRequest"]))
        leaf = self.issue(csr, jwt.decode(bearer, options={"verify_signature": False}))
        pems = [one.public_bytes(Encoding.PEM).decode() for one in (leaf, self.root)]
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": pems}}}


@contextmanager
def served(folder: Path) -> Iterator[Service]:
    """A service while the block runs; `folder/trust.json` is its clients' configuration."""
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            bearer = self.headers.get("authorization", "").removeprefix("Bearer ")
            data = json.dumps(service.answer(self.path, body, bearer)).encode()
            self.send_response(201)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_port}"
    (folder / "trust.json").write_text(json.dumps(service.config()))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
