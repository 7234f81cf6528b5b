//! The DNS servers of the lab: which there are, how each is configured, and what all of them serve.

use std::{fmt, net::IpAddr, process::Command};

use anyhow::Result;

use crate::{dns, node::Node, process, stand_in::Fault};

/// Seconds that clients may keep a record.
const TTL: u32 = 5;

/// Receive buffer of a server's socket, in octets, where it can be set: on a busy machine a server
/// may not run for a while, and what then overflows looks as if the balancer had lost it.
const RECEIVE_BUFFER: u32 = 4 << 20;

/// Where a server keeps its files; private to its host.
const HOME: &str = "/run/dns";

/// The same of a server that stands in for another.
const STAND_IN_HOME: &str = "/run/dns-stand-in";

/// Runs a copy of a server. Debian confines some servers, by the path of their program, to files
/// where the package keeps them (AppArmor's profile of unbound), and the lab's are elsewhere.
const RUN_COPY: &str = r#"
path=$(command -v "$0") || { echo "$0 is not installed: run cargo xtask setup" >&2; exit 127; }
home=$1
shift
cp -f "$path" "$home/"
exec "$home/$0" "$@"
"#;

/// A DNS server that Debian ships.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Software {
    /// NSD, authoritative, by NLnet Labs.
    Nsd,
    /// Knot DNS, authoritative, by CZ.NIC.
    Knot,
    /// Unbound, a resolver, here with local data, by NLnet Labs.
    Unbound,
}

impl fmt::Display for Software {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nsd => "nsd",
            Self::Knot => "knot",
            Self::Unbound => "unbound",
        })
    }
}

impl Software {
    /// Writes the server's files on its host and returns the command that runs it in the
    /// foreground: as root, answering from exactly these addresses, with no control channel.
    pub(crate) fn prepare(
        self,
        node: &Node,
        identity: &str,
        addresses: &[IpAddr],
    ) -> Result<Command> {
        let zones = zones(identity);
        let (config, program, foreground): (_, _, &[&str]) = match self {
            Self::Nsd => {
                let listen = lines("ip-address", addresses);
                (nsd_config(HOME, &listen, &zones), "nsd", &["-d"])
            }
            Self::Knot => (knot_config(addresses, &zones), "knotd", &[]),
            Self::Unbound => (unbound_config(addresses, &zones), "unbound", &["-d"]),
        };
        if self != Self::Unbound {
            for zone in &zones {
                node.write(format!("{HOME}/{}.zone", zone.origin), &zone.file())?;
            }
        }
        let path = format!("{HOME}/{self}.conf");
        node.write(&path, &config)?;
        Ok(run_copy(program, HOME, foreground, &path))
    }
}

/// Writes the files of a faulty NSD, and returns the command that runs it on this port.
pub(crate) fn prepare_stand_in(
    node: &Node,
    identity: &str,
    addresses: &[IpAddr],
    fault: Fault,
    port: u16,
) -> Result<Command> {
    let (zones, addresses) = match fault {
        // Its only zone is the root, so that every name is in it, and there is no file of that.
        Fault::Unloaded => (vec![], addresses),
        Fault::Wildcard => (zones(identity).into(), &[][..]),
    };
    for zone in &zones {
        node.write(
            format!("{STAND_IN_HOME}/{}.zone", zone.origin),
            &zone.file(),
        )?;
    }
    let listen = lines("ip-address", addresses) + &format!("  port: {port}\n");
    let mut config = nsd_config(STAND_IN_HOME, &listen, &zones);
    if fault == Fault::Unloaded {
        config += "zone:\n  name: .\n  zonefile: missing.zone\n";
    }
    let path = format!("{STAND_IN_HOME}/nsd.conf");
    node.write(&path, &config)?;
    Ok(run_copy("nsd", STAND_IN_HOME, &["-d"], &path))
}

fn run_copy(program: &str, home: &str, foreground: &[&str], config: &str) -> Command {
    let mut command = process::program("sh");
    command.args(["-ec", RUN_COPY, program, home]);
    command.args(foreground).args(["-c", config]);
    command
}

