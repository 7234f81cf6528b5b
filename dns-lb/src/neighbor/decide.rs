//! What the kernel has said, and what follows from it. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{Addresses, Link, Neighbor, Neighbors, Unresolved, Wanted};
use crate::mac::MacAddress;

/// What the kernel has said.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// All interfaces, by index.
    pub(super) links: BTreeMap<u32, Link>,
    /// This host's own addresses, by interface index.
    pub(super) addresses: Addresses,
    /// The way to each wanted address.
    pub(super) routes: BTreeMap<IpAddr, Route>,
    /// Neighbour entries of the wanted addresses, by interface index and address.
    pub(super) entries: BTreeMap<(u32, IpAddr), Entry>,
}

/// The kernel's answer to "which way to this address?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// None.
    None,
    /// To this host itself.
    Own,
    /// Over a router.
    Gateway(IpAddr),
    /// Directly on the link of this interface.
    OnLink(u32),
}

/// An entry of the kernel's neighbour table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The kernel would send to this address: the entry was confirmed, is being confirmed again, or
    /// was set by hand.
    Usable(MacAddress),
    /// The kernel is asking, or has not begun to.
    Incomplete,
    /// The kernel has asked in vain.
    Failed,
}

impl Facts {
    /// The answers for these addresses.
    pub(super) fn answer(&self, wanted: &BTreeSet<Wanted>) -> Neighbors {
        Neighbors {
            // A set's order puts the given MAC addresses last, so that they win.
            by_address: wanted
                .iter()
                .map(|wanted| (wanted.address, self.find(*wanted)))
                .collect(),
            links: self.links.clone(),
            addresses: self.addresses.clone(),
        }
    }

    fn find(&self, wanted: Wanted) -> Result<Neighbor, Unresolved> {
        let address = wanted.address;
        let (ifindex, link) = self.egress(address)?;
        if let Some(mac) = wanted.mac {
            return Ok(Neighbor { mac, ifindex });
        }
        let interface = link.name.clone();
        match self.entries.get(&(ifindex, address)) {
            Some(Entry::Usable(mac)) if mac.is_unicast() => Ok(Neighbor { mac: *mac, ifindex }),
            Some(Entry::Usable(_)) => Err(Unresolved::NotEthernet { interface }),
            Some(Entry::Failed) => Err(Unresolved::Failed { interface }),
            Some(Entry::Incomplete) | None => Err(Unresolved::Resolving { interface }),
        }
    }

    fn egress(&self, address: IpAddr) -> Result<(u32, &Link), Unresolved> {
        let ifindex = match self.routes.get(&address) {
            None | Some(Route::None) => return Err(Unresolved::NoRoute),
            Some(Route::Own) => return Err(Unresolved::OwnAddress),
            Some(&Route::Gateway(gateway)) => return Err(Unresolved::BehindGateway { gateway }),
            Some(&Route::OnLink(ifindex)) => ifindex,
        };
        let link = self
            .links
            .get(&ifindex)
            .ok_or(Unresolved::InterfaceGone { ifindex })?;
        let interface = || link.name.clone();
        if !link.up {
            return Err(Unresolved::InterfaceDown {
                interface: interface(),
            });
        }
        if link.mac.is_none() {
            return Err(Unresolved::NotEthernet {
                interface: interface(),
            });
        }
        Ok((ifindex, link))
    }

