"""A receiver of webhooks in another language, with other people's libraries.

It listens on a free port of this machine and prints the port. Each POST is verified by each of the
libraries that know the scheme, and by a plain HMAC of the body. One that does not verify is answered
with 400. A GET answers with what came in, oldest first. It ends with its standard input.

Usage: receiver.py SECRET [PUBLIC_KEY]
"""

import base64
import hashlib
import hmac
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import nacl.exceptions
import nacl.signing
import standardwebhooks
import svix
from convoy.utils.webhook import Webhook as Convoy

SECRET = sys.argv[1]
PUBLIC = sys.argv[2] if len(sys.argv) > 2 else None
RECEIVED = []


def by_standardwebhooks(body, headers):
    try:
        standardwebhooks.Webhook(SECRET).verify(body, headers)
    except standardwebhooks.WebhookVerificationError:
        return False
    return True


def by_svix(body, headers):
    try:
        svix.Webhook(SECRET).verify(body, headers)
    except svix.WebhookVerificationError:
        return False
    return True


def by_convoy(body, headers):
    given = headers.get("x-webhook-signature", "")
    # What does not fit is answered with a text, which is true.
    return Convoy(secret=SECRET).verify_signature(body.decode(), given) is True


def by_hand(body, headers):
    expected = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, headers.get("x-webhook-signature", ""))


def by_nacl(body, headers):
    key = nacl.signing.VerifyKey(base64.b64decode(PUBLIC.removeprefix("whpk_")))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for token in headers["webhook-signature"].split(" "):
        version, _, encoded = token.partition(",")
        if version == "v1a":
            try:
                key.verify(content, base64.b64decode(encoded))
                return True
            except nacl.exceptions.BadSignatureError:
                pass
    return False


VERIFIERS = {
    "standardwebhooks": by_standardwebhooks,
    "svix": by_svix,
    "convoy": by_convoy,
    "plain": by_hand,
}
if PUBLIC:
    VERIFIERS["nacl"] = by_nacl


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        envelope = json.loads(body)
        verified = [name for name, verify in VERIFIERS.items() if verify(body, headers)]
        # What verifies must not verify any more once a byte of it has changed.
        forged = [name for name, verify in VERIFIERS.items() if verify(body + b" ", headers)]
        RECEIVED.append(
            {
                "id": self.headers["webhook-id"],
                "type": envelope["type"],
                "buildId": envelope["buildId"],
                "verified": verified,
                "forged": forged,
            }
        )
        self.answer(200 if "standardwebhooks" in verified else 400, b"")

    def do_GET(self):
        self.answer(200, json.dumps(RECEIVED).encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
