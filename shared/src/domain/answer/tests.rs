//! Every status against every header, as one table.

use super::*;
use crate::domain::attempt::FailureKind;

/// Wed, 19 Nov 2025 10:00:00 GMT.
const NOW_MS: i64 = 1_763_546_400_000;

const DISABLE: Option<&str> = Some("disable");
const ABORT: Option<&str> = Some("abort-message");

fn rule(status: u16, retry_after: Option<&str>, control: Option<&str>) -> Ruling {
    Answer { status, retry_after, control, date: None }.rule(NOW_MS)
}

/// A ruling in a word or two: what becomes of the delivery, then of the endpoint.
fn words(ruling: &Ruling) -> String {
    let mut words = match &ruling.failure {
        None => "delivered".to_owned(),
        Some(failure) => {
            let fate = match failure.kind {
                FailureKind::Transient => "again",
                FailureKind::Permanent => "never",
                FailureKind::Lost => "lost",
            };
            format!("{} {fate}", failure.code)
        }
    };
    if let Some(pause) = ruling.pause {
        words.push_str(&format!(" after {}", pause.as_secs_f64()));
    }
    if ruling.throttle {
        words.push_str(", slower");
    }
    if ruling.disable {
        words.push_str(", disabled");
    }
    words
}

#[test]
fn every_status_means_what_the_table_says() {
    // Status; what it means alone, with `Retry-After: 20`, with disable, with abort-message.
    const OK: [&str; 4] = ["delivered", "delivered", "delivered, disabled", "delivered"];
    const REDIRECT: [&str; 4] = [
        "redirected again",
        "redirected again after 20",
        "rejected never, disabled",
        "rejected never",
    ];
    const REFUSAL: [&str; 4] =
        ["refused again", "refused again after 20", "rejected never, disabled", "rejected never"];
    const OVERLOAD: [&str; 4] = [
        "refused again, slower",
        "refused again after 20, slower",
        "rejected never, slower, disabled",
        "rejected never, slower",
    ];
    const LIMIT: [&str; 4] = [
        "throttled again, slower",
        "throttled again after 20, slower",
        "rejected never, slower, disabled",
        "rejected never, slower",
    ];
    const GONE: [&str; 4] = [
        "gone never, disabled",
        "gone never after 20, disabled",
        "gone never, disabled",
        "gone never, disabled",
    ];
    for status in 100..=999 {
        let wanted = match status {
            200..=299 => OK,
            300..=399 => REDIRECT,
            410 => GONE,
            429 => LIMIT,
            502..=504 => OVERLOAD,
            _ => REFUSAL,
        };

        let found = [
            rule(status, None, None),
            rule(status, Some("20"), None),
            rule(status, None, DISABLE),
            rule(status, None, ABORT),
        ];

        assert_eq!(found.each_ref().map(words), wanted, "{status}");
    }
}

#[test]
fn a_failure_says_what_was_answered() {
    for status in [302, 404, 410, 429, 500, 503] {
        for control in [None, DISABLE, ABORT] {
            let reason = rule(status, None, control).failure.unwrap().reason;
            assert!(reason.contains(&format!("answered {status}")), "{reason}");
        }
    }
}

#[test]
fn retry_after_is_read_in_all_its_forms() {
    let secs = Duration::from_secs;
    for (text, wanted) in [
        ("20", Some(secs(20))),
        (" 20 ", Some(secs(20))),
        ("1.5", Some(Duration::from_millis(1500))),
        ("0.001", Some(Duration::from_millis(1))),
        ("0.25000", Some(Duration::from_millis(250))),
        ("7.", Some(secs(7))),
        ("Wed, 19 Nov 2025 10:00:20 GMT", Some(secs(20))),
        ("Wednesday, 19-Nov-25 10:00:20 GMT", Some(secs(20))),
        ("Wed Nov 19 10:00:20 2025", Some(secs(20))),
        // Nothing to wait for.
        ("0", None),
        ("0.0", None),
        ("Wed, 19 Nov 2025 10:00:00 GMT", None),
        ("Wed, 19 Nov 2025 09:59:59 GMT", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        // Longer than anything that is obeyed.
        ("86400", Some(PAUSE_MAX)),
        ("86401", Some(PAUSE_MAX)),
        ("99999999999999999999999999", Some(PAUSE_MAX)),
        ("Fri, 19 Nov 9999 10:00:00 GMT", Some(PAUSE_MAX)),
        // Not to be read.
        ("", None),
        ("soon", None),
        ("-20", None),
        ("+20", None),
        ("2e1", None),
        ("inf", None),
        (".5", None),
        ("1.5.1", None),
        ("20, 30", None),
        ("2025-11-19T10:00:20Z", None),
    ] {
        assert_eq!(rule(503, Some(text), None).pause, wanted, "{text:?}");
    }
}

#[test]
fn a_date_is_read_by_the_receivers_own_clock() {
    let answer = Answer {
        status: 503,
        retry_after: Some("Wed, 19 Nov 2025 12:00:20 GMT"),
        // Two hours ahead of ours.
        date: Some("Wed, 19 Nov 2025 12:00:00 GMT"),
        control: None,
    };

    assert_eq!(answer.rule(NOW_MS).pause, Some(Duration::from_secs(20)));
    // A clock that cannot be read is passed over.
    let silent = Answer { date: Some("noon"), ..answer };
    assert_eq!(silent.rule(NOW_MS).pause, Some(Duration::from_secs(7220)));
}

#[test]
fn control_words_are_read_in_any_case_and_company() {
    for control in ["disable", "Disable", " disable ", "other, disable", "abort-message,disable"] {
        assert!(rule(500, None, Some(control)).disable, "{control}");
    }
    for control in ["", "disabled", "dis able", "enable", "disable;q=1"] {
        assert_eq!(rule(500, None, Some(control)), rule(500, None, None), "{control}");
    }
}
