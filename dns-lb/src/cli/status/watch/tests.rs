//! What a watch shows while the agent answers, and while it does not.

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn what_is_old_is_said_to_be_and_how_old() {
    let (heard, now) = (at("2026-01-31T12:00:05Z"), at("2026-01-31T12:00:17Z"));
    let mut known = Known {
        last: Some((Status::sample(), heard)),
        trouble: None,
    };
    let live = known.page(now, Palette::Plain, 100);
    assert_eq!(live, table::render(&Status::sample(), now, Palette::Plain));

    known.trouble = Some("the agent at 192.0.2.1:8053 broke off\u{1b}[2J".to_owned());
    let gone = known.page(now, Palette::Plain, 100);
    let expected = "\
NO ANSWER, last heard 12s ago: the agent at 192.0.2.1:8053 broke off[2J
what follows is of 2026-01-31T12:00:05.000Z

";
    // Ages too are as they were then.
    let old = table::render(&Status::sample(), heard, Palette::Plain);
    assert_eq!(gone, format!("{expected}{old}"));
    let coloured = known.page(now, Palette::Colours, 100);
    for line in coloured.lines().skip(3).filter(|line| !line.is_empty()) {
        assert!(
            line.starts_with("\u{1b}[2m"),
            "dim, and nothing else: {line:?}"
        );
    }
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), gone);

    let narrow = known.page(now, Palette::Plain, 40);
    let expected = "NO ANSWER, last heard 12s ago: the agent\n  at 192.0.2.1:8053 broke off[2J\n";
    assert!(narrow.starts_with(expected), "{narrow}");

    known.last = None;
    let never = known.page(now, Palette::Plain, 100);
    assert!(
        never.starts_with("NO ANSWER, never heard of it: "),
        "{never}"
    );
}

#[test]
fn a_page_has_no_more_than_the_screen_and_says_so() {
    let text = "one\ntwo\nthree\nfour\n";
    assert_eq!(crop(text, 80, 4), "one\ntwo\nthree\nfour");
    let cropped = crop(text, 80, 3);
    assert_eq!(cropped, "one\ntwo\n… 2 more lines: dns-lb top scrolls");
    assert_eq!(crop(text, 3, 1), "… 4");
    assert_eq!(crop(text, 3, 0), "… 4");
    let painted = Palette::Colours.paint(Tone::Bad, "DOWN");
    assert_eq!(
        cut(&format!("a {painted} b"), 4),
        "a \u{1b}[1m\u{1b}[31mDO\u{1b}[0m"
    );
}

#[test]
fn a_watch_ends_by_the_keys_that_end_others() {
    let plain = |code| KeyEvent::new(code, KeyModifiers::NONE);
    assert!(is_enough(plain(KeyCode::Char('q'))));
    assert!(!is_enough(plain(KeyCode::Char('c'))));
    let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert!(is_enough(control));
}
