//! Signatures against published vectors, and everything that must not verify.

use proptest::prelude::*;

use super::*;

/// Secret, id, seconds, body, token.
const STANDARD: &[(&str, &str, i64, &str, &str)] = &[
    (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        r#"{"test": 2432232314}"#,
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    (
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        1_649_367_553,
        r#"{"email":"test@example.com","username":"test_user"}"#,
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
    ),
    (
        "whsec_plJ3nmyCDGBKInavdOK15jsl",
        "msg_loFOjxBNrRLzqYUf",
        1_731_705_121,
        r#"{"event_type":"ping","data":{"success":true}}"#,
        "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
    ),
    (
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6K\
         vg==",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        r#"{"test": 2432232314}"#,
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBA\
         g==",
    ),
];

const PUBLIC_OF_THE_FOURTH: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";

fn keyring(texts: &[&str]) -> Keyring {
    let texts: Vec<_> = texts.iter().map(|text| Secret::new(*text)).collect();
    Keyring::read(&texts).unwrap()
}

fn verifier(texts: &[&str]) -> Verifier {
    let texts: Vec<_> = texts.iter().map(|text| Secret::new(*text)).collect();
    Verifier::read(&texts).unwrap()
}

fn came<'a>(id: &'a str, timestamp: &'a str, signature: &'a str) -> Standard<'a> {
    Standard { id: Some(id), timestamp: Some(timestamp), signature: Some(signature) }
}

#[test]
fn standard_signatures_are_those_of_the_published_vectors() {
    for (secret, id, secs, body, token) in STANDARD {
        let signed = keyring(&[secret]).sign(id, *secs, body.as_bytes());

        assert_eq!(signed.standard, *token);
        let verifier = verifier(&[secret]);
        let headers = (secs.to_string(), (secs + 1).to_string());
        let judge = |timestamp: &str, body: &str| {
            verifier.standard(came(id, timestamp, token), body.as_bytes(), None)
        };
        assert_eq!(judge(&headers.0, body), Ok(()));
        assert_eq!(judge(&headers.1, body), Err(Mismatch::Standard));
        assert_eq!(judge(&headers.0, "{}"), Err(Mismatch::Standard));
    }
}

