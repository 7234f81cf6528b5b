//! What one configuration says and another does not, in lines for an operator. Pure.

use std::collections::{BTreeMap, HashMap};

use super::{
    Backend, Config, Service,
    written::{self, Settings},
};

/// Keys that a running agent does not take up, and why.
pub(super) const AT_START_ONLY: [(&str, &str); 6] = [
    ("api.listen", "the agent listens there from its start on"),
    (
        "api.admin_socket",
        "the agent listens there from its start on",
    ),
    ("api.admin_mode", "the socket is there already"),
    ("api.admin_group", "the socket is there already"),
    ("state_file", "the agent keeps one file"),
    (
        "tcp_flows",
        "larger or smaller maps would forget connections: `dns-lb unload` first",
    ),
];

/// What a reload changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// One a change: `+` for what is new, `-` for what goes, `~` for what is another than before.
    pub changes: Vec<String>,
    /// What is in the file and not taken up until the next start.
    pub warnings: Vec<String>,
}

impl Difference {
    /// From what holds to what is wanted, in the order of the files, what goes first.
    #[must_use]
    pub fn between(old: &Config, new: &Config) -> Self {
        let mut difference = Self::default();
        let (before, now) = (written::top(old), written::top(new));
        difference.settings("", &before, &now);
        for (key, why) in AT_START_ONLY {
            let value = |settings: &Settings| {
                let found = settings.iter().find(|(known, _)| known == key);
                found.and_then(|(_, value)| value.clone())
            };
            if value(&before) != value(&now) {
                let warning = format!("{key} is taken up at the next start: {why}");
                difference.warnings.push(warning);
            }
        }

        let new_services = by_name(&new.services, |service| &service.name);
        for service in &old.services {
            if !new_services.contains_key(service.name.as_str()) {
                difference.note('-', format!("service {}", described(service)));
            }
        }
        let old_services = by_name(&old.services, |service| &service.name);
        for service in &new.services {
            match old_services.get(service.name.as_str()) {
                Some(old) => difference.service(old, service),
                None => difference.note('+', format!("service {}", described(service))),
            }
        }
        difference
    }

    fn service(&mut self, old: &Service, new: &Service) {
        let name = &new.name;
        let (before, now) = (written::service(old), written::service(new));
        self.settings(&format!("{name}: "), &before, &now);

        let described = |backend: &Backend| format!("{name}/{}, {}", backend.name, backend.address);
        let new_backends = by_name(&new.backends, |backend| &backend.name);
        for backend in &old.backends {
            if !new_backends.contains_key(backend.name.as_str()) {
                self.note('-', format!("backend {}", described(backend)));
            }
        }
        let old_backends = by_name(&old.backends, |backend| &backend.name);
        for backend in &new.backends {
            match old_backends.get(backend.name.as_str()) {
                Some(old) => {
                    let place = format!("{name}/{}: ", backend.name);
                    self.settings(&place, &written::backend(old), &written::backend(backend));
                }
                None => self.note('+', format!("backend {}", described(backend))),
            }
        }
    }

    fn settings(&mut self, place: &str, old: &Settings, new: &Settings) {
        let values = |settings: &Settings| -> BTreeMap<String, String> {
            let stated = settings.iter();
            stated
                .filter_map(|(key, value)| Some((key.clone(), value.clone()?)))
                .collect()
        };
        let (before, now) = (values(old), values(new));
        for (key, _) in old.iter().filter(|(key, _)| !now.contains_key(key)) {
            if let Some(value) = before.get(key) {
                self.note('-', format!("{place}{key} = {value}"));
            }
        }
        for (key, value) in new {
            match (before.get(key), value) {
                (Some(before), Some(now)) if before != now => {
                    self.note('~', format!("{place}{key} = {before} -> {now}"));
                }
                (None, Some(now)) => self.note('+', format!("{place}{key} = {now}")),
                _ => {}
            }
        }
    }

    fn note(&mut self, sign: char, what: String) {
        self.changes.push(format!("{sign} {what}"));
    }
}

fn by_name<T>(all: &[T], name: impl Fn(&T) -> &String) -> HashMap<&str, &T> {
    let named = all.iter().map(|one| {
        // The name lives as long as what it is the name of.
        (name(one).as_str(), one)
    });
    named.collect()
}

fn described(service: &Service) -> String {
    let vips: Vec<String> = service.vips.iter().map(ToString::to_string).collect();
    let backends: Vec<&str> = service
        .backends
        .iter()
        .map(|backend| backend.name.as_str())
        .collect();
    format!(
        "{}, {} port {}, with {}",
        service.name,
        vips.join(" "),
        service.port,
        backends.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"
        interfaces = ["eth0"]
        [[service]]
        name = "auth"
        vips = ["192.0.2.1"]
        policy = "qname"
        max_load = "125%"
        [[service.backend]]
        name = "a1"
        address = "10.0.0.1"
        [[service]]
        name = "rec"
        vips = ["192.0.2.2"]
        [service.health]
        query = "example.net. SOA"
        [[service.backend]]
        name = "r1"
        address = "10.0.1.1"
        [[service.backend]]
        name = "r2"
        address = "10.0.1.2"
    "#;

    fn config(text: &str) -> Config {
        Config::parse(text).unwrap()
    }

    #[test]
    fn a_configuration_differs_not_from_itself() {
        for text in [OLD, include_str!("../../../examples/dns-lb.toml")] {
            let same = Difference::between(&config(text), &config(text));
            assert_eq!(same, Difference::default());
        }
    }

    #[test]
    fn every_change_is_a_line() {
        let new = OLD
            .replace("[\"eth0\"]", "[\"eth0\", \"eth1\"]\nstate_file = \"/x\"")
            .replace("policy = \"qname\"\n", "")
            .replace("max_load = \"125%\"\n", "")
            .replace("query = \"example.net. SOA\"", "timeout = \"1s\"")
            .replace(
                "address = \"10.0.1.1\"",
                "address = \"10.0.1.1\"\nweight = 5",
            )
            .replace("\"r2\"", "\"r3\"")
            + "[[service]]\nname = \"new\"\nvips = [\"192.0.2.3\", \"2001:db8::3\"]\nport = 54\n\
               [[service.backend]]\nname = \"n1\"\naddress = \"10.0.2.1\"\n";
        let found = Difference::between(&config(OLD), &config(&new));
        let expected = [
            r#"~ interfaces = ["eth0"] -> ["eth0", "eth1"]"#,
            r#"~ state_file = "/var/lib/dns-lb/state.json" -> "/x""#,
            r#"- auth: max_load = "125%""#,
            r#"~ auth: policy = "qname" -> "hash""#,
            r#"~ rec: health.query = "example.net. SOA" -> "localhost.localnet. A""#,
            r#"~ rec: health.timeout = "250ms" -> "1s""#,
            "- backend rec/r2, 10.0.1.2",
            "~ rec/r1: weight = 1 -> 5",
            "+ backend rec/r3, 10.0.1.2",
            "+ service new, 192.0.2.3 2001:db8::3 port 54, with n1",
        ];
        assert_eq!(found.changes, expected);
        let warning = "state_file is taken up at the next start: the agent keeps one file";
        assert_eq!(found.warnings, [warning]);

        let back = Difference::between(&config(&new), &config(OLD));
        assert_eq!(back.changes.len(), expected.len());
        assert_eq!(
            back.changes[2],
            "- service new, 192.0.2.3 2001:db8::3 port 54, with n1"
        );
    }
}
