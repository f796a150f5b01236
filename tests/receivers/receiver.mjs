// The same as receiver.py on Node.js: it listens on a free port and prints it; each POST is verified by
// each library and by a plain HMAC; a GET answers with what came in. It ends with its standard input.
//
// Usage: receiver.mjs SECRET, in a folder with the node_modules of package.json

import crypto from "node:crypto";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.cwd(), "package.json"));
const standardwebhooks = require("standardwebhooks");
const svix = require("svix");

const SECRET = process.argv[2];
const received = [];

const by = (Webhook) => (body, headers) => {
  try {
    new Webhook(SECRET).verify(body, headers);
    return true;
  } catch {
    return false;
  }
};

const verifiers = {
  standardwebhooks: by(standardwebhooks.Webhook),
  svix: by(svix.Webhook),
  plain: (body, headers) => {
    const expected = Buffer.from(crypto.createHmac("sha256", SECRET).update(body).digest("hex"));
    const given = Buffer.from(headers["x-webhook-signature"] ?? "");
    return given.length === expected.length && crypto.timingSafeEqual(given, expected);
  },
};

const passed = (body, headers) =>
  Object.keys(verifiers).filter((name) => verifiers[name](body, headers));

const server = http.createServer(async (request, response) => {
  if (request.method === "GET") {
    response.end(JSON.stringify(received));
    return;
  }
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  const envelope = JSON.parse(body);
  const verified = passed(body, request.headers);
  received.push({
    id: request.headers["webhook-id"],
    type: envelope.type,
    buildId: envelope.buildId,
    verified,
    // What verifies must not verify any more once a byte of it has changed.
    forged: passed(body + " ", request.headers),
  });
  response.statusCode = verified.includes("standardwebhooks") ? 200 : 400;
  response.end();
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
