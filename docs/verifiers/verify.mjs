// Verifies a webhook of buildfleet, with nothing but Node.js.
//
// `verify` returns the id of the event, which stays the same over all attempts: remember it, and pass
// over what has been seen. It throws for everything that is not to be believed. A key is `whsec_...`,
// plain text, or `whpk_...`.
//
// By hand: node verify.mjs KEY ID TIMESTAMP SIGNATURE < body

import crypto from "node:crypto";
import fs from "node:fs";
import { pathToFileURL } from "node:url";

const TOLERANCE_SECS = 300;

// `headers` has names in lower case, as `request.headers` has; `body` is a Buffer of the bytes as they
// came, not JSON read and written.
export function verify(keys, headers, body, now = Date.now() / 1000) {
  const id = headers["webhook-id"];
  const timestamp = headers["webhook-timestamp"];
  const signature = headers["webhook-signature"];
  if (!id || !signature || !/^[0-9]+$/.test(timestamp ?? "")) {
    throw new Error("a header is missing, or webhook-timestamp is no number of seconds");
  }
  if (Math.abs(now - Number(timestamp)) > TOLERANCE_SECS) {
    throw new Error("webhook-timestamp is too far from now");
  }
  const content = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  for (const token of signature.split(" ")) {
    const [version, encoded] = token.split(",", 2);
    if (encoded && keys.some((key) => fits(key, version, Buffer.from(encoded, "base64"), content))) {
      return id;
    }
  }
  throw new Error("webhook-signature fits none of the keys");
}

function fits(key, version, given, content) {
  if (key.startsWith("whpk_")) {
    return version === "v1a" && crypto.verify(null, content, publicKey(key), given);
  }
  const raw = key.startsWith("whsec_") ? Buffer.from(key.slice(6), "base64") : Buffer.from(key);
  const expected = crypto.createHmac("sha256", raw).update(content).digest();
  return (
    version === "v1" && given.length === expected.length && crypto.timingSafeEqual(given, expected)
  );
}

function publicKey(key) {
  const x = Buffer.from(key.slice(5), "base64").toString("base64url");
  return crypto.createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [key, id, timestamp, signature] = process.argv.slice(2);
  const headers = {
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": signature,
  };
  try {
    console.log(verify([key], headers, fs.readFileSync(0)));
  } catch (fault) {
    console.error(fault.message);
    process.exit(1);
  }
}