    /// The addresses that the kernel is to be asked to resolve, each with its interface.
    pub(super) fn unresolved(&self, wanted: &BTreeSet<Wanted>) -> BTreeSet<(u32, IpAddr)> {
        wanted
            .iter()
            .filter(|wanted| {
                matches!(
                    self.find(**wanted),
                    Err(Unresolved::Resolving { .. } | Unresolved::Failed { .. })
                )
            })
            .filter_map(|wanted| match self.routes.get(&wanted.address) {
                Some(&Route::OnLink(ifindex)) => Some((ifindex, wanted.address)),
                _ => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const THEIRS: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
    const GIVEN: MacAddress = MacAddress([2, 0, 0, 0, 0, 3]);
    const ETH0: u32 = 7;

    fn address() -> IpAddr {
        "192.0.2.1".parse().unwrap()
    }

    fn resolved() -> Facts {
        Facts {
            links: [(
                ETH0,
                Link {
                    name: "eth0".into(),
                    mac: Some(OURS),
                    up: true,
                },
            )]
            .into(),
            addresses: [(ETH0, [("192.0.2.9".parse().unwrap(), 24)].into())].into(),
            routes: [(address(), Route::OnLink(ETH0))].into(),
            entries: [((ETH0, address()), Entry::Usable(THEIRS))].into(),
        }
    }

    fn answer(facts: &Facts, mac: Option<MacAddress>) -> Result<Neighbor, Unresolved> {
        let wanted = Wanted {
            address: address(),
            mac,
        };
        let mut neighbors = facts.answer(&[wanted].into());
        assert_eq!(neighbors.links, facts.links);
        assert_eq!(neighbors.addresses, facts.addresses);
        neighbors.by_address.remove(&address()).unwrap()
    }

    fn neighbor(mac: MacAddress) -> Result<Neighbor, Unresolved> {
        Ok(Neighbor { mac, ifindex: ETH0 })
    }

    fn asks(facts: &Facts, mac: Option<MacAddress>) -> bool {
        let wanted = Wanted {
            address: address(),
            mac,
        };
        let unresolved = facts.unresolved(&[wanted].into());
        assert!(unresolved.is_empty() || unresolved == [(ETH0, address())].into());
        !unresolved.is_empty()
    }

    #[test]
    fn a_usable_entry_resolves() {
        assert_eq!(answer(&resolved(), None), neighbor(THEIRS));
        assert!(!asks(&resolved(), None));
    }

    #[test]
    fn a_given_mac_needs_no_entry() {
        let mut facts = resolved();
        assert_eq!(answer(&facts, Some(GIVEN)), neighbor(GIVEN));
        facts.entries.clear();
        assert_eq!(answer(&facts, Some(GIVEN)), neighbor(GIVEN));
        assert!(!asks(&facts, Some(GIVEN)));
    }

    #[test]
    fn wanted_twice_a_given_mac_wins() {
        let wanted = [None, Some(GIVEN)].map(|mac| Wanted {
            address: address(),
            mac,
        });
        let neighbors = resolved().answer(&wanted.into());
        assert_eq!(neighbors.by_address, [(address(), neighbor(GIVEN))].into());
    }

    #[test]
    fn an_absent_failed_or_foreign_entry_does_not_resolve() {
        let interface = || "eth0".to_owned();
        let resolving = || Unresolved::Resolving {
            interface: interface(),
        };
        for (entry, expected, asked) in [
            (None, resolving(), true),
            (Some(Entry::Incomplete), resolving(), true),
            (
                Some(Entry::Failed),
                Unresolved::Failed {
                    interface: interface(),
                },
                true,
            ),
            (
                Some(Entry::Usable(MacAddress([0; 6]))),
                Unresolved::NotEthernet {
                    interface: interface(),
                },
                false,
            ),
        ] {
            let mut facts = resolved();
            // An entry of the same address on another interface is of no use.
            facts.entries = [((ETH0 + 1, address()), Entry::Usable(THEIRS))].into();
            facts
                .entries
                .extend(entry.map(|entry| ((ETH0, address()), entry)));
            assert_eq!(answer(&facts, None), Err(expected));
            assert_eq!(asks(&facts, None), asked);
        }
    }

    #[test]
    fn without_a_link_of_its_own_neither_resolution_nor_a_given_mac_helps() {
        type Change = fn(&mut Facts);
        let rows: [(Change, &str); 7] = [
            (|facts| facts.routes.clear(), "no route to it"),
            (
                |facts| {
                    facts.routes.insert(address(), Route::None);
                },
                "no route to it",
            ),
            (
                |facts| {
                    facts.routes.insert(address(), Route::Own);
                },
                "it is an address of this host",
            ),
            (
                |facts| {
                    let gateway = "192.0.2.254".parse().unwrap();
                    facts.routes.insert(address(), Route::Gateway(gateway));
                },
                "behind the gateway 192.0.2.254, not on a shared link",
            ),
            (
                |facts| facts.links.clear(),
                "its interface (index 7) is gone",
            ),
            (
                |facts| facts.links.get_mut(&ETH0).unwrap().up = false,
                "interface eth0 is down",
            ),
            (
                |facts| facts.links.get_mut(&ETH0).unwrap().mac = None,
                "interface eth0 is not Ethernet",
            ),
        ];
        for (change, text) in rows {
            let mut facts = resolved();
            change(&mut facts);
            for mac in [None, Some(GIVEN)] {
                assert_eq!(answer(&facts, mac).unwrap_err().to_string(), text);
                assert!(!asks(&facts, mac), "{text}");
            }
        }
    }
}
