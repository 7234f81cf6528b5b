//! Files in memory, and the statements that they become.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use super::*;

/// Files by path.
struct Memory(BTreeMap<PathBuf, String>);

impl Memory {
    fn new(files: &[(&str, &str)]) -> Self {
        let files = files.iter();
        Self(
            files
                .map(|(path, text)| (PathBuf::from(path), (*text).to_owned()))
                .collect(),
        )
    }
}

impl Files for Memory {
    fn read(&self, path: &Path, limit: u64, _regular: bool) -> io::Result<Vec<u8>> {
        let text = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(text.bytes().take(limit).collect())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let inside = self.0.keys().filter_map(|path| {
            let rest = path.strip_prefix(directory).ok()?;
            let first = rest.components().next()?;
            Some(first.as_os_str().to_str()?.to_owned())
        });
        Ok(inside.collect())
    }

    fn identity(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }
}

/// Statements in short, and the problems.
fn read_all(files: &[(&str, &str)]) -> (String, String, Vec<String>) {
    let mut problems = Problems::default();
    let input = read(Path::new("/k/k.conf"), &Memory::new(files), &mut problems);
    let mut text = String::new();
    for statement in &input.statements {
        show(statement, &mut text);
    }
    let patterns = input.empty_patterns.into_iter();
    let patterns = patterns.map(|(_, pattern)| pattern).collect();
    let problems = problems
        .into_result()
        .map_or_else(|all| all.to_string(), |()| String::new());
    (text, problems, patterns)
}

fn show(statement: &Statement, out: &mut String) {
    out.push_str(&format!(
        "{}:{}",
        statement.place.line,
        statement.words.join("|")
    ));
    if let Some(block) = &statement.block {
        out.push('(');
        block.iter().for_each(|inner| show(inner, out));
        out.push(')');
    }
    out.push(' ');
}

#[test]
fn lines_become_statements() {
    for (text, expected) in [
        ("a b\n\n c\t d \r\n", "1:a|b 3:c|d "),
        ("a # b\n! c\nd!e", "1:a 3:d "),
        (r#"a "b # c" d"#, "1:a|b # c|d "),
        (r"a \# b", "1:a|#|b "),
        ("a { b 1\nc {\n} }", "1:a(1:b|1 2:c() ) "),
        ("a\n{\nb\n}", "1:a(3:b ) "),
        ("a { b } c { d }", "1:a(1:b ) 1:c(1:d ) "),
        (r#"a "{ }" "#, "1:a|{ } "),
        ("a{b}", "1:a(1:b ) "),
        ("a b\"c\"d", "1:a|b|c|d "),
        ("", ""),
    ] {
        let (statements, problems, _) = read_all(&[("/k/k.conf", text)]);
        assert_eq!(statements, expected, "{text}");
        assert_eq!(problems, "", "{text}");
    }
}

#[test]
fn what_depends_on_more_than_the_text_is_refused_with_its_line() {
    for (text, line, fragment) in [
        ("\n@main a b", 2, "certain hosts"),
        ("$A=1", 1, "definition"),
        ("$A= \\\n b { \\\n c\nd", 1, "definition"),
        ("~SEQ(A, 1, 3) b", 1, "sequence"),
        ("~LST(A, 1, 3) b", 1, "sequence"),
        ("a \\\nb", 1, "joins lines"),
        ("a \"b", 1, "other half"),
        ("a\n}", 2, "closes nothing"),
        ("a {\nb {\n}", 1, "not closed"),
        ("{", 1, "nothing before it"),
        ("include /x/{a,b}", 1, "not understood"),
        ("include none", 1, "cannot read /k/none"),
        ("include k.conf", 1, "while it is being read"),
    ] {
        let (_, problems, _) = read_all(&[("/k/k.conf", text)]);
        assert!(
            problems.starts_with(&format!("/k/k.conf:{line}: ")),
            "{text}: {problems}"
        );
        assert!(problems.contains(fragment), "{text}: {problems}");
        assert_eq!(problems.lines().count(), 1, "{text}: {problems}");
    }
}

#[test]
fn included_files_are_read_in_order_from_where_the_file_is() {
    let (statements, problems, patterns) = read_all(&[
        (
            "/k/k.conf",
            "a {\ninclude conf.d/*.conf\n}\nincluder none/*\nincludea /else/x\nb",
        ),
        ("/k/conf.d/2.conf", "two {"),
        ("/k/conf.d/3.conf", "}\ninclude sub/y"),
        ("/k/conf.d/.4.conf", "hidden"),
        ("/k/conf.d/sub/y", "y"),
        ("/else/x", "x"),
    ]);
    assert_eq!(problems, "");
    assert_eq!(statements, "1:a(1:two() 1:y ) 1:x 6:b ");
    assert_eq!(patterns, ["none/*"]);
}

#[test]
fn problems_of_included_files_name_them() {
    let (_, problems, _) = read_all(&[("/k/k.conf", "include x\n}"), ("/k/x", "\n}")]);
    let places: Vec<&str> = problems
        .lines()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(places, ["/k/k.conf:2", "/k/x:2"]);
}

#[test]
fn limits_are_said_once() {
    let deep = "a {\n".repeat(100_000);
    let wide = "a\n".repeat(300_000);
    let large = " ".repeat(5 << 20);
    let laughs = "include b\n".repeat(100_000);
    for (text, fragment) in [
        (deep.as_str(), "deep"),
        (&wide, "statements"),
        (&large, "4 MiB"),
        (&laughs, "more than 1000 files"),
    ] {
        let (_, problems, _) = read_all(&[("/k/k.conf", text), ("/k/b", "")]);
        let count = problems
            .lines()
            .filter(|line| line.contains(fragment))
            .count();
        assert_eq!(count, 1, "{fragment}");
    }
}
