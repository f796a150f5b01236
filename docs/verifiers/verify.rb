# Verifies a webhook of buildfleet, with nothing but the standard library.
#
# `verify` returns the id of the event, which stays the same over all attempts: remember it, and pass over
# what has been seen. It raises ArgumentError for everything that is not to be believed. A key is
# `whsec_...`, plain text, or `whpk_...`.
#
# By hand: ruby verify.rb KEY ID TIMESTAMP SIGNATURE < body

require "openssl"

module BuildfleetWebhook
  TOLERANCE_SECS = 300
  # What stands before the bytes of an Ed25519 key in DER (RFC 8410).
  ED25519 = ["302a300506032b6570032100"].pack("H*")

  module_function

  # `headers` has names in lower case; `body` is the bytes as they came, not JSON read and written.
  def verify(keys, headers, body, now = Time.now.to_i)
    id, timestamp, signature =
      headers.values_at("webhook-id", "webhook-timestamp", "webhook-signature")
    unless id && signature && /\A[0-9]+\z/.match?(timestamp)
      raise ArgumentError, "a header is missing, or webhook-timestamp is no number of seconds"
    end
    if (now - timestamp.to_i).abs > TOLERANCE_SECS
      raise ArgumentError, "webhook-timestamp is too far from now"
    end
    content = "#{id}.#{timestamp}.".b + body.b
    signature.split(" ").each do |token|
      version, encoded = token.split(",", 2)
      given = encoded.to_s.unpack1("m")
      return id if keys.any? { |key| fits?(key, version, given, content) }
    end
    raise ArgumentError, "webhook-signature fits none of the keys"
  end

  def fits?(key, version, given, content)
    if key.start_with?("whpk_")
      return false unless version == "v1a"

      public = OpenSSL::PKey.read(ED25519 + key.delete_prefix("whpk_").unpack1("m"))
      return public.verify(nil, given, content)
    end
    raw = key.start_with?("whsec_") ? key.delete_prefix("whsec_").unpack1("m") : key
    expected = OpenSSL::HMAC.digest("SHA256", raw, content)
    version == "v1" && OpenSSL.secure_compare(expected, given)
  rescue OpenSSL::PKey::PKeyError
    false
  end
end

if $PROGRAM_NAME == __FILE__
  key, id, timestamp, signature = ARGV
  headers = { "webhook-id" => id, "webhook-timestamp" => timestamp, "webhook-signature" => signature }
  begin
    puts BuildfleetWebhook.verify([key], headers, $stdin.binmode.read)
  rescue ArgumentError => e
    abort e.message
  end
end
