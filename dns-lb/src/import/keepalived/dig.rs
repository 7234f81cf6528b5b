//! `dig`'s command line, as far as it says what is asked of a DNS server.
//!
//! `dig` leaves with 0 on any answer, whatever its response code, and with 9 when none came. Options
//! may be shortened as `dig` allows it; those that change what is printed change nothing here. By the
//! manual and the options of BIND 9.18.

mod options;

use std::{net::IpAddr, time::Duration};

use hickory_proto::rr::{DNSClass, Name, RecordType};

use self::options::{REFUSED, UNSAID};

/// What one run of `dig` asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dig {
    /// Whom; `None`: the servers of `/etc/resolv.conf`.
    pub(super) server: Option<IpAddr>,
    pub(super) port: u16,
    /// Name and type, absolute.
    pub(super) query: String,
    pub(super) tcp: bool,
    pub(super) recursion_desired: bool,
    /// Octets that EDNS offers; 0: no EDNS.
    pub(super) edns_size: u16,
    /// For an answer to one packet.
    pub(super) time: Duration,
    /// Packets.
    pub(super) tries: u32,
    /// Options that change the query in a way that we have no word for.
    pub(super) unsaid: Vec<String>,
}

/// Why a command line is not understood, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) what: String,
    pub(super) remedy: &'static str,
}

fn refuse<T>(what: impl Into<String>, remedy: &'static str) -> Result<T, Refusal> {
    let what = what.into();
    Err(Refusal { what, remedy })
}

/// What `dig` offers unless told otherwise.
const EDNS_SIZE: u16 = 1_232;

/// Reads the arguments, without the program's name.
///
/// # Errors
/// The first that is not understood.
pub(super) fn parse(arguments: &[String]) -> Result<Dig, Refusal> {
    let mut reader = Reader::default();
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        if let Some(server) = argument.strip_prefix('@') {
            reader.server(server)?;
        } else if let Some(option) = argument.strip_prefix('+') {
            reader.plus(option)?;
        } else if argument.len() > 1 && argument.starts_with('-') {
            reader.minus(argument, &mut rest)?;
        } else {
            reader.plain(argument)?;
        }
    }
    reader.finish()
}

struct Reader {
    name: Option<String>,
    record_type: Option<RecordType>,
    dig: Dig,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            name: None,
            record_type: None,
            dig: Dig {
                server: None,
                port: 53,
                query: String::new(),
                tcp: false,
                recursion_desired: true,
                edns_size: EDNS_SIZE,
                time: Duration::from_secs(5),
                tries: 3,
                unsaid: Vec::new(),
            },
        }
    }
}

impl Reader {
    fn server(&mut self, text: &str) -> Result<(), Refusal> {
        let remedy = "write @ and the real_server's address, once";
        let Ok(address) = text.parse::<IpAddr>() else {
            return refuse(format!("dig asks @{text}, which is no address"), remedy);
        };
        if self.dig.server.replace(address).is_some() {
            return refuse("dig asks two servers", remedy);
        }
        Ok(())
    }

    /// A word of its own: a type, a class or a name, the first that fits.
    fn plain(&mut self, word: &str) -> Result<(), Refusal> {
        if word.contains(['|', ';', '&', '<', '>', '`', '$']) {
            let what = format!("{word:?} would be for a shell, and keepalived runs none");
            return refuse(
                what,
                "write the dig command alone, and expect or accept_rcodes here",
            );
        }
        if let Ok(record_type) = word.to_ascii_uppercase().parse() {
            return self.set_type(record_type);
        }
        match word.to_ascii_uppercase().as_str() {
            "IN" => return Ok(()),
            "CH" | "CHAOS" | "HS" | "HESIOD" => return self.other_class(),
            _ => {}
        }
        self.set_name(word)
    }

    fn minus<'a>(
        &mut self,
        argument: &'a str,
        rest: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(), Refusal> {
        let option = argument.chars().nth(1).unwrap_or_default();
        let attached = argument.get(1 + option.len_utf8()..).unwrap_or_default();
        if matches!(option, '4' | '6' | 'm' | 'u' | 'r') && attached.is_empty() {
            return Ok(());
        }
        let value = match attached {
            "" => rest.next().unwrap_or_default(),
            attached => attached,
        };
        match option {
            'p' => match value.parse() {
                Ok(port) if port > 0 => self.dig.port = port,
                _ => return refuse(format!("dig's port {value:?} is none"), "write 1 to 65535"),
            },
            't' => match value.to_ascii_uppercase().parse() {
                Ok(record_type) => return self.set_type(record_type),
                Err(_) => {
                    let what = format!("dig's type {value:?} is not known");
                    return refuse(what, "write a type such as A or SOA");
                }
            },
            'q' => return self.set_name(value),
            'x' => {
                let Ok(address) = value.parse::<IpAddr>() else {
                    let what = format!("dig -x {value:?} is no whole address");
                    return refuse(what, "write the whole address");
                };
                self.set_type(RecordType::PTR)?;
                return self.set_name(&Name::from(address).to_ascii());
            }
            'c' => match value.to_ascii_uppercase().parse() {
                Ok(DNSClass::IN) => {}
                _ => return self.other_class(),
            },
            'b' => self.dig.unsaid.push(format!("-b {value}")),
            _ => {
                let what = format!("dig's option {argument:?} cannot be translated");
                return refuse(what, "write a command that asks one question of one server");
            }
        }
        Ok(())
    }

