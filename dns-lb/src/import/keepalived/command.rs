//! The words of a command that keepalived runs. It has no shell: the line is taken apart twice, as
//! `alloc_strvec_quoted_escaped` in keepalived's `lib/parser.c` does.

/// What a `misc_path` line runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandLine {
    /// Program and arguments; at least one word.
    pub(super) words: Vec<String>,
    /// Whether words were not in quotes, so that keepalived leaves them out. They are among `words`.
    pub(super) unquoted: bool,
}

/// Reads a line that begins with a keyword.
///
/// # Errors
/// What is wrong with its quoting.
pub(super) fn read(line: &str) -> Result<CommandLine, &'static str> {
    let outer = split(line, Escapes::Keep)?;
    let command = outer.get(1).ok_or("names no program")?;
    let mut words = split(command, Escapes::Read)?;
    let unquoted = outer.len() > 2;
    if unquoted {
        words.extend(outer.into_iter().skip(2));
    }
    if words.is_empty() {
        return Err("names no program");
    }
    Ok(CommandLine { words, unquoted })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// They are for the second round.
    Keep,
    Read,
}

/// Splits at blanks that are not quoted by `"`, `'` or a backslash.
fn split(text: &str, escapes: Escapes) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\\' => {
                let escaped = rest.next().ok_or("ends in a backslash")?;
                let word = word.get_or_insert_default();
                if escapes == Escapes::Keep {
                    word.extend(['\\', escaped]);
                } else if escaped.is_ascii_alphanumeric() {
                    // Control characters, by letter or number.
                    return Err("has an escaped letter or digit, which no name or option needs");
                } else {
                    word.push(escaped);
                }
            }
            _ if quote == Some(character) => quote = None,
            '"' | '\'' if quote.is_none() => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            ' ' | '\t' if quote.is_none() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    if quote.is_some() {
        return Err("has a quote without its other half");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_taken_apart_as_keepalived_does() {
        for (line, expected, unquoted) in [
            (
                r#"misc_path "/usr/bin/dig @192.0.2.1 a""#,
                &["/usr/bin/dig", "@192.0.2.1", "a"][..],
                false,
            ),
            ("misc_path '/usr/bin/dig  a'", &["/usr/bin/dig", "a"], false),
            (r#"misc_path "dig 'a b' c""#, &["dig", "a b", "c"], false),
            (r#"misc_path "dig \"a b\"""#, &["dig", "\"a", "b\""], false),
            (r"misc_path dig\ a", &["dig a"], false),
            (
                "misc_path /usr/bin/dig @192.0.2.1",
                &["/usr/bin/dig", "@192.0.2.1"],
                true,
            ),
        ] {
            let words = expected.iter().map(ToString::to_string).collect();
            assert_eq!(read(line), Ok(CommandLine { words, unquoted }), "{line}");
        }
        for line in [
            "misc_path",
            "misc_path \"\"",
            r#"misc_path "dig \x41""#,
            "misc_path 'dig",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
