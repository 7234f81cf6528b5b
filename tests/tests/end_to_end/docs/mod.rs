//! The commands of `README.md` and `docs/*.md`, run.
//!
//! A block of commands, in the language `sh`, or `console` where output is shown after lines that
//! begin with `$ `, says behind the language where it is run:
//!
//! ````text
//! ```sh on=balancer
//! dns-lb drain resolvers/dns1
//! ```
//! ````
//!
//! | word | meaning |
//! |---|---|
//! | `on=balancer` | the host of the agent, `192.168.0.1` |
//! | `on=dns1`, `dns2`, `dns3` | a server that serves, `192.168.0.201` and so on; NSD, Knot, Unbound |
//! | `on=server` | a host that is to become one, `192.168.0.204`: no VIP, no setting, no daemon |
//! | `on=router`, `on=client` | what is between them, and who asks |
//! | `on=build` | the source tree; not run: the options are looked up in the command's own help |
//! | `unrun="REASON"` | not run, for one of [`block::REASONS`]; commands of dns-lb are looked up in its help |
//! | `fails` | the block has to fail |
//! | `dead=dns2` | this server's daemon has been killed, and the agent has seen it; else all are up |
//! | `before="COMMAND"` | this command is run first: it makes what the block is the remedy for |
//! | `unlike="REASON"` | the output of this `console` block cannot be compared |
//! | `file=PATH` | of a block in any language, with `on=`: not run, but written to this file |
//! | `daemon=NAME` | not run here: what [`daemons`] gives to a DNS daemon |
//!
//! The blocks of a page share one lab, [`scene::Scene`], in the order of the page. A line that begins
//! with `dns-lb run` starts the agent, and goes on when all servers are up. On a page without such a
//! line it runs from the start, or from where the page writes its configuration. What a page gives the
//! balancer by `ip addr add`, it has not had before.
//!
//! Output is compared word by word, with numbers, times and addresses as good as any other, and `...`
//! for anything: see [`shape`].

mod block;
mod daemons;
mod help;
mod page;
mod scene;
mod shape;

use std::collections::BTreeSet;

use dns_lb_tests::monitoring;

use self::{
    block::{Action, Block},
    page::pages,
    scene::Scene,
};

#[test]
fn every_block_of_commands_says_where_it_is_run() {
    let mut faults = Vec::new();
    let mut reasons = BTreeSet::new();
    for page in pages() {
        for block in &page.blocks {
            match block.action() {
                Err(fault) => faults.push(format!("{block}: {fault}")),
                Ok(Action::Leave(reason)) => {
                    println!("{block}: not run: {reason}");
                    reasons.insert(reason);
                }
                Ok(_) => {}
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let unused: Vec<_> = block::REASONS
        .into_iter()
        .filter(|&reason| !reasons.contains(reason))
        .collect();
    assert!(unused.is_empty(), "reasons that no block has: {unused:?}");
}

#[test]
fn every_command_of_the_documentation_runs() {
    let mut faults = Vec::new();
    for page in pages() {
        println!("{}", page.path);
        faults.extend(Scene::play(&page));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn the_index_has_every_page_once() {
    let index = monitoring::read("docs/README.md").expect("the index");
    for page in pages() {
        let Some(name) = page.path.strip_prefix("docs/") else {
            continue;
        };
        if name != "README.md" {
            let links = index.matches(&format!("]({name})")).count();
            assert_eq!(links, 1, "docs/README.md has {links} links to {name}");
        }
    }
}

#[test]
fn every_link_within_the_repository_leads_somewhere() {
    let faults: Vec<String> = pages().iter().flat_map(page::Page::broken_links).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A block as a page would have it.
fn block(info: &str, text: &str) -> Block {
    Block::new("page.md", 1, info, text)
}

#[test]
fn a_block_without_a_place_is_told_what_to_write() {
    let fault = |info| block(info, "true\n").action().expect_err(info);
    assert!(fault("sh").contains("on=PLACE"));
    assert!(fault("sh on=moon").contains("balancer"));
    assert!(fault("sh unrun=\"no time\"").contains("reason"));
    assert!(fault("bash on=client").contains("sh or console"));
    assert!(fault("sh on=client sometimes").contains("sometimes"));
    assert!(fault("text file=/etc/x").contains("on=PLACE"));
    assert!(block("text", "").action().is_ok());
    assert!(block("", "").action().is_ok());
    let fault = block("", "$ true\n").action().expect_err("commands");
    assert!(fault.contains("console"));
}