    fn plus(&mut self, option: &str) -> Result<(), Refusal> {
        let (word, value) = match option.split_once('=') {
            Some((word, value)) => (word, Some(value)),
            None => (option, None),
        };
        let lower = word.to_ascii_lowercase();
        // No option but those against one begins with it.
        let (name, wanted) = match lower.strip_prefix("no") {
            Some(name) => (name, false),
            None => (lower.as_str(), true),
        };
        let unknown = || {
            let what = format!("dig's option +{option} is not known");
            refuse(what, "write it out, or leave it out")
        };
        let full = match options::find(name) {
            Some(full) => full,
            None => return unknown(),
        };
        let number = |value: Option<&str>| match value.map(str::parse::<u16>) {
            Some(Ok(number)) => Ok(number),
            _ => Err(Refusal {
                what: format!("dig's option +{option} has no number"),
                remedy: "write a number from 0 to 65535",
            }),
        };
        match full {
            "tcp" | "vc" => self.dig.tcp = wanted,
            "recurse" | "rdflag" => self.dig.recursion_desired = wanted,
            "time" | "timeout" => {
                self.dig.time = Duration::from_secs(number(value)?.max(1).into());
            }
            "tries" => self.dig.tries = u32::from(number(value)?).max(1),
            "retry" => self.dig.tries = u32::from(number(value)?) + 1,
            "edns" if !wanted => self.dig.edns_size = 0,
            "edns" if value.is_none_or(|version| version == "0") => {
                self.dig.edns_size = EDNS_SIZE;
            }
            "bufsize" => {
                self.dig.edns_size = match (wanted, value) {
                    (true, Some(_)) => number(value)?,
                    _ => EDNS_SIZE,
                };
            }
            full if wanted && REFUSED.contains(&full) => {
                let what = format!("dig's option +{option} makes it ask something else");
                return refuse(what, "write an absolute name, and a question of one server");
            }
            full if wanted && UNSAID.contains(&full) => {
                self.dig.unsaid.push(format!("+{option}"));
            }
            _ => {}
        }
        Ok(())
    }

    fn set_type(&mut self, record_type: RecordType) -> Result<(), Refusal> {
        match record_type {
            RecordType::AXFR | RecordType::IXFR | RecordType::ANY => refuse(
                format!("dig asks for {record_type}, which tells nothing of a server's health"),
                "ask for a type such as SOA",
            ),
            _ => {
                self.record_type = Some(record_type);
                Ok(())
            }
        }
    }

    fn set_name(&mut self, name: &str) -> Result<(), Refusal> {
        let remedy = "ask for one name; for several write several MISC_CHECK";
        if name.is_empty() {
            return refuse("dig's name is missing", remedy);
        }
        if let Some(before) = &self.name {
            return refuse(format!("dig asks for {before:?} and {name:?}"), remedy);
        }
        if name.contains('%') || Name::from_ascii(name).is_err() {
            return refuse(format!("{name:?} is no name to ask for"), remedy);
        }
        self.name = Some(name.to_owned());
        Ok(())
    }

    fn other_class(&self) -> Result<(), Refusal> {
        refuse(
            "dig asks in another class than IN",
            "ask for a name in class IN, such as the zone's SOA",
        )
    }

    fn finish(self) -> Result<Dig, Refusal> {
        let Self {
            name,
            record_type,
            mut dig,
        } = self;
        let default_type = match name {
            Some(_) => RecordType::A,
            // Without a name `dig` asks for the servers of the root.
            None => RecordType::NS,
        };
        let name = name.unwrap_or_else(|| ".".to_owned());
        dig.query = question(&name, record_type.unwrap_or(default_type));
        Ok(dig)
    }
}

/// A question as our configuration states it, with an absolute name.
pub(super) fn question(name: &str, record_type: RecordType) -> String {
    let dot = if name.ends_with('.') { "" } else { "." };
    format!("{name}{dot} {record_type}")
}

#[cfg(test)]
mod tests;
