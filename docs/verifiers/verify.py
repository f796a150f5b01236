"""Verifies a webhook of buildfleet, with nothing but the standard library.

`verify` returns the id of the event, which stays the same over all attempts: remember it, and pass over
what has been seen. It raises ValueError for everything that is not to be believed. A key is `whsec_...`,
plain text, or `whpk_...`; the last one needs PyNaCl.

By hand: python3 verify.py KEY ID TIMESTAMP SIGNATURE < body
"""

import base64
import hashlib
import hmac
import sys
import time

TOLERANCE_SECS = 300


def verify(keys, headers, body, now=None):
    """`headers` has names in lower case; `body` is the bytes as they came, not JSON read and written."""
    event_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    if not timestamp.isascii() or not timestamp.isdigit():
        raise ValueError("webhook-timestamp is no number of seconds")
    if abs((time.time() if now is None else now) - int(timestamp)) > TOLERANCE_SECS:
        raise ValueError("webhook-timestamp is too far from now")
    content = f"{event_id}.{timestamp}.".encode() + body
    for token in headers["webhook-signature"].split(" "):
        version, _, encoded = token.partition(",")
        if any(fits(key, version, encoded, content) for key in keys):
            return event_id
    raise ValueError("webhook-signature fits none of the keys")


def fits(key, version, encoded, content):
    if key.startswith("whpk_"):
        return version == "v1a" and fits_public(key, encoded, content)
    raw = base64.b64decode(key[6:]) if key.startswith("whsec_") else key.encode()
    expected = base64.b64encode(hmac.new(raw, content, hashlib.sha256).digest())
    return version == "v1" and hmac.compare_digest(expected, encoded.encode())


def fits_public(key, encoded, content):
    from nacl.exceptions import BadSignatureError
    from nacl.signing import VerifyKey

    try:
        VerifyKey(base64.b64decode(key[5:])).verify(content, base64.b64decode(encoded))
    except (BadSignatureError, ValueError):
        return False
    return True


if __name__ == "__main__":
    key, event_id, timestamp, signature = sys.argv[1:]
    headers = {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature,
    }
    try:
        print(verify([key], headers, sys.stdin.buffer.read()))
    except ValueError as fault:
        sys.exit(str(fault))
