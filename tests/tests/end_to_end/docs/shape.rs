//! Whether output looks like what a page shows.
//!
//! Both are taken as words. A word that begins with a digit, be it a number, an age, an address or a
//! share, is as good as any other such word, with or without a unit behind it; `...` stands for
//! anything. That probes were late is left out: that is the busy machine's.

/// What stands for a number.
const NUMBER: &str = "#";

/// Units that may stand apart from their number.
const UNITS: [&str; 3] = ["us", "ms", "s"];

/// What the status says where probes were late.
const LATE: &str = " probes late, by up to ";

/// Anything, in a page.
const ANYTHING: &str = "...";

/// Whether the output has the shape of what is shown.
pub(super) fn is_like(output: &str, shown: &str) -> bool {
    let output: String = output
        .lines()
        .filter(|line| !line.contains(LATE))
        .map(|line| format!("{line}\n"))
        .collect();
    let output = masked(&output);
    let mut rest = output.as_str();
    let shown = masked(shown);
    let pieces: Vec<&str> = shown.split(ANYTHING).map(str::trim).collect();
    let [first, between @ .., last] = pieces.as_slice() else {
        return output == shown;
    };
    let Some(behind) = rest.strip_prefix(first) else {
        return false;
    };
    rest = behind;
    for piece in between {
        match rest.split_once(piece) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The words of a text, with one blank between them.
pub(super) fn masked(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let bare = word.trim_end_matches([',', ';', ':']);
        if UNITS.contains(&bare)
            && let Some(number) = words.last_mut().filter(|word| word.ends_with(NUMBER))
        {
            *number += &word[bare.len()..];
        } else {
            words.push(without_numbers(word));
        }
    }
    words.join(" ")
}

fn without_numbers(word: &str) -> String {
    let mut masked = String::new();
    let mut rest = word;
    let mut inside = false;
    while let Some(letter) = rest.chars().next() {
        if letter.is_ascii_digit() && !inside {
            let end = rest
                .find(|letter: char| !letter.is_ascii_alphanumeric() && !".:%".contains(letter));
            let number = &rest[..end.unwrap_or(rest.len())];
            let number = number.trim_end_matches(['.', ':']);
            masked += NUMBER;
            rest = &rest[number.len()..];
        } else {
            inside = letter.is_alphanumeric() || letter == '_' || letter == '-';
            masked.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    masked
}

#[test]
fn numbers_ages_and_addresses_are_as_good_as_others() {
    let one = "eth0: native, program 1322\n dns1 up 50.0%  NOERROR, 211 us   4s";
    let other = "eth0: native, program 7\n dns1 up 33.3% NOERROR, 1.2 ms 1m03s";
    assert!(is_like(other, one));
    assert!(!is_like(other, &one.replace("up", "DOWN")));
    assert!(!is_like(other, &one.replace("dns1", "dns2")));
    assert!(is_like(
        "from 02:00:00:00:00:01 to 192.168.0.1:53",
        "from 02:0a:00:00:00:ff to 10.0.0.1:1"
    ));
    assert!(!is_like("port 53 udp tcp", "port 53 udp"));
    assert!(is_like("2001:db8::53,", "192.0.2.1,"));
}

#[test]
fn dots_stand_for_anything() {
    assert!(is_like(
        "{\"a\":1,\"b\":2,\"c\":3}",
        "{\"a\":4,...,\"c\":5}"
    ));
    assert!(is_like("one\ntwo\nthree\n", "one\n...\nthree\n"));
    assert!(!is_like("one two three", "one ... four"));
    assert!(!is_like("zero one three", "one ... three"));
}
