//! A DNS server's host: the server's life and death, and the host's link.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::{
    dns,
    lab::{CLIENT_NETWORK, VIP, VIP_V6},
    node::{Node, Stdout},
    process::Process,
    software::Software,
};

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The discard service (RFC 863): nobody answers.
const DISCARD: u16 = 9;

/// A host for a DNS server, with the VIP on its loopback.
pub struct Backend {
    /// `dns1`, `dns2`, …
    pub name: String,
    /// Its own address.
    pub address: Ipv4Addr,
    /// Its IPv6 address, in a lab that has IPv6.
    pub address_v6: Option<Ipv6Addr>,
    /// More addresses that its server answers on. Whoever sets them, before the server is started,
    /// gives them to the host.
    pub further_addresses: Vec<IpAddr>,
    /// Its MAC address, as text.
    pub mac: String,
    /// The host.
    pub node: Node,
    /// What it runs; none if it only has the addresses.
    pub software: Option<Software>,
    pub(crate) server: Option<Process>,
}

impl Backend {
    /// What its server answers to [`dns::IDENTITY`], like `dns1/nsd`.
    #[must_use]
    pub fn identity(&self) -> String {
        match self.software {
            Some(software) => format!("{}/{software}", self.name),
            None => self.name.clone(),
        }
    }

    /// The addresses that its server answers on: its own and the VIP, of each family that the lab has,
    /// and more if it has been given more.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses = vec![self.address.into(), VIP.into()];
        if let Some(address) = self.address_v6 {
            addresses.extend([address.into(), IpAddr::from(VIP_V6)]);
        }
        addresses.extend(&self.further_addresses);
        addresses
    }

    /// Starts the server, without waiting for it.
    ///
    /// # Errors
    /// It runs already, the host has no software, or the software is not installed.
    pub fn launch(&mut self) -> Result<()> {
        let Some(software) = self.software.filter(|_| self.server.is_none()) else {
            bail!("{} has no server to start", self.name);
        };
        let command = software.prepare(&self.node, &self.identity(), &self.addresses())?;
        self.server = Some(
            self.node
                .spawn(&software.to_string(), command, Stdout::Log)?,
        );
        Ok(())
    }

    /// Waits until the server answers on its own address and on the VIP.
    ///
    /// # Errors
    /// It does not within 20 s, or it ends; the error shows its log.
    pub fn wait_until_answering(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        let identity = self.identity();
        let addresses = self.addresses();
        let server = self.server.as_mut().context("no server was started")?;
        for address in addresses {
            loop {
                server.fail_if_ended()?;
                let attempt = Duration::from_millis(100);
                match self.node.run(move || dns::ask_identity(address, attempt)) {
                    Ok(answer) if answer == identity => break,
                    Ok(answer) => bail!("{identity} calls itself {answer}"),
                    Err(error) if Instant::now() > deadline => {
                        return Err(error.context(server.log()));
                    }
                    Err(_) => thread::sleep(Duration::from_millis(10)),
                }
            }
        }
        Ok(())
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    /// As [`Backend::launch`] and [`Backend::wait_until_answering`].
    pub fn start(&mut self) -> Result<()> {
        self.launch()?;
        self.wait_until_answering()
    }

    /// Kills the server's processes (SIGKILL). Its port refuses from then on.
    ///
    /// # Errors
    /// It was not running.
    pub fn kill(&mut self) -> Result<()> {
        self.server.take().context("no server runs")?.kill()
    }

    /// Stops the server's processes (SIGSTOP): its port takes queries, nobody answers.
    ///
    /// # Errors
    /// It was not running.
    pub fn freeze(&self) -> Result<()> {
        self.server()?.freeze()
    }

    /// Lets a frozen server go on (SIGCONT).
    ///
    /// # Errors
    /// It was not running.
    pub fn thaw(&self) -> Result<()> {
        self.server()?.signal(Signal::SIGCONT)
    }

    /// Takes the host's link down; or up again, with the route that it had, and waits until the
    /// router is found on it.
    ///
    /// # Errors
    /// `ip` fails, or the router is not found within 20 s.
    pub fn set_link(&self, up: bool) -> Result<()> {
        if !up {
            return self.node.ip("link set eth0 down");
        }
        let [a, b, c, _] = self.address.octets();
        let router = Ipv4Addr::new(a, b, c, 254);
        self.node.ip(&format!(
            "link set eth0 up\nroute replace default via {router}"
        ))?;
        // The kernel tells a bridge of a port's new carrier up to a second late
        // (`linkwatch_schedule_work` in net/core/link_watch.c); until then frames are lost.
        let deadline = Instant::now() + START_LIMIT;
        while !self.node.run(move || is_neighbor(router))? {
            ensure!(
                Instant::now() < deadline,
                "{} does not find the router on its link",
                self.name
            );
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Makes the host silent towards clients, errors included, while its link and its neighbours
    /// see nothing odd; or lets it speak again.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn set_silent(&self, silent: bool) -> Result<()> {
        let verb = if silent { "replace" } else { "del" };
        self.node
            .ip(&format!("route {verb} blackhole {CLIENT_NETWORK}.0/24"))
    }

    /// Waits until somebody has bound a UDP port of the host, which this server is to do.
    pub(crate) fn wait_until_bound(&self, server: &mut Process, port: u16) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while !self.node.run(move || is_bound(port))? {
            server.fail_if_ended()?;
            ensure!(
                Instant::now() < deadline,
                "nobody binds port {port} of {}\n{}",
                self.name,
                server.log()
            );
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// How many datagrams the host has dropped so far since the server's socket was full: lost by
    /// a machine that is too busy for the lab, not on the way.
    ///
    /// # Errors
    /// The kernel's counters are not there.
    pub fn overflowed(&self) -> Result<u64> {
        let table = self
            .node
            .run(|| fs::read_to_string("/proc/thread-self/net/snmp"))?;
        let mut rows = table.lines().filter_map(|line| line.strip_prefix("Udp: "));
        let (names, counts) = (rows.next(), rows.next());
        names
            .unwrap_or_default()
            .split(' ')
            .zip(counts.unwrap_or_default().split(' '))
            .find(|(name, _)| *name == "RcvbufErrors")
            .and_then(|(_, count)| count.parse().ok())
            .context("the kernel does not count full UDP sockets")
    }

    /// What the server has printed since it was last started.
    #[must_use]
    pub fn log(&self) -> String {
        self.server.as_ref().map(Process::log).unwrap_or_default()
    }

    fn server(&self) -> Result<&Process> {
        self.server.as_ref().context("no server runs")
    }
}

/// Whether ARP has found this address from the calling thread's host; if not, has it ask.
fn is_neighbor(address: Ipv4Addr) -> Result<bool> {
    // Any packet makes the kernel ask. Sending it fails while there is no carrier.
    let _ = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.send_to(&[], (address, DISCARD));
    // Columns: address, hardware type, flags (`ATF_COM` is 2: complete), …
    let table = fs::read_to_string("/proc/thread-self/net/arp")?;
    let address = address.to_string();
    Ok(table.lines().any(|row| {
        let mut columns = row.split_whitespace();
        columns.next() == Some(&address) && columns.nth(1) == Some("0x2")
    }))
}

/// Whether a socket of the calling thread's host has this UDP port.
fn is_bound(port: u16) -> Result<bool> {
    // Columns: slot, local address as `0100007F:0035`, …
    let end = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/thread-self/net/udp")?;
    Ok(table.lines().skip(1).any(|row| {
        let address = row.split_whitespace().nth(1);
        address.is_some_and(|address| address.ends_with(&end))
    }))
}
