//! From what a `keepalived.conf` says of IPVS to our model.

mod check;
mod merge;
mod policy;
mod service;
mod timing;

use std::collections::{BTreeSet, HashMap};

use super::{
    Options,
    ast::{Configuration, Group},
    lexer::Input,
};
use crate::{
    config,
    import::{
        model::Document,
        problem::{Place, Problems},
        remark::{Kind, Remarks},
    },
};

/// Translates. Where there are problems, the document is not to be used.
pub(super) fn translate(
    configuration: &Configuration,
    input: &Input,
    whole: &Place,
    options: Options,
    problems: &mut Problems,
) -> Document {
    let mut remarks = Remarks::default();
    for (place, pattern) in &input.empty_patterns {
        let about = format!("include {pattern}");
        remarks.add(Kind::Dropped, place, about, "No file fits it.");
    }
    for other in &configuration.others {
        let why = match other.value.split(' ').next() {
            Some("SSL") => "It is for SSL_GET, of which there is none.",
            Some("net_namespace" | "net_namespace_ipvs") => {
                "IPVS ran in this network namespace: run dns-lb in it too, with `ip netns exec`. It stays \
                 with keepalived for the rest."
            }
            _ => "It is not IPVS: it stays with keepalived.",
        };
        remarks.add(Kind::Dropped, &other.place, shortened(&other.value), why);
    }
    let interfaces = interfaces(configuration, &mut remarks);

    let groups = groups(configuration, &mut remarks, problems);
    if configuration.servers.is_empty() && problems.is_empty() {
        let what = "there is no virtual_server";
        problems.add(
            whole,
            what,
            "name the keepalived.conf of a balancer with IPVS",
        );
    }
    let mut drafts = Vec::new();
    let mut budget = service::Budget::default();
    for server in &configuration.servers {
        drafts.extend(service::drafts(
            server,
            &groups,
            &mut budget,
            options,
            problems,
        ));
    }
    let drafts = merge::merge(drafts, problems);
    let services = merge::name(drafts);
    let head = vec![
        format!(
            "dns-lb's configuration, made of {} by `dns-lb import keepalived`.",
            whole.file.display()
        ),
        "A comment that names a line says what has become of that line. What is not stated has its default: \
         examples/dns-lb.toml has all of them, docs/migrating-from-keepalived.md the way over. Names are \
         snmp_name, or made up: change them as you like."
            .to_owned(),
    ];
    Document {
        head,
        remarks,
        interfaces,
        services,
    }
}

/// The interface for the program: keepalived names none for Direct Routing, but perhaps for VRRP.
fn interfaces(configuration: &Configuration, remarks: &mut Remarks) -> Vec<String> {
    let names: BTreeSet<&str> = configuration
        .interfaces
        .iter()
        .map(|interface| interface.value.as_str())
        .collect();
    let first = configuration.interfaces.first();
    match (first, names.len()) {
        (Some(first), 1) if config::is_interface(&first.value) => {
            let about = format!("interface {}", first.value);
            let why = "VRRP uses it, so clients' packets come in by it. Name any other by which packets \
                       for a VIP come in.";
            remarks.add(Kind::Assumed, &first.place, shortened(&about), why);
            vec![first.value.clone()]
        }
        (_, number) => {
            let mut why =
                "CHANGE THIS to the interfaces by which packets for the VIPs come in. keepalived \
                           names none for IPVS."
                    .to_owned();
            if number > 1 {
                let names: Vec<&str> = names.into_iter().take(8).collect();
                why += &format!(" VRRP has several: {}.", names.join(", "));
            }
            remarks.add(Kind::Assumed, None, "interfaces", why);
            vec!["eth0".to_owned()]
        }
    }
}

/// Groups by name. Those that no server uses are said to be dropped.
fn groups<'c>(
    configuration: &'c Configuration,
    remarks: &mut Remarks,
    problems: &mut Problems,
) -> HashMap<&'c str, &'c Group> {
    let used: BTreeSet<&str> = configuration
        .servers
        .iter()
        .filter_map(|server| server.target.group())
        .collect();
    let mut groups: HashMap<&str, &Group> = HashMap::new();
    for group in &configuration.groups {
        let name = &group.name;
        if let Some(before) = groups.insert(&name.value, group) {
            let what = format!(
                "virtual_server_group {} is on {} already",
                name.value, before.name.place
            );
            problems.add(&name.place, what, "give each a name of its own");
        }
        if !used.contains(name.value.as_str()) {
            let about = format!("virtual_server_group {}", name.value);
            let why = "No virtual_server uses it.";
            remarks.add(Kind::Dropped, &name.place, shortened(&about), why);
        }
    }
    groups
}

/// Words of the file for a remark, not at any length.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
