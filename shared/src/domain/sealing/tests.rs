//! What is sealed opens in its place, under its key, unchanged, and in no other way.

use proptest::prelude::*;

use super::*;

const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];
const SALT: [u8; SALT_BYTES] = [9; SALT_BYTES];

fn entry(name: &str, bytes: [u8; 32]) -> String {
    use base64::engine::general_purpose::STANDARD;

    format!("{name}:{}", STANDARD.encode(bytes))
}

fn keys(entries: &[(&str, [u8; 32])]) -> MasterKeys {
    let entries: Vec<_> = entries.iter().map(|(name, bytes)| entry(name, *bytes)).collect();
    MasterKeys::read(&entries).unwrap()
}

fn opened(keys: &MasterKeys, sealed: &Sealed, place: &str) -> Result<String, Unopened> {
    keys.open(sealed, place).map(|secret| secret.expose().to_owned())
}

#[test]
fn a_sealed_secret_opens_in_its_place_and_in_no_other() {
    let keys = keys(&[("a", OLD)]);
    let sealed = keys.seal(&Secret::new("whsec_hush"), "end_1", SALT);

    assert_eq!(opened(&keys, &sealed, "end_1").as_deref(), Ok("whsec_hush"));
    assert_eq!(opened(&keys, &sealed, "end_2"), Err(Unopened::Broken("a".to_owned())));
    assert!(!sealed.as_str().contains("hush"));
}

#[test]
fn a_master_key_is_changed_without_a_moment_in_which_something_does_not_open() {
    let before = keys(&[("old", OLD)]);
    let sealed = before.seal(&Secret::new("hush"), "end_1", SALT);

    // First every program learns the new key, while the old one goes on sealing.
    let learning = keys(&[("old", OLD), ("new", NEW)]);
    assert_eq!(opened(&learning, &sealed, "end_1").as_deref(), Ok("hush"));
    assert!(!learning.is_stale(&sealed));
    // Then the new one seals, and what the old one sealed is sealed anew.
    let changing = keys(&[("new", NEW), ("old", OLD)]);
    assert!(changing.is_stale(&sealed));
    let secret = changing.open(&sealed, "end_1").unwrap();
    let anew = changing.seal(&secret, "end_1", [10; SALT_BYTES]);
    assert!(!changing.is_stale(&anew));
    assert_eq!(opened(&learning, &anew, "end_1").as_deref(), Ok("hush"));
    // Then the old one goes.
    let after = keys(&[("new", NEW)]);
    assert_eq!(opened(&after, &anew, "end_1").as_deref(), Ok("hush"));
    assert_eq!(opened(&after, &sealed, "end_1"), Err(Unopened::NoSuchKey("old".to_owned())));
    // A key that only has the name of the right one does not open.
    let impostor = keys(&[("new", OLD)]);
    assert_eq!(opened(&impostor, &anew, "end_1"), Err(Unopened::Broken("new".to_owned())));
}

#[test]
fn a_name_of_a_key_cannot_be_exchanged_for_another() {
    let keys = keys(&[("a", OLD), ("b", OLD)]);
    let sealed = keys.seal(&Secret::new("hush"), "end_1", SALT);
    let renamed = Sealed::read(&sealed.as_str().replacen(".a.", ".b.", 1)).unwrap();

    assert_eq!(opened(&keys, &renamed, "end_1"), Err(Unopened::Broken("b".to_owned())));
}

#[test]
fn what_was_never_sealed_is_told_apart() {
    for text in [
        "",
        "whsec_abc",
        "sealed1",
        "sealed1.a",
        "sealed1.a.???",
        "sealed1.a.AAAA",
        "sealed2.a.AAAA",
        "sealed1.a.AAAA.b",
    ] {
        assert_eq!(Sealed::read(text), Err(Unopened::NotSealed), "{text}");
    }
}

#[test]
fn every_fault_of_a_list_is_named_without_its_key() {
    let hush = "aHVzaA==";
    let entries = [
        hush.to_owned(),
        format!("a b:{hush}"),
        format!("short:{hush}"),
        entry("a", OLD),
        entry("a", NEW),
    ];

    let faults = MasterKeys::read(&entries).unwrap_err();

    assert_eq!(
        faults,
        [
            Fault::NoName(1),
            Fault::BadName(2, "a b".to_owned()),
            Fault::BadKey("short".to_owned()),
            Fault::Twice("a".to_owned()),
        ]
    );
    let printed: String = faults.iter().map(ToString::to_string).collect();
    assert!(!printed.contains(hush), "{printed}");
    assert_eq!(MasterKeys::read(&[]).unwrap_err(), [Fault::None]);
    assert!(MasterKeys::of("dev", OLD).is_ok() && MasterKeys::of("", OLD).is_err());
}

#[test]
fn master_keys_do_not_print_themselves() {
    let keys = keys(&[("new", NEW), ("old", OLD)]);

    assert_eq!(format!("{keys:?}"), r#"["new", "old"]"#);
    let sealed = keys.seal(&Secret::new("hush"), "end_1", SALT);
    assert_eq!(format!("{sealed:?}"), r#"Sealed("new")"#);
}

proptest! {
    #[test]
    fn whatever_is_sealed_opens_and_whatever_is_changed_does_not(
        secret in "\\PC{0,80}",
        place in "[a-z_0-9.]{0,20}",
        salt: [u8; SALT_BYTES],
        flip in any::<prop::sample::Index>(),
        bit in 0..8u32,
    ) {
        let keys = keys(&[("a", OLD)]);
        let sealed = keys.seal(&Secret::new(secret.as_str()), &place, salt);

        prop_assert_eq!(opened(&keys, &sealed, &place), Ok(secret));
        let read = Sealed::read(sealed.as_str()).unwrap();
        prop_assert_eq!(&read, &sealed);
        let encoded = sealed.as_str().strip_prefix("sealed1.a.").unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(encoded).unwrap();
        let at = flip.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let torn = format!("sealed1.a.{}", URL_SAFE_NO_PAD.encode(bytes));
        let torn = Sealed::read(&torn).unwrap();
        prop_assert_eq!(opened(&keys, &torn, &place), Err(Unopened::Broken("a".to_owned())));
    }
}
