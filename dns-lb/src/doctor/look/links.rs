//! Interfaces, by netlink, and what their drivers say.

use std::{io, time::Duration};

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp, XdpAttached,
};
use tokio::time::timeout;

use super::{files, xdp_features::Netdev};
use crate::{
    doctor::interface::{Attached, Interface},
    ethtool,
    mac::MacAddress,
};

/// How long the kernel may take to list them.
const LISTING: Duration = Duration::from_secs(2);

/// All interfaces, at one moment.
pub(super) struct Links {
    messages: Vec<LinkMessage>,
    netdev: Option<Netdev>,
}

impl Links {
    /// # Errors
    /// The kernel cannot be asked.
    pub(super) async fn dump() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        // Ends by itself when the handle is dropped.
        tokio::spawn(connection);
        let list = handle.link().get().execute().try_collect();
        let messages = timeout(LISTING, list)
            .await?
            .map_err(|error| io::Error::other(format!("cannot list the interfaces: {error}")))?;
        Ok(Self {
            messages,
            netdev: Netdev::open().ok(),
        })
    }

    /// What there is to say of the interface of this name.
    pub(super) fn interface(&self, name: &str) -> Option<Interface> {
        let mut messages = self.messages.iter();
        let message = messages.find(|message| self::name(message) == Some(name))?;
        let index = message.header.index;
        let flags = message.header.flags;
        let mut interface = Interface {
            index,
            is_up: flags.contains(LinkFlags::Up),
            is_running: flags.contains(LinkFlags::Up | LinkFlags::Running),
            is_promiscuous: flags.contains(LinkFlags::Promisc),
            kind: kind(message).map(ToString::to_string),
            vlans: self.vlans(index),
            xdp_features: self
                .netdev
                .as_ref()
                .and_then(|netdev| netdev.xdp_features(index).ok()),
            offloads: ethtool::active_features(name).map_err(|error| error.to_string()),
            settings: files::settings(name),
            mac: None,
            mtu: 0,
            attached: None,
        };
        let is_ethernet = message.header.link_layer_type == LinkLayerType::Ether;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
                LinkAttribute::Address(octets) if is_ethernet => {
                    interface.mac = octets.as_slice().try_into().ok().map(MacAddress);
                }
                LinkAttribute::Xdp(xdp) => interface.attached = attached(xdp),
                _ => {}
            }
        }
        Some(interface)
    }

    /// Names of the VLAN devices on top of an interface.
    fn vlans(&self, index: u32) -> Vec<String> {
        let is_on_top = |message: &&LinkMessage| {
            kind(message) == Some(&InfoKind::Vlan)
                && message.attributes.contains(&LinkAttribute::Link(index))
        };
        let messages = self.messages.iter().filter(is_on_top);
        messages.filter_map(name).map(str::to_owned).collect()
    }
}

fn name(message: &LinkMessage) -> Option<&str> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.as_str()),
            _ => None,
        })
}

fn kind(message: &LinkMessage) -> Option<&InfoKind> {
    let infos = message
        .attributes
        .iter()
        .filter_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => Some(infos),
            _ => None,
        });
    infos.flatten().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    })
}

/// The program that meets packets first.
fn attached(xdp: &[LinkXdp]) -> Option<Attached> {
    let (mut mode, mut only, mut native) = (XdpAttached::None, None, None);
    for attribute in xdp {
        match attribute {
            LinkXdp::Attached(attached) => mode = *attached,
            LinkXdp::ProgId(id) => only = Some(*id),
            LinkXdp::DrvProgId(id) | LinkXdp::HwProgId(id) => native = Some(*id),
            _ => {}
        }
    }
    let (is_native, program) = match mode {
        XdpAttached::None => return None,
        XdpAttached::SocketBuffer => (false, only),
        _ => (true, native.or(only)),
    };
    Some(Attached {
        is_native,
        program: program?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_that_meets_packets_first_counts() {
        let program = |is_native, program| Some(Attached { is_native, program });
        for (xdp, expected) in [
            (vec![LinkXdp::Attached(XdpAttached::None)], None),
            (
                vec![
                    LinkXdp::Attached(XdpAttached::SocketBuffer),
                    LinkXdp::ProgId(7),
                    LinkXdp::SkbProgId(7),
                ],
                program(false, 7),
            ),
            (
                vec![
                    LinkXdp::Attached(XdpAttached::Driver),
                    LinkXdp::ProgId(8),
                    LinkXdp::DrvProgId(8),
                ],
                program(true, 8),
            ),
            (
                vec![
                    LinkXdp::Attached(XdpAttached::Multiple),
                    LinkXdp::SkbProgId(7),
                    LinkXdp::DrvProgId(8),
                ],
                program(true, 8),
            ),
        ] {
            assert_eq!(attached(&xdp), expected, "{xdp:?}");
        }
    }

    #[tokio::test]
    async fn the_loopback_is_seen_as_it_is() {
        let links = Links::dump().await.unwrap();
        let lo = links.interface("lo").unwrap();
        assert_eq!((lo.index, lo.mac, lo.attached), (1, None, None));
        assert!(lo.mtu > 0 && lo.offloads.unwrap().contains("loopback"));
        assert!(links.interface("no-such-link").is_none());
    }
}
