"""Whether the certificate that a site shows at an address would do for its public name, and for how long."""

import socket
import ssl
from datetime import UTC, datetime

from idr.errors import IdrError
from idr.release.expectations import IN_SITE, SELF_SIGNED

SECONDS = 20


def problems(public_name, address, environment, expectations, folder, now):
    """
    What is wrong with the certificate that an environment's ADDRESS shows for a public name, a line each.

    expectations:  which say what it's checked against (``ca``), and for how many days it has to be valid yet
    folder:        the site's directory, for its ``ca.pem``

    An IdrError where that can't be used.
    """
    name = f"the certificate of {environment} at {address}"
    renew = f"put the right pair into {folder / 'tls'} and salt-run environment.update {environment} apply=True"
    try:
        shown = _shown(public_name, address, _context(expectations.ca, folder, public_name, address))
    except ssl.SSLCertVerificationError as error:
        return [f"{name} isn't valid for {public_name}: {error.verify_message}: {renew}"]
    except OSError as error:
        return [f"{name} can't be looked at: {str(error) or type(error).__name__}"]
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC)
    days, left = expectations.certificate_days, (until - now).total_seconds() / 86400
    if left < days:
        return [f"{name} expires at {until:%Y-%m-%d %H:%M} UTC, in {left:.1f} days, and {days} are needed: {renew}"]
    return []


def _shown(public_name, address, context):
    """What the certificate says, once it has passed."""
    with (
        socket.create_connection((address, 443), SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=public_name) as secure,
    ):
        return secure.getpeercert()


def _context(trusted_by, folder, public_name, address):
    if trusted_by == SELF_SIGNED:
        return _trusting(_presented(public_name, address))
    if trusted_by != IN_SITE:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=folder / IN_SITE)
    except OSError as error:
        what = f"{folder / IN_SITE}, by which release_ca has certificates checked"
        raise IdrError(f"{what}, can't be used: {error.strerror or error}") from error


def _trusting(certificate):
    """A context that trusts this one, and checks its name and dates."""
    context = ssl.create_default_context(cadata=certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it needn't be called an authority
    return context


def _presented(public_name, address):
    """The certificate as it's shown, whoever made it, in PEM."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((address, 443), SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=public_name) as secure,
    ):
        return ssl.DER_cert_to_PEM_cert(secure.getpeercert(binary_form=True))
