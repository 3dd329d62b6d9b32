"""A new server's SSH host keys, of what its console shows at one moment: none rather than somebody else's."""

import pytest

from idr.cloud.host_keys import in_console

BEGIN, END = "-----BEGIN SSH HOST KEY KEYS-----\n", "-----END SSH HOST KEY KEYS-----\n"
RSA = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQDJ1o8k3cEYZxOw0m0Q7y0=="
ECDSA = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTY="
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJc0zQY0w8iKs1m1U1iFzGx5o0bQ8bW1m3v0fJ0XkQ8e"
FORMER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1o8k3cEYZxOw0m0Q7y0pJb2gTtqC0d1mYc0p2h3abc"
BOOT = "[    0.000000] Linux version 6.1.0-26-cloud-amd64\r\n"
LOGIN = "\nDebian GNU/Linux 12 idr-omero ttyS0\n\nidr-omero login: "


def block(*keys):
    return BEGIN + "".join(f"{key} root@idr-omero\n" for key in keys) + END


def test_all_of_them_are_read_in_their_order_without_their_comments():
    assert in_console(BOOT + block(ECDSA, ED25519, RSA) + LOGIN) == [ECDSA, ED25519, RSA]


def test_a_line_that_syslog_wrote_has_its_key_all_the_same():
    lines = [BEGIN, f"{ECDSA} root@idr-omero\n", f"{ED25519} root@idr-omero\n", END]
    console = "".join(f"<14>Nov 25 05:12:33 cloud-init: {line}".replace("\n", "\r\n") for line in lines)

    assert in_console(BOOT + console) == [ECDSA, ED25519]


@pytest.mark.parametrize("console", [None, "", BOOT + LOGIN, block(), f"{ED25519} root@idr-omero\n", END + LOGIN])
def test_a_console_without_a_block_shows_none(console):
    assert in_console(console) == []


def test_a_block_that_is_being_printed_shows_none_wherever_it_is_cut():
    whole = BOOT + block(ECDSA, ED25519)

    for length in range(len(whole.rstrip())):
        assert in_console(whole[:length]) == [], whole[:length]
    assert in_console(whole) == [ECDSA, ED25519]


def test_one_whose_beginning_has_left_the_consoles_buffer_shows_none():
    assert in_console(block(ECDSA, ED25519)[len(BEGIN) :] + LOGIN) == []
    assert in_console(block(FORMER)[len(BEGIN) :] + BOOT + block(ED25519) + LOGIN) == [ED25519]


def test_of_a_rebuilt_server_it_is_the_last_starts():
    assert in_console(BOOT + block(FORMER) + LOGIN + BOOT + block(ED25519) + LOGIN) == [ED25519]


def test_a_start_that_was_cut_off_while_it_printed_them_leaves_none_to_the_next():
    cut = BEGIN + f"{FORMER} root@idr-omero\n"

    assert in_console(BOOT + cut + BOOT + block(ED25519) + LOGIN) == [ED25519]


def test_while_the_last_start_prints_its_own_those_of_the_one_before_are_not_taken_for_them():
    whole = BOOT + block(ECDSA, ED25519)

    for length in range(whole.index(BEGIN) + len(BEGIN), len(whole.rstrip())):
        assert in_console(BOOT + block(FORMER) + LOGIN + whole[:length]) == [], whole[:length]
