//! Finding out what is: from the kernel's files, by netlink, by ioctls, and by asking on the link. What
//! it means is for others to say. Changes nothing; as any sender does, it makes the kernel find the
//! backends on the link.

mod files;
mod links;
mod servers;
mod xdp_features;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

use self::links::Links;
use super::{
    backend::Place,
    interface::Interface,
    vip::{Asked, OwnAddress, Owner},
};
use crate::{
    config::{Backend, Config},
    health::link::{Claim, solicit},
    mac::MacAddress,
    neighbor::{self, Neighbors, Unresolved, Wanted},
};
pub use files::Capabilities;
pub(super) use files::{capabilities, host, own_capabilities};

/// How long the kernel may take to find a backend: it asks once a second.
const FINDING: Duration = Duration::from_millis(2_200);
/// How long somebody on the link may take to say that a VIP is theirs.
const ANSWERING: Duration = Duration::from_millis(600);

/// What was seen of the links that the configuration is about.
pub(super) struct Look {
    /// Those that are configured, as far as they are there, and those that backends are behind.
    pub(super) interfaces: BTreeMap<String, Interface>,
    /// Those that backends are behind.
    pub(super) egress: BTreeSet<String>,
    pub(super) own_addresses: Vec<OwnAddress>,
    neighbors: Arc<Neighbors>,
    vips: BTreeSet<IpAddr>,
}

impl Look {
    /// Looks at interfaces, and finds the backends.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub(super) async fn at(config: &Config) -> Result<Self, String> {
        let wanted = backends(config).map(|backend| Wanted {
            address: backend.address,
            mac: backend.mac,
        });
        let watcher = neighbor::start(wanted.collect()).await;
        let watcher = watcher.map_err(|error| error.to_string())?;
        let neighbors = settled(watcher.neighbors()).await;
        let links = Links::dump().await.map_err(|error| error.to_string())?;

        let egress: BTreeSet<String> = neighbors
            .by_address
            .values()
            .flatten()
            .filter_map(|found| Some(neighbors.links.get(&found.ifindex)?.name.clone()))
            .collect();
        let names = config.interfaces.iter().chain(&egress);
        let interfaces = names
            .filter_map(|name| Some((name.clone(), links.interface(name)?)))
            .collect();
        Ok(Self {
            interfaces,
            egress,
            own_addresses: own_addresses(&neighbors),
            neighbors,
            vips: super::vips(config),
        })
    }

    /// Where each service's backends are.
    pub(super) fn places(&self, config: &Config) -> Vec<Vec<Place>> {
        let own: BTreeSet<MacAddress> = self.own_macs().collect();
        let place = |backend: &Backend| {
            let answer = self.neighbors.by_address.get(&backend.address);
            let found = match answer {
                Some(Ok(neighbor)) => Ok(neighbor.mac),
                Some(Err(why)) => Err(why.clone()),
                None => Err(Unresolved::NoRoute),
            };
            Place {
                is_own_mac: found.as_ref().is_ok_and(|mac| own.contains(mac)),
                found,
            }
        };
        let services = config.services.iter();
        services
            .map(|service| service.backends.iter().map(place).collect())
            .collect()
    }

    /// Whose the MAC addresses are that are known.
    pub(super) fn owners(&self, config: &Config) -> BTreeMap<MacAddress, Owner> {
        let mut owners = BTreeMap::new();
        for service in &config.services {
            for backend in &service.backends {
                if let Some(Ok(found)) = self.neighbors.by_address.get(&backend.address) {
                    let name = format!("{}/{}", service.name, backend.name);
                    owners.entry(found.mac).or_insert(Owner::Backend(name));
                }
            }
        }
        owners.extend(self.own_macs().map(|mac| (mac, Owner::ThisHost)));
        owners
    }

    fn own_macs(&self) -> impl Iterator<Item = MacAddress> {
        self.neighbors.links.values().filter_map(|link| link.mac)
    }

    /// Asks on the link of each interface who has each VIP.
    pub(super) async fn ask_for_vips(&self) -> BTreeMap<(String, IpAddr), Asked> {
        let interfaces = self.interfaces.iter();
        let asked = interfaces.map(|(name, interface)| self.ask_on(name, interface));
        let asked = futures_util::future::join_all(asked).await;
        asked.into_iter().flatten().collect()
    }

    async fn ask_on(&self, name: &str, interface: &Interface) -> Vec<((String, IpAddr), Asked)> {
        let sources = self.sources(interface.index);
        // Without one of its family an IPv6 address is not asked for.
        let has_v6 = sources.iter().any(IpAddr::is_ipv6);
        let answer = match (interface.is_running, interface.mac) {
            (true, Some(_)) => solicit(interface.index, &self.vips, &sources, ANSWERING)
                .await
                .map_err(|error| error.to_string()),
            (true, None) => Err("not asked: it has no MAC address".to_owned()),
            (false, _) => Err("not asked: it is down".to_owned()),
        };
        let of = |vip: IpAddr| match &answer {
            Err(why) => Err(why.clone()),
            Ok(_) if vip.is_ipv6() && !has_v6 => {
                Err("this host has no IPv6 address there to ask from".to_owned())
            }
            Ok(claims) => {
                let about: BTreeSet<Claim> = claims
                    .iter()
                    .filter(|claim| claim.address == vip)
                    .copied()
                    .collect();
                Ok(about)
            }
        };
        self.vips
            .iter()
            .map(|&vip| ((name.to_owned(), vip), of(vip)))
            .collect()
    }

    /// This host's addresses on an interface to ask from, those of the link first.
    fn sources(&self, ifindex: u32) -> Vec<IpAddr> {
        let on_link = self.neighbors.addresses.get(&ifindex);
        let addresses = on_link.into_iter().flatten().map(|(address, _)| *address);
        let mut sources: Vec<_> = addresses
            .filter(|address| !self.vips.contains(address))
            .collect();
        sources.sort_by_key(|address| match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        });
        sources
    }
}

fn backends(config: &Config) -> impl Iterator<Item = &Backend> {
    let services = config.services.iter();
    services.flat_map(|service| &service.backends)
}

/// What is known of the neighbours when every one has been found or given up, or the time is over.
async fn settled(mut neighbors: watch::Receiver<Arc<Neighbors>>) -> Arc<Neighbors> {
    let are_settled = |neighbors: &Arc<Neighbors>| {
        let mut answers = neighbors.by_address.values();
        !answers.any(|answer| matches!(answer, Err(Unresolved::Resolving { .. })))
    };
    // What is not settled by then is judged as it is.
    let _ = timeout(FINDING, neighbors.wait_for(are_settled)).await;
    neighbors.borrow().clone()
}

/// This host's addresses, those included that are not usable.
fn own_addresses(neighbors: &Neighbors) -> Vec<OwnAddress> {
    let mut own = files::undecided_addresses();
    for (ifindex, addresses) in &neighbors.addresses {
        let name = neighbors.links.get(ifindex).map(|link| link.name.clone());
        let interface = name.unwrap_or_default();
        own.extend(addresses.keys().map(|&address| OwnAddress {
            interface: interface.clone(),
            address,
            state: super::vip::AddressState::Valid,
        }));
    }
    own
}