/// A zone, as both kinds of server need it.
struct Zone {
    origin: &'static str,
    /// Owner, type and data of each record.
    records: Vec<(String, &'static str, String)>,
}

/// What every server of the lab serves. Only the identity differs.
fn zones(identity: &str) -> [Zone; 4] {
    let record = |owner: &str, kind, data: &str| (owner.to_owned(), kind, data.to_owned());
    let mut lab = vec![record(dns::IDENTITY, "TXT", &format!("\"{identity}\""))];
    lab.extend((0..50).map(|number| {
        // As long as a string of a TXT record may be, and each another.
        let data = format!("\"{number:0255}\"");
        record(dns::LARGE, "TXT", &data)
    }));
    [
        Zone {
            origin: "lab.example",
            records: lab,
        },
        Zone {
            origin: "example.com",
            records: vec![
                record("example.com.", "MX", "10 mail.example.com."),
                record("mail.example.com.", "A", "203.0.113.25"),
                record("www.example.com.", "A", "203.0.113.80"),
            ],
        },
        Zone {
            origin: "example.net",
            records: vec![record("www.example.net.", "A", "192.0.2.80")],
        },
        Zone {
            origin: "localnet",
            records: vec![record("localhost.localnet.", "A", "127.0.0.1")],
        },
    ]
}

impl Zone {
    /// A master file (RFC 1035, section 5).
    fn file(&self) -> String {
        let origin = self.origin;
        let mut text = format!(
            "$ORIGIN {origin}.\n$TTL {TTL}\n\
             @ SOA ns.{origin}. hostmaster.{origin}. 1 3600 600 86400 {TTL}\n\
             @ NS ns.{origin}.\nns A 192.0.2.53\n"
        );
        for (owner, kind, data) in &self.records {
            text += &format!("{owner} {kind} {data}\n");
        }
        text
    }
}

/// A line a server's configuration for each address.
fn lines(setting: &str, addresses: &[IpAddr]) -> String {
    let lines = addresses
        .iter()
        .map(|address| format!("  {setting}: {address}\n"));
    lines.collect()
}

fn nsd_config(home: &str, listen: &str, zones: &[Zone]) -> String {
    // With the addresses named, NSD answers from the one that was asked. Its rate limit would
    // take a load generator for an attack. Beyond half of its connections, of which it has 100
    // otherwise, it closes new ones that are idle for 200 ms.
    let mut text = format!(
        "server:\n{listen}  username: \"\"\n  \
         zonesdir: {home}\n  xfrdir: {home}\n  database: \"\"\n  pidfile: \"\"\n  xfrdfile: \"\"\n  \
         zonelistfile: {home}/nsd.list\n  server-count: 1\n  rrl-ratelimit: 0\n  tcp-count: 1000\n  \
         receive-buffer-size: {RECEIVE_BUFFER}\n\
         remote-control:\n  control-enable: no\n"
    );
    for Zone { origin, .. } in zones {
        text += &format!("zone:\n  name: {origin}\n  zonefile: {origin}.zone\n");
    }
    text
}

fn knot_config(addresses: &[IpAddr], zones: &[Zone]) -> String {
    // Knot has no setting for its sockets' buffers, but a socket for each worker.
    let mut text = format!(
        "server:\n  listen: [{}]\n  rundir: {HOME}\n  udp-workers: 4\n  \
         tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: {HOME}\n\
         log:\n  - target: stderr\n    any: info\n\
         template:\n  - id: default\n    storage: {HOME}\n    journal-content: none\n    \
         zonefile-sync: -1\n    file: \"%s.zone\"\nzone:\n",
        addresses
            .iter()
            .map(|address| format!("{address}@53"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    for Zone { origin, .. } in zones {
        text += &format!("  - domain: {origin}\n");
    }
    text
}

fn unbound_config(addresses: &[IpAddr], zones: &[Zone]) -> String {
    // Local data only: static zones never make Unbound ask anybody else.
    let mut text = format!(
        "server:\n{}  access-control: 0.0.0.0/0 allow\n  access-control: ::/0 allow\n  \
         do-daemonize: no\n  chroot: \"\"\n  username: \"\"\n  directory: {HOME}\n  \
         pidfile: \"\"\n  use-syslog: no\n  module-config: \"iterator\"\n  num-threads: 1\n  so-rcvbuf: {RECEIVE_BUFFER}\n  \
         local-zone: . static\n",
        lines("interface", addresses)
    );
    for Zone { origin, records } in zones {
        text += &format!("  local-zone: {origin}. static\n");
        for (owner, kind, data) in records {
            text += &format!("  local-data: '{owner} {TTL} {kind} {data}'\n");
        }
    }
    text + "remote-control:\n  control-enable: no\n"
}
