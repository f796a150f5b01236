"""A receiver of webhooks in another language, with another library.

It listens on a free port of this machine and prints the port. Each POST is verified twice: by the
library of Standard Webhooks, and by a plain HMAC of the body. One that does not verify is answered
with 400. A GET answers with what came in, oldest first. It ends with its standard input.

Usage: receiver.py SECRET
"""

import hashlib
import hmac
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

SECRET = sys.argv[1]
RECEIVED = []


def by_library(body, headers):
    try:
        Webhook(SECRET).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def by_hand(body, headers):
    expected = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, headers.get("x-webhook-signature", ""))


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        envelope = json.loads(body)
        told = {
            "id": self.headers["webhook-id"],
            "type": envelope["type"],
            "buildId": envelope["buildId"],
            "library": by_library(body, headers),
            "plain": by_hand(body, headers),
            # What verifies must not verify any more once a byte of it has changed.
            "forged": by_library(body + b" ", headers) or by_hand(body + b" ", headers),
        }
        RECEIVED.append(told)
        self.answer(200 if told["library"] and told["plain"] else 400, b"")

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
