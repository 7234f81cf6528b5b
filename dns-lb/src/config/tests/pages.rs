//! What other pages of the documentation say of configurations, against the reader.

use std::{fs, path::Path};

use super::super::{Config, MAX_BACKENDS, MAX_FILE_SIZE, MAX_QUESTIONS, MAX_SERVICES, MAX_VIPS};

#[test]
fn page_of_limits_has_those_of_the_reader() {
    let page = include_str!("../../../../docs/limits.md");
    let thousands = |number: usize| match number / 1_000 {
        0 => number.to_string(),
        thousands => format!("{thousands},{:03}", number % 1_000),
    };
    for (what, limit) in [
        ("services", MAX_SERVICES),
        ("combinations of VIP, port and protocol", MAX_VIPS),
        ("backends, over all services", MAX_BACKENDS),
        ("queries of a check", MAX_QUESTIONS),
    ] {
        let row = format!("| {what} | {} |", thousands(limit));
        assert!(page.contains(&row), "docs/limits.md lacks {row}");
    }
    assert_eq!(MAX_FILE_SIZE, 4 << 20);
    assert!(page.contains("| the configuration | 4 MiB |"));
}

/// The blocks in TOML of all pages. What is not a whole file is completed by what it lacks: an
/// interface, a service's name and VIP, a server.
#[test]
fn every_configuration_in_the_pages_is_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = fs::read_dir(root.join("docs")).unwrap();
    let pages = docs.map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut blocks = 0;
    for page in pages.chain([root.join("README.md")]) {
        let text = fs::read_to_string(&page).unwrap();
        for block in text.split("\n```toml").skip(1) {
            let (_, block) = block.split_once('\n').unwrap();
            let (block, _) = block.split_once("\n```").unwrap();
            let whole = completed(block);
            if let Err(faults) = Config::parse(&whole) {
                panic!("{}:\n{whole}\n{faults}", page.display());
            }
            blocks += 1;
        }
    }
    assert!(blocks > 8, "only {blocks} blocks were found");
}

/// A configuration with these lines in it.
fn completed(block: &str) -> String {
    let has = |start: &str| block.lines().any(|line| line.starts_with(start));
    let mut text = String::new();
    if !has("interfaces = ") {
        text += "interfaces = [\"eth0\"]\n";
    }
    let service = "[[service]]\nname = \"s\"\nvips = [\"192.0.2.1\"]\n";
    let mut service_is_there = has("[[service]]");
    for line in block.lines() {
        let below_service = line.starts_with("[service.") || line.starts_with("[[service.");
        if below_service && !service_is_there {
            text += service;
            service_is_there = true;
        }
        text += line;
        text += "\n";
    }
    if !service_is_there {
        text += service;
    }
    if !has("[[service.backend]]") {
        text += "[[service.backend]]\nname = \"b\"\naddress = \"192.0.2.2\"\n";
    }
    text
}
