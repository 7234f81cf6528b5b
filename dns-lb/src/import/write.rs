//! Our configuration as text, with remarks as comments, in the order of `examples/dns-lb.toml`.

use std::fmt::Display;

use super::{
    model::{Backend, Document, Health, Query, Service},
    remark::Remarks,
};
use crate::config::{self, Transport, WrittenDuration};

/// Columns of a comment.
const WIDTH: usize = 100;

/// Writes a document.
pub(super) fn write(document: &Document) -> String {
    let mut out = Text::default();
    for (index, paragraph) in document.head.iter().enumerate() {
        if index > 0 {
            out.line("#");
        }
        out.comment(paragraph);
    }
    out.line("");
    out.remarks(&document.remarks);
    out.set("interfaces", list(&document.interfaces));
    for service in &document.services {
        out.service(service);
    }
    out.text
}

#[derive(Default)]
struct Text {
    text: String,
}

impl Text {
    fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str(line.as_ref());
        self.text.push('\n');
    }

    fn set(&mut self, key: &str, value: impl Display) {
        self.line(format!("{key} = {value}"));
    }

    fn set_text(&mut self, key: &str, value: impl Display) {
        self.set(key, quoted(value));
    }

    /// A comment, in as many lines as it takes; those after the first are set in.
    fn comment(&mut self, text: &str) {
        let mut line = String::from("#");
        let mut length = 1;
        for word in text.split_whitespace() {
            let word: String = word.chars().flat_map(harmless).collect();
            let width = word.chars().count();
            if length + 1 + width > WIDTH && length > 1 {
                self.line(&line);
                "#  ".clone_into(&mut line);
                length = 3;
            }
            line.push(' ');
            line.push_str(&word);
            length += 1 + width;
        }
        self.line(&line);
    }

    fn remarks(&mut self, remarks: &Remarks) {
        for remark in remarks.as_slice() {
            self.comment(&remark.to_string());
        }
    }

    fn service(&mut self, service: &Service) {
        let Service {
            name,
            vips,
            port,
            protocols,
            policy,
            remarks,
            health,
            backends,
        } = service;
        self.line("");
        self.remarks(remarks);
        self.line("[[service]]");
        self.set_text("name", name);
        self.set("vips", list(vips));
        self.set("port", port);
        self.set("protocols", list(protocols));
        self.set_text("policy", policy);
        let only_tcp = protocols == &[config::Protocol::Tcp];
        self.health(health, only_tcp);
        for backend in backends {
            self.backend(backend);
        }
    }

    fn health(&mut self, health: &Health, only_tcp: bool) {
        let Health {
            remarks,
            queries,
            transport,
            timing,
        } = health;
        self.line("");
        self.remarks(remarks);
        self.line("[service.health]");
        if let [query] = queries.as_slice() {
            self.query(query);
        }
        let default = match only_tcp {
            true => Transport::Tcp,
            false => Transport::Udp,
        };
        if let Some(transport) = transport.filter(|transport| *transport != default) {
            self.set_text("transport", transport);
        }
        if let Some(timing) = timing {
            self.set_text("interval", WrittenDuration(timing.interval));
            self.set_text("fast_interval", WrittenDuration(timing.fast_interval));
            self.set_text("timeout", WrittenDuration(timing.timeout));
            self.set("fall", timing.fall);
            self.set("rise", 1);
            self.set_text("flap_window", "0s");
        }
        if queries.len() > 1 {
            for query in queries {
                self.line("");
                self.line("[[service.health.queries]]");
                self.query(query);
            }
        }
    }

    fn query(&mut self, query: &Query) {
        self.set_text("query", &query.query);
        if !query.recursion_desired {
            self.set("recursion_desired", false);
        }
        if query.edns_size > 0 {
            self.set("edns_size", query.edns_size);
        }
        if let Some(codes) = &query.accept_rcodes {
            let names = codes.iter().map(|&code| config::rcode_name(code));
            let whole = list(names.clone());
            if whole.len() <= WIDTH - "accept_rcodes = ".len() {
                self.set("accept_rcodes", whole);
                return;
            }
            self.line("accept_rcodes = [");
            let names: Vec<String> = names.map(quoted).collect();
            for row in names.chunks(6) {
                self.line(format!("  {},", row.join(", ")));
            }
            self.line("]");
        }
    }

    fn backend(&mut self, backend: &Backend) {
        self.line("");
        self.remarks(&backend.remarks);
        self.line("[[service.backend]]");
        self.set_text("name", &backend.name);
        self.set_text("address", backend.address);
        if backend.weight != 1 {
            self.set("weight", backend.weight);
        }
    }
}

/// A TOML string (its basic form).
fn quoted(text: impl Display) -> String {
    let mut quoted = String::from("\"");
    for character in text.to_string().chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                quoted.push_str(&format!("\\u{:04X}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn list(values: impl IntoIterator<Item: Display>) -> String {
    let values: Vec<String> = values.into_iter().map(quoted).collect();
    format!("[{}]", values.join(", "))
}

/// A character of a comment: TOML allows no control characters there, and a terminal should get none.
fn harmless(character: char) -> Vec<char> {
    match character.is_control() {
        true => character.escape_default().collect(),
        false => vec![character],
    }
}
