"""A QR code of the page's own address, for an audience that wants to open it on a phone.

Only a visitor's browser knows by which address it reached the page: a proxy may have changed it.
So the browser says it, and a browser may say anything: whatever is not a plain link to a page of
the web gets no code.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

import segno

LONGEST = 300
"""Characters.  A longer link makes a code of modules too small for the last row."""
PLAIN = re.compile(r"[!#-&(-;=?-\[\]_a-z~]+")
"""What a link has: no blanks, quotes, angle brackets, nor anything beyond ASCII."""
ALONE = "This page is at an address that only this machine can reach, so there is nothing to scan."


def checked(address: str) -> str:
    """The address if it is a link that can be shown, else an empty text.

    >>> checked("https://example.org/app"), checked("javascript:alert(1)")
    ('https://example.org/app', '')
    """
    if len(address) > LONGEST or not PLAIN.fullmatch(address):
        return ""
    try:
        parts = urlsplit(address)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        return ""
    return address if known and "@" not in parts.netloc else ""


def is_local(address: str) -> bool:
    """Whether a checked address means the machine of whoever opens it, which is another for each.

    >>> is_local("http://localhost:5006/app"), is_local("http://192.168.1.20:5006/app")
    (True, False)
    """
    host = (urlsplit(address).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        number = ip_address(host)
    except ValueError:
        return False
    return number.is_loopback or number.is_unspecified


def drawn(address: str) -> str:
    """The code of a checked address as SVG, black on white whatever is around it.

    It scales with its place, and has the quiet zone of four modules that a camera needs.
    """
    code = segno.make_qr(address, error="m")
    return code.svg_inline(
        dark="#000", light="#fff", border=4, omitsize=True, svgclass=None, lineclass=None
    )
