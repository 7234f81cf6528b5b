//! Single values: names, addresses, durations, queries. Each function says what it allows.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use hickory_proto::rr::RecordType;

use super::health::NameTemplate;
use super::reader::{Place, Sink, Value, quoted};
use crate::mac::MacAddress;

/// Response codes and what the file calls them (RFC 1035, 4.1.1; RFC 2136, 2.2).
const RCODES: [(&str, u16); 11] = [
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("YXRRSET", 7),
    ("NXRRSET", 8),
    ("NOTAUTH", 9),
    ("NOTZONE", 10),
];

/// What a service or a backend is called.
pub(super) fn name(value: Value<'_, '_>) -> Option<String> {
    value.text("1 to 63 letters, digits, '.', '_' and '-'", |text| {
        let good = |octet: u8| octet.is_ascii_alphanumeric() || b"._-".contains(&octet);
        if text.is_empty() || text.len() > 63 {
            Err("is not of a name's length")
        } else if !text.bytes().all(good) {
            Err("has a character that no name has")
        } else {
            Ok(text.to_owned())
        }
    })
}

/// A network interface.
pub(super) fn interface(value: Value<'_, '_>) -> Option<String> {
    let allowed = "an interface's name: 1 to 15 printable characters of ASCII without '/' and ':'";
    value.text(allowed, |text| match is_interface(text) {
        true => Ok(text.to_owned()),
        false => Err("is not an interface's name"),
    })
}

/// Whether an interface may have this name, by the kernel's rules (`dev_valid_name` in
/// `net/core/dev.c`).
pub(crate) fn is_interface(text: &str) -> bool {
    let good = |octet: u8| octet.is_ascii_graphic() && octet != b'/' && octet != b':';
    !matches!(text, "" | "." | "..") && text.len() <= 15 && text.bytes().all(good)
}

/// An absolute path: the agent's working directory means nothing to the writer of the file.
pub(super) fn path(value: Value<'_, '_>) -> Option<PathBuf> {
    value.text("an absolute path", |text| {
        if !text.starts_with('/') {
            Err("is not absolute")
        } else if text.chars().any(char::is_control) {
            Err("has a control character")
        } else {
            Ok(PathBuf::from(text))
        }
    })
}

/// Octets of a Unix socket's path. `sun_path` holds 107, and the socket is made in a directory beside
/// its place, which takes up to 11 more.
const SOCKET_PATH: usize = 96;

/// Where a Unix socket is made.
pub(super) fn socket(value: Value<'_, '_>) -> Option<PathBuf> {
    let (sink, place) = (value.sink, value.place.clone());
    let path = path(value)?;
    let problem = if path.as_os_str().len() > SOCKET_PATH {
        "too long"
    } else if path.file_name().is_none() {
        "names no file"
    } else {
        return Some(path);
    };
    let allowed = format!("an absolute path of at most {SOCKET_PATH} octets");
    sink.report(&place, problem, allowed);
    None
}

/// Permissions of a Unix socket: its owner may always write, nobody can execute it.
pub(super) fn socket_mode(value: Value<'_, '_>) -> Option<u32> {
    let allowed = "octal digits from \"0600\" to \"0666\", such as \"0660\"";
    value.text(allowed, |text| {
        let others = |digit: u8| matches!(digit, b'0' | b'2' | b'4' | b'6');
        match text.as_bytes() {
            [b'0', b'6', group, rest] if others(*group) && others(*rest) => {
                u32::from_str_radix(text, 8).map_err(|_| "is not octal")
            }
            _ => Err("is not a mode for a socket"),
        }
    })
}

/// A group of the host's users, by name or number. Whether there is one is known where it is used.
pub(super) fn group(value: Value<'_, '_>) -> Option<String> {
    value.text("the name of a group such as \"dns-lb\"", |text| {
        let good = |octet: u8| octet.is_ascii_graphic() && octet != b':' && octet != b',';
        if text.is_empty() || text.len() > 63 || !text.bytes().all(good) {
            Err("is not a group's name")
        } else {
            Ok(text.to_owned())
        }
    })
}

/// A unicast address of a host, be it a VIP or a backend's own.
pub(super) fn address(value: Value<'_, '_>) -> Option<IpAddr> {
    let allowed = "a unicast address such as \"192.168.0.200\" or \"2001:db8::53\"";
    value.text(allowed, host_address)
}