#[test]
fn plain_signatures_are_those_of_the_published_vectors() {
    for (secret, body, signature) in [
        (
            "convoy-webhook-secret",
            r#"{"event":"charge.success","amount":1000,"currency":"NGN"}"#,
            "244449b7f48cbc2709060c9dcdc2b3aa47a78f540430579015c579fb12defbb4",
        ),
        (
            "It's a Secret to Everybody",
            "Hello, World!",
            "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        ),
    ] {
        let signed = keyring(&[secret]).sign("evt_1", 0, body.as_bytes());

        assert_eq!(signed.plain.as_deref(), Some(signature));
        let verifier = verifier(&[secret]);
        assert_eq!(verifier.plain(signature, body.as_bytes()), Ok(()));
        for (bad, of) in [
            (signature.to_uppercase(), body),
            (signature.to_owned(), ""),
            (signature[1..].to_owned(), body),
            (signature[2..].to_owned(), body),
            (format!("{signature}00"), body),
            (format!("sha256={signature}"), body),
            (String::new(), body),
        ] {
            assert_eq!(verifier.plain(&bad, of.as_bytes()), Err(Mismatch::Plain), "{bad}");
        }
    }
}

#[test]
fn the_public_half_verifies_and_is_published() {
    let (secret, id, secs, body, token) = STANDARD[3];
    let public = keyring(&[secret]).public().next().unwrap();

    assert_eq!(public.to_string(), PUBLIC_OF_THE_FOURTH);
    let verifier = verifier(&[PUBLIC_OF_THE_FOURTH]);
    let secs = secs.to_string();
    assert_eq!(verifier.standard(came(id, &secs, token), body.as_bytes(), None), Ok(()));
    assert_eq!(public.jwk()["x"], "1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4");
    assert!(Keyring::read(&[Secret::new(PUBLIC_OF_THE_FOURTH)]).is_err());
}

#[test]
fn a_thumbprint_is_that_of_rfc_8037() {
    // The key of its appendix A.
    let public = PublicKey::read("whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=").unwrap();

    assert_eq!(public.jwk()["kid"], "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn every_live_key_signs_and_any_of_them_verifies() {
    let (new, old, pair) = (STANDARD[0].0, "sixteen-letters!", STANDARD[3].0);
    let signed = keyring(&[new, pair, old]).sign("evt_1", 1_700_000_000, b"{}");

    let tokens: Vec<_> = signed.standard.split(' ').collect();
    assert_eq!(tokens.len(), 3);
    assert!(tokens[0].starts_with("v1,") && tokens[2].starts_with("v1,"), "{tokens:?}");
    assert!(tokens[1].starts_with("v1a,"), "{tokens:?}");
    for knows in [new, old, pair, PUBLIC_OF_THE_FOURTH] {
        let came = came("evt_1", "1700000000", &signed.standard);
        assert_eq!(verifier(&[knows]).standard(came, b"{}", None), Ok(()), "{knows}");
    }
    let stranger = verifier(&["somebody-else's-key"]);
    let came = came("evt_1", "1700000000", &signed.standard);
    assert_eq!(stranger.standard(came, b"{}", None), Err(Mismatch::Standard));
    // Who has not been told of the new key yet verifies the required header as before.
    let plain = signed.plain.unwrap();
    assert_eq!(verifier(&[old]).plain(&plain, b"{}"), Ok(()));
    assert_eq!(verifier(&[new, old]).plain(&plain, b"{}"), Ok(()));
}

#[test]
fn without_a_shared_key_there_is_no_plain_signature() {
    assert_eq!(keyring(&[STANDARD[3].0]).sign("evt_1", 0, b"").plain, None);
    assert!(!verifier(&[STANDARD[3].0]).has_shared());
}

#[test]
fn what_does_not_belong_in_the_headers_is_refused_by_name() {
    let (secret, id, secs, body, token) = STANDARD[0];
    let (verifier, secs, now) = (verifier(&[secret]), secs.to_string(), Some(secs));
    let judge = |came: Standard<'_>, now| verifier.standard(came, body.as_bytes(), now);
    let whole = came(id, &secs, token);

    assert_eq!(judge(whole, now), Ok(()));
    for garbage in ["v2,abc", "nonsense", "v1,???", ""] {
        let among = format!("{garbage} {token}");
        assert_eq!(judge(came(id, &secs, &among), now), Ok(()), "{garbage}");
        assert_eq!(judge(came(id, &secs, garbage), now), Err(Mismatch::Standard), "{garbage}");
    }
    let bare = token.strip_prefix("v1,").unwrap();
    for half in [bare, &token[..20], &format!("v2,{bare}"), &format!("v1a,{bare}")] {
        assert_eq!(judge(came(id, &secs, half), now), Err(Mismatch::Standard), "{half}");
    }
    assert_eq!(judge(came("msg_other", &secs, token), now), Err(Mismatch::Standard));
    let missing = |came: Standard<'_>| judge(came, now).unwrap_err().to_string();
    assert_eq!(missing(Standard { id: None, ..whole }), "no webhook-id");
    assert_eq!(missing(Standard { timestamp: None, ..whole }), "no webhook-timestamp");
    assert_eq!(missing(Standard { signature: None, ..whole }), "no webhook-signature");
    for bad in ["", "soon", "-1", "+1", "1.5", "99999999999999999999"] {
        assert_eq!(judge(came(id, bad, token), now), Err(Mismatch::BadTimestamp), "{bad}");
    }
}

#[test]
fn a_time_is_believed_within_five_minutes_either_way() {
    let (secret, id, secs, body, token) = STANDARD[0];
    let (verifier, timestamp) = (verifier(&[secret]), secs.to_string());
    let at = |now| verifier.standard(came(id, &timestamp, token), body.as_bytes(), Some(now));

    assert_eq!(at(secs + 300), Ok(()));
    assert_eq!(at(secs - 300), Ok(()));
    assert_eq!(at(secs + 301), Err(Mismatch::TooOld { by_secs: 301 }));
    assert_eq!(at(secs - 301), Err(Mismatch::TooNew { by_secs: 301 }));
    assert_eq!(at(i64::MAX), Err(Mismatch::TooOld { by_secs: i64::MAX - secs }));
}

#[test]
fn texts_that_only_look_like_keys_are_refused() {
    let read = |text: &str| Key::read(&Secret::new(text)).map(|_| ());

    assert_eq!(read("whsec_???"), Err(BadKey::NotBase64("whsec_")));
    assert_eq!(read("whsec_"), Err(BadKey::Empty));
    assert_eq!(read(""), Err(BadKey::Empty));
    assert_eq!(read("whsk_AAAA"), Err(BadKey::PrivateLength));
    assert_eq!(read("whpk_AAAA"), Err(BadKey::PublicOnly));
    assert_eq!(PublicKey::read("whpk_AAAA"), Err(BadKey::PublicLength));
    let halves = Key::pair(&[7; 32]);
    let exposed = halves.expose();
    // The first letters are the seed: another one does not belong to the public half.
    let torn = exposed.replacen("whsk_B", "whsk_C", 1);
    assert_ne!(torn, exposed);
    assert_eq!(read(&torn), Err(BadKey::Halves));
    assert!(Keyring::read(std::iter::empty()).is_err());
    assert!(Verifier::read(std::iter::empty()).is_err());
}

#[test]
fn new_keys_are_as_long_as_the_standard_wants_them() {
    for (bytes, fits) in [(23, false), (24, true), (32, true), (64, true), (65, false)] {
        assert_eq!(Key::is_of_standard_length(&Key::shared(&vec![7; bytes])), fits, "{bytes}");
    }
    assert!(Key::is_of_standard_length(&Key::pair(&[7; 32])));
    assert!(Key::is_of_standard_length(&Secret::new("sixteen-letters!")));
    assert!(!Key::is_of_standard_length(&Secret::new("whsec_???")));
}

#[test]
fn secrets_do_not_print_themselves() {
    let secret = Key::shared(b"thirty-two bytes make a good key");
    let pair = Key::pair(&[7; 32]);
    let printed = format!(
        "{secret:?} {:?} {:?} {:?}",
        Key::read(&secret).unwrap(),
        Keyring::read([&secret, &pair]).unwrap(),
        Verifier::read([&secret, &pair]).unwrap()
    );

    for exposed in [secret.expose(), pair.expose()] {
        assert!(!printed.contains(&exposed[6..16]), "{printed}");
    }
    assert!(!printed.contains("thirty") && !printed.contains("7, 7"), "{printed}");
}

#[test]
fn ids_that_would_blur_what_was_signed_are_not_signed() {
    assert!(is_signable("evt_01J8ZQ5W3V9K2M4N6P7R8S9T0B"));
    for id in ["", "a.b", "a b", "a\r\nb", "\u{e9}"] {
        assert!(!is_signable(id), "{id:?}");
    }
}

proptest! {
    #[test]
    fn whatever_is_signed_verifies_and_nothing_else_does(
        seed: [u8; 32],
        body in prop::collection::vec(any::<u8>(), 1..200),
        secs in 0..4_000_000_000i64,
        flip in any::<prop::sample::Index>(),
    ) {
        let (shared, pair) = (Key::shared(&seed), Key::pair(&seed));
        let signed = Keyring::read([&shared, &pair]).unwrap().sign("evt_1", secs, &body);
        let timestamp = secs.to_string();
        let mut forged = body.clone();
        let at = flip.index(forged.len());
        forged[at] ^= 1;

        for key in [&shared, &pair] {
            let verifier = Verifier::read([key]).unwrap();
            let came = came("evt_1", &timestamp, &signed.standard);
            prop_assert_eq!(verifier.standard(came, &body, None), Ok(()));
            prop_assert_eq!(verifier.standard(came, &forged, None), Err(Mismatch::Standard));
        }
        let plain = signed.plain.unwrap();
        let verifier = Verifier::read([&shared]).unwrap();
        prop_assert_eq!(verifier.plain(&plain, &body), Ok(()));
        prop_assert_eq!(verifier.plain(&plain, &forged), Err(Mismatch::Plain));
    }
}
