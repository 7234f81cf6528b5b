//! `virtual_server_group`: addresses, ranges of them, networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    ast::{At, Entry, Group},
    parse::has_block,
    scalar::{self, quoted},
    tree::Statement,
};
use crate::import::problem::Problems;

/// Reads a group.
pub(super) fn read(statement: &Statement, problems: &mut Problems) -> Option<Group> {
    if !has_block(statement, true, problems) {
        return None;
    }
    let name = scalar::one(statement, "a name", problems)?.to_owned();
    let inner = statement.statements();
    if inner.is_empty() {
        let what = format!("virtual_server_group {} is empty", quoted(&name));
        problems.add(&statement.place, what, "add ADDRESS PORT, or remove it");
    }
    let entries = inner.iter().filter_map(|inner| {
        let value = entry(inner, problems)?;
        let place = inner.place.clone();
        Some(At { place, value })
    });
    let entries = entries.collect();
    Some(Group {
        name: At {
            place: statement.place.clone(),
            value: name,
        },
        entries,
    })
}

fn entry(statement: &Statement, problems: &mut Problems) -> Option<Entry> {
    if !has_block(statement, false, problems) {
        return None;
    }
    let words = &statement.words;
    if words[0] == "fwmark" {
        let what = "fwmark says no address that clients send to";
        problems.add(
            &statement.place,
            what,
            "write the addresses and ports that are marked",
        );
        return None;
    }
    let port = match words.as_slice() {
        [_, port] => scalar::port(statement, port, problems)?,
        [_] => {
            let what = format!("{} without a port takes every port", quoted(&words[0]));
            problems.add(&statement.place, what, "write a port after it");
            return None;
        }
        _ => {
            let what = format!("{} is not understood after the port", quoted(&words[2]));
            problems.add(&statement.place, what, "write ADDRESS PORT, one a line");
            return None;
        }
    };
    match range(&words[0]) {
        Ok((first, last)) => {
            scalar::address(statement, &first.to_string(), problems)?;
            scalar::address(statement, &last.to_string(), problems)?;
            Some(Entry { first, last, port })
        }
        Err(wrong) => {
            let what = format!("{} {wrong}", quoted(&words[0]));
            let remedy = "write ADDRESS, FIRST-LAST (10.0.0.1-5) or NETWORK/BITS";
            problems.add(&statement.place, what, remedy);
            None
        }
    }
}

/// The first and the last address of `A`, `A-z` (the last octet, or the last 16 bits), `A-Z` and `N/b`.
fn range(text: &str) -> Result<(IpAddr, IpAddr), &'static str> {
    let address = |text: &str| text.parse::<IpAddr>().map_err(|_| "is no address");
    let (first, last) = if let Some((network, bits)) = text.split_once('/') {
        network_range(address(network)?, bits)?
    } else if let Some((first, last)) = text.split_once('-') {
        let first = address(first)?;
        let last = match first {
            _ if last.contains(['.', ':']) => address(last)?,
            IpAddr::V4(v4) => {
                let mut octets = v4.octets();
                octets[3] = last.parse().map_err(|_| "has no last octet")?;
                Ipv4Addr::from(octets).into()
            }
            IpAddr::V6(v6) => {
                let mut segments = v6.segments();
                segments[7] = u16::from_str_radix(last, 16).map_err(|_| "has no last part")?;
                Ipv6Addr::from(segments).into()
            }
        };
        (first, last)
    } else {
        let address = address(text)?;
        (address, address)
    };
    if first.is_ipv4() != last.is_ipv4() {
        return Err("begins and ends in different families");
    }
    if first > last {
        return Err("ends before it begins");
    }
    Ok((first, last))
}

fn network_range(network: IpAddr, bits: &str) -> Result<(IpAddr, IpAddr), &'static str> {
    const WRONG: &str = "has no number of bits that fits";
    let bits: u32 = bits.parse().map_err(|_| WRONG)?;
    let last = match network {
        IpAddr::V4(v4) => {
            let hosts = u32::MAX.checked_shr(bits).unwrap_or(0);
            if bits == 0 || bits > 32 || v4.to_bits() & hosts != 0 {
                return Err(WRONG);
            }
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() | hosts))
        }
        IpAddr::V6(v6) => {
            let hosts = u128::MAX.checked_shr(bits).unwrap_or(0);
            if bits == 0 || bits > 128 || v6.to_bits() & hosts != 0 {
                return Err(WRONG);
            }
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() | hosts))
        }
    };
    Ok((network, last))
}

/// The addresses of an entry, in order, at most `limit` of them and one more.
pub(super) fn addresses(entry: &Entry, limit: usize) -> Vec<IpAddr> {
    let most = limit.saturating_add(1);
    match (entry.first, entry.last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => (first.to_bits()..=last.to_bits())
            .take(most)
            .map(|bits| Ipv4Addr::from_bits(bits).into())
            .collect(),
        (IpAddr::V6(first), IpAddr::V6(last)) => (first.to_bits()..=last.to_bits())
            .take(most)
            .map(|bits| Ipv6Addr::from_bits(bits).into())
            .collect(),
        // `range` makes no such entries.
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Option<Vec<String>> {
        let (first, last) = range(text).ok()?;
        let entry = Entry {
            first,
            last,
            port: 53,
        };
        let addresses = addresses(&entry, 10);
        Some(addresses.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn ranges_are_written_out() {
        for (text, first, last, number) in [
            ("10.0.0.1", "10.0.0.1", "10.0.0.1", 1),
            ("10.0.0.1-5", "10.0.0.1", "10.0.0.5", 5),
            ("10.0.0.254-10.0.1.1", "10.0.0.254", "10.0.1.1", 4),
            ("10.0.0.8/30", "10.0.0.8", "10.0.0.11", 4),
            ("2001:db8::e-11", "2001:db8::e", "2001:db8::11", 4),
            ("2001:db8::1/128", "2001:db8::1", "2001:db8::1", 1),
            ("0.0.0.1-255.255.255.255", "0.0.0.1", "0.0.0.11", 11),
        ] {
            let addresses = expanded(text).unwrap();
            assert_eq!(addresses.len(), number, "{text}");
            assert_eq!(addresses.first().unwrap(), first);
            assert_eq!(addresses.last().unwrap(), last);
        }
        for text in [
            "x",
            "10.0.0.5-1",
            "10.0.0.1-256",
            "10.0.0.1-",
            "10.0.0.1/30",
            "10.0.0.0/0",
            "10.0.0.0/33",
            "10.0.0.1-2001:db8::1",
            "2001:db8::1-g",
        ] {
            assert_eq!(expanded(text), None, "{text}");
        }
    }
}