pub(crate) fn host_address(text: &str) -> Result<IpAddr, &'static str> {
    let Ok(address) = text.parse::<IpAddr>() else {
        return Err("is not an address");
    };
    match address {
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Err("is not a host's address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Err("is the broadcast address"),
        IpAddr::V6(v6) if v6.is_unspecified() => Err("is not a host's address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Err("is IPv4 in the notation of IPv6"),
        // It says nothing without an interface, which the file has no place for.
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Err("is a link-local address"),
        _ if address.is_loopback() => Err("is a loopback address"),
        _ if address.is_multicast() => Err("is a multicast address"),
        _ => Ok(address),
    }
}

/// A percentage within a range.
pub(super) fn percentage(value: Value<'_, '_>, range: RangeInclusive<u32>) -> Option<u32> {
    let allowed = format!(
        "a whole percentage from \"{}%\" to \"{}%\"",
        range.start(),
        range.end()
    );
    value.text(&allowed, |text| {
        let digits = text.strip_suffix('%').filter(|digits| {
            !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
        });
        match digits.map(str::parse) {
            None => Err("is not a whole percentage"),
            Some(Ok(percent)) if range.contains(&percent) => Ok(percent),
            Some(_) => Err("is out of range"),
        }
    })
}

/// An address and port to listen on.
pub(super) fn listen(value: Value<'_, '_>) -> Option<SocketAddr> {
    let allowed = "an address and a port from 1, such as \"127.0.0.1:8053\" or \"[::1]:8053\"";
    value.text(allowed, |text| match text.parse::<SocketAddr>() {
        Err(_) => Err("is not an address and a port"),
        Ok(address) if address.port() == 0 => Err("has port 0"),
        Ok(address) => Ok(address),
    })
}

/// A host's MAC address.
pub(super) fn mac(value: Value<'_, '_>) -> Option<MacAddress> {
    let allowed = "a unicast MAC address such as \"02:00:00:00:00:01\"";
    value.text(allowed, |text| match text.parse::<MacAddress>() {
        Err(_) => Err("is not a MAC address"),
        Ok(mac) if !mac.is_unicast() => Err("is not a unicast address"),
        Ok(mac) => Ok(mac),
    })
}

/// A duration within a range.
pub(super) fn duration(value: Value<'_, '_>, range: RangeInclusive<Duration>) -> Option<Duration> {
    let allowed = format!(
        "a duration from \"{}\" to \"{}\": a whole number and one of us, ms, s, m, h",
        WrittenDuration(*range.start()),
        WrittenDuration(*range.end())
    );
    value.text(&allowed, |text| {
        let duration = parse_duration(text).ok_or("is not a duration")?;
        if range.contains(&duration) {
            Ok(duration)
        } else {
            Err("is out of range")
        }
    })
}

/// Units of a duration, in microseconds, the longest first.
const UNITS: [(&str, u64); 5] = [
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let unit_start = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_start);
    let (_, micros) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let number: u64 = number.parse().ok()?;
    Some(Duration::from_micros(number.checked_mul(micros)?))
}

/// A duration of whole microseconds as the file writes it, in the longest unit that fits.
pub(crate) struct WrittenDuration(pub(crate) Duration);

impl fmt::Display for WrittenDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.as_micros();
        if total == 0 {
            return f.write_str("0s");
        }
        let fits = |micros: u64| total.is_multiple_of(u128::from(micros));
        match UNITS.into_iter().find(|(_, micros)| fits(*micros)) {
            Some((unit, micros)) => write!(f, "{}{unit}", total / u128::from(micros)),
            None => write!(f, "{:?}", self.0),
        }
    }
}

/// A question: a name and a type, class IN.
pub(super) fn query(value: Value<'_, '_>) -> Option<(NameTemplate, RecordType)> {
    let allowed = "a name and a type that one query can ask for, such as \"example.net. SOA\"";
    value.text(allowed, parse_query)
}

pub(crate) fn parse_query(text: &str) -> Result<(NameTemplate, RecordType), &'static str> {
    let mut words = text.split_ascii_whitespace();
    let (Some(name), Some(record_type), None) = (words.next(), words.next(), words.next()) else {
        return Err("is not a name and a type");
    };
    let name = NameTemplate::parse(name).map_err(|_| "has no valid name")?;
    let record_type = record_type
        .to_ascii_uppercase()
        .parse()
        .map_err(|_| "has no known type")?;
    match record_type {
        // Transfers, signatures of messages, and what RFC 8482 lets servers refuse.
        RecordType::AXFR | RecordType::TSIG | RecordType::SIG | RecordType::ANY => {
            Err("asks for a type that tells nothing of a server's health")
        }
        _ => Ok((name, record_type)),
    }
}

/// The name of a response code.
pub(super) fn rcode(value: Value<'_, '_>) -> Option<&'static str> {
    value.word(&RCODES.map(|(name, _)| (name, name)))
}

/// The number of a response code.
pub(super) fn rcode_number(name: &str) -> Option<u16> {
    let (_, number) = RCODES.into_iter().find(|(known, _)| *known == name)?;
    Some(number)
}

/// The numbers of all response codes that have a name here.
pub(crate) fn rcode_numbers() -> impl Iterator<Item = u16> {
    RCODES.into_iter().map(|(_, number)| number)
}

/// The reverse.
pub(crate) fn rcode_name(number: u16) -> &'static str {
    let known = RCODES.into_iter().find(|(_, known)| *known == number);
    known.expect("the file names codes by these names alone").0
}

/// Values that have been seen, and the lines where.
pub(super) struct Seen<T>(HashMap<T, usize>);

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Eq + Hash + Clone + fmt::Display> Seen<T> {
    /// Reads a value that has not been seen before.
    pub(super) fn read_new<'r, 'i>(
        &mut self,
        value: Value<'r, 'i>,
        read: impl FnOnce(Value<'r, 'i>) -> Option<T>,
    ) -> Option<T> {
        let (sink, place) = (value.sink, value.place.clone());
        let value = read(value)?;
        self.claim(sink, &place, value.clone()).then_some(value)
    }

    /// Notes a value; reports and gives `false` if it has been seen before.
    pub(super) fn claim(&mut self, sink: &Sink<'_>, place: &Place, value: T) -> bool {
        let problem = self.line(&value).map(|line| {
            let value = quoted(&value.to_string());
            format!("{value} is on line {line} already")
        });
        match problem {
            Some(problem) => {
                sink.report(place, problem, "each once");
                false
            }
            None => {
                self.0.insert(value, sink.line(place));
                true
            }
        }
    }

    /// Where a value was first seen.
    pub(super) fn line(&self, value: &T) -> Option<usize> {
        self.0.get(value).copied()
    }
}
