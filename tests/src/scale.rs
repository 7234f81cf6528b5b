//! How large a farm is that costs are measured at: the same sizes for what a packet costs and for what
//! the agent costs.

use serde::Serialize;

/// Servers, and the services that share them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Scale {
    /// DNS servers.
    pub servers: u16,
    /// Services, each with a VIP and tables of its own. Where there are no more of them than servers,
    /// each server is of one service; otherwise each service has one server, and servers are of several.
    pub services: u16,
}

impl Scale {
    /// All that are measured.
    pub const ALL: [Self; 6] = [
        Self::new(10, 1),
        Self::new(100, 1),
        Self::new(1_000, 1),
        Self::new(10, 100),
        Self::new(100, 100),
        Self::new(1_000, 100),
    ];

    /// The number of servers that limits are set for.
    pub const LIMITED: u16 = 1_000;

    const fn new(servers: u16, services: u16) -> Self {
        Self { servers, services }
    }

    /// Backends: servers, once for each service that they are of. So many are probed and steered to.
    #[must_use]
    pub const fn backends(self) -> u16 {
        self.services * self.backends_each()
    }

    /// The servers of a service, both by number from 0.
    pub fn servers_of(self, service: u16) -> impl Iterator<Item = u16> {
        let each = self.backends_each();
        (service * each..(service + 1) * each).map(move |backend| backend % self.servers)
    }

    const fn backends_each(self) -> u16 {
        if self.services < self.servers {
            self.servers / self.services
        } else {
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_service_has_a_server_and_every_server_a_service() {
        for scale in Scale::ALL {
            let mut servers = BTreeSet::new();
            let mut backends = 0;
            for service in 0..scale.services {
                let before = backends;
                for server in scale.servers_of(service) {
                    servers.insert(server);
                    backends += 1;
                }
                assert!(backends > before, "{scale:?}: service {service} has none");
            }
            assert_eq!(backends, scale.backends(), "{scale:?}");
            assert!(servers.iter().copied().eq(0..scale.servers), "{scale:?}");
        }
    }
}
