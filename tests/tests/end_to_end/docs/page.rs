//! The pages of the documentation.

use std::{collections::BTreeSet, fs, path::Path};

use dns_lb_tests::monitoring::{read, shipped};

use super::block::Block;

/// A page.
pub(super) struct Page {
    /// From the root of the repository.
    pub(super) path: String,
    text: String,
    pub(super) blocks: Vec<Block>,
}

/// All of them: the first one that people see, and `docs/` by name.
pub(super) fn pages() -> Vec<Page> {
    let entries = fs::read_dir(shipped("docs")).expect("docs/");
    let names: BTreeSet<String> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.ends_with(".md"))
        .collect();
    let docs = names.into_iter().map(|name| format!("docs/{name}"));
    std::iter::once("README.md".to_owned())
        .chain(docs)
        .map(Page::read)
        .collect()
}

impl Page {
    /// Reads a page of the repository.
    pub(super) fn read(path: impl Into<String>) -> Self {
        let path = path.into();
        let text = read(&path).expect("a page");
        let blocks = blocks(&path, &text);
        Self { path, text, blocks }
    }

    /// Links to files of the repository that are not there, or to headings that they do not have.
    pub(super) fn broken_links(&self) -> Vec<String> {
        let folder = Path::new(&self.path).parent().expect("a folder");
        let targets = self.text.split("](").skip(1);
        let targets = targets.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
        let mut broken = Vec::new();
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => self.path.clone(),
                file => folder.join(file).display().to_string(),
            };
            let leads = match (heading, read(&file)) {
                ("", _) => shipped(&file).exists(),
                (heading, Ok(text)) => headings(&text).contains(heading),
                (_, Err(_)) => false,
            };
            if !leads {
                broken.push(format!("{}: nothing at {target}", self.path));
            }
        }
        broken
    }
}

/// The anchors of a text's headings, as GitHub makes them.
fn headings(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| line.starts_with('#'));
    lines
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter_map(|letter| match letter {
                ' ' => Some('-'),
                letter if letter.is_alphanumeric() || letter == '-' || letter == '_' => {
                    Some(letter)
                }
                _ => None,
            });
            kept.collect()
        })
        .collect()
}

/// The fenced blocks of a page, indented ones without their indent.
fn blocks(path: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        let unindented = line.trim_start();
        let Some(info) = unindented.strip_prefix("```") else {
            continue;
        };
        let indent = line.len() - unindented.len();
        let inside: String = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| line.trim() != "```")
            .map(|line| format!("{}\n", line.get(indent..).unwrap_or_default()))
            .collect();
        blocks.push(Block::new(path, number, info.trim(), &inside));
    }
    blocks
}

#[test]
fn headings_have_the_anchors_of_github() {
    let anchors = headings("# `max_load`\n## The kernel's word\ntext\n### [[service.backend]]\n");
    let expected = ["max_load", "the-kernels-word", "servicebackend"];
    assert_eq!(anchors, expected.map(str::to_owned).into());
}

#[test]
fn blocks_are_found_with_their_lines() {
    let found = blocks(
        "p",
        "a\n```sh on=client\ntrue\n```\n- b\n  ```toml\n  c = 1\n  ```\n",
    );
    let places: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(places, ["p:2", "p:6"]);
    assert_eq!(found[1].text, "c = 1\n");
}
