"""An operator's own directory: what is taken from it, and what is refused."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from idr import site


def pair():
    """A private key and a certificate for it, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "idr.example.org")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private.decode(), certificate.public_bytes(pem).decode()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "idr/tls").mkdir(parents=True)
    (tmp_path / "idr").chmod(0o700)
    key, certificate = pair()
    (tmp_path / "idr/tls/privkey.pem").write_text(key)
    (tmp_path / "idr/tls/fullchain.pem").write_text(certificate)
    (tmp_path / "idr/site.sls").write_text("base: {}\n")
    (tmp_path / "idr/oauth_client_secret").write_text("0a1b2c\n")
    (tmp_path / "idr/known_hosts").touch()
    return tmp_path / "idr"


def test_everything_it_may_have(folder):
    found, problems = site.read("idr", folder)

    assert problems == []
    assert found.known_hosts == (folder / "known_hosts",)
    assert found.files["/etc/idr/pillar/site.sls"] == "base: {}\n"
    tls = json.loads(found.files["/etc/idr/pillar/secrets/idr/tls.sls"])["secrets"]["tls"]
    assert tls == {
        "fullchain": (folder / "tls/fullchain.pem").read_text(),
        "privkey": (folder / "tls/privkey.pem").read_text(),
    }
    oauth = json.loads(found.files["/etc/idr/pillar/secrets/idr-a/oauth.sls"])["secrets"]["oauth"]
    assert oauth == {"client_secret": "0a1b2c"}


def test_none_at_all_is_an_empty_one(tmp_path):
    assert site.read("idr", tmp_path / "nothing") == (site.Site({}, ()), [])


def test_a_directory_that_others_may_look_into(folder):
    folder.chmod(0o750)

    assert site.read("idr", folder)[1] == [
        f"{folder}: others may look into it, and it holds secrets: chmod 700 {folder}"
    ]


def test_a_file_that_it_does_not_know_is_not_left_out_silently(folder):
    (folder / "secret.sls").touch()

    assert site.read("idr", folder)[1] == [
        f"{folder}/secret.sls: nothing that enrolment takes; "
        "it takes site.sls, environment.sls, tls, oauth_client_secret, known_hosts, copies, release.sls, ca.pem"
    ]


def test_a_key_of_another_certificate(folder):
    (folder / "tls/privkey.pem").write_text(pair()[0])

    [problem] = site.read("idr", folder)[1]
    assert problem == f"{folder}/tls: privkey.pem is not the key of the first certificate in fullchain.pem"


def test_a_certificate_without_its_key(folder):
    (folder / "tls/privkey.pem").unlink()

    assert site.read("idr", folder)[1] == [f"{folder}/tls/privkey.pem: missing; certificate and key come together"]


def test_no_pem_at_all(folder):
    (folder / "tls/fullchain.pem").write_text("certificate")

    [problem] = site.read("idr", folder)[1]
    assert problem.endswith("have to be PEM, the key without a passphrase")


@pytest.mark.parametrize("text", ["", "client_id: 12\nclient_secret: 34\n"])
def test_a_client_secret_that_is_none(folder, text):
    (folder / "oauth_client_secret").write_text(text)

    assert site.read("idr", folder)[1] == [
        f"{folder}/oauth_client_secret: has to be the client secret of the login provider, and nothing else"
    ]
