//! From a file to a configuration: reading the octets, the keys at the top, `[api]` and `[announce]`.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Announce, Api, Config, Service, defaults,
    faults::Faults,
    reader::{Table, Value, read_document},
    scalar::{self, Seen},
    service,
};

/// Largest file that is read, in octets: far more than the largest configuration takes.
pub const MAX_FILE_SIZE: u64 = 4 * 1024 * 1024;

const LONGEST_HOLD: Duration = Duration::from_secs(3_600);
const LONGEST_SETTLE: Duration = Duration::from_secs(60);

/// Why there is no configuration. Displays as the full report.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {reason}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// The file is larger than [`MAX_FILE_SIZE`].
    #[error("the configuration {} is larger than 4 MiB", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// The file is not text.
    #[error("the configuration {} is not UTF-8 text: octet {offset} is wrong", file.display())]
    NotText {
        /// The file.
        file: PathBuf,
        /// Octet, from 0, at which text ends.
        offset: usize,
    },
    /// The file says what it must not.
    #[error("{}", faults.in_file(file))]
    Faults {
        /// The file.
        file: PathBuf,
        /// Everything that is wrong with it.
        faults: Faults,
    },
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// The file cannot be read, or every fault in it.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = read_text(file)?;
        Self::parse(&text).map_err(|faults| ConfigError::Faults {
            file: file.to_owned(),
            faults,
        })
    }

    /// Reads a configuration from text.
    ///
    /// # Errors
    /// Every fault in the text.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        read_document(text, config)
    }
}

fn read_text(file: &Path) -> Result<String, ConfigError> {
    let cannot_read = |reason| ConfigError::Read {
        file: file.to_owned(),
        reason,
    };
    let mut octets = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(MAX_FILE_SIZE + 1).read_to_end(&mut octets))
        .map_err(cannot_read)?;
    if octets.len() as u64 > MAX_FILE_SIZE {
        return Err(ConfigError::TooLarge {
            file: file.to_owned(),
        });
    }
    String::from_utf8(octets).map_err(|error| ConfigError::NotText {
        file: file.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })
}

fn config(mut root: Table<'_, '_>) -> Option<Config> {
    let interfaces = root.required("interfaces", "interfaces = [\"eth0\"]", |value| {
        let mut seen = Seen::default();
        value.each("a list of interfaces", |value| {
            seen.read_new(value, scalar::interface)
        })
    });
    let xdp_mode = root.optional("xdp_mode", defaults::XDP_MODE, Value::choice);
    let hash_key_file = root.optional(
        "hash_key_file",
        PathBuf::from(defaults::HASH_KEY_FILE),
        scalar::path,
    );
    let tcp_flows = root.optional("tcp_flows", defaults::TCP_FLOWS, |value| {
        value.integer(1_024..=16_777_216)
    });
    let state_file = root.optional(
        "state_file",
        PathBuf::from(defaults::STATE_FILE),
        scalar::path,
    );
    let api = root.table("api").and_then(api);
    let announce = root.table("announce").and_then(announce);
    let services = service::services(&mut root);
    if let (Some(Some(announce)), Some(services)) = (&announce, &services) {
        refuse_loopback_of_servers(&root, announce, services);
    }
    root.finish();
    Some(Config {
        interfaces: interfaces?,
        xdp_mode: xdp_mode?,
        hash_key_file: hash_key_file?,
        tcp_flows: tcp_flows?,
        state_file: state_file?,
        api: api?,
        announce: announce?,
        services: services?,
    })
}

/// `None` within if no interface is named: nothing is announced then.
#[expect(
    clippy::option_option,
    reason = "the outer one is for faults, as everywhere here"
)]
fn announce(mut table: Table<'_, '_>) -> Option<Option<Announce>> {
    let interface = table.optional("interface", None, |value| {
        scalar::interface(value).map(Some)
    });
    let hold = table.optional("hold", defaults::HOLD, |value| {
        scalar::duration(value, Duration::ZERO..=LONGEST_HOLD)
    });
    let withdraw_first = table.optional("withdraw_first", defaults::WITHDRAW_FIRST, Value::boolean);
    let settle = table.optional("settle", defaults::SETTLE, |value| {
        scalar::duration(value, Duration::ZERO..=LONGEST_SETTLE)
    });
    table.finish();
    let (interface, hold, withdraw_first, settle) = (interface?, hold?, withdraw_first?, settle?);
    Some(interface.map(|interface| Announce {
        interface,
        hold,
        withdraw_first,
        settle,
    }))
}

/// A server on this host has the VIP on `lo` for good, so that its presence there can tell nobody
/// anything.
fn refuse_loopback_of_servers(root: &Table<'_, '_>, announce: &Announce, services: &[Service]) {
    let mut backends = services.iter().flat_map(|service| &service.backends);
    if announce.interface == "lo" && backends.any(|backend| backend.local) {
        root.report(
            "announce.interface",
            "is where a backend on this host has its VIP for good",
            "another interface, such as one of type dummy",
        );
    }
}

fn api(mut table: Table<'_, '_>) -> Option<Api> {
    let listen = table.optional("listen", defaults::API_LISTEN, scalar::listen);
    let admin_socket = table.optional(
        "admin_socket",
        PathBuf::from(defaults::ADMIN_SOCKET),
        scalar::socket,
    );
    let admin_mode = table.optional("admin_mode", defaults::ADMIN_MODE, scalar::socket_mode);
    let admin_group = table.optional("admin_group", None, |value| scalar::group(value).map(Some));
    table.finish();
    Some(Api {
        listen: listen?,
        admin_socket: admin_socket?,
        admin_mode: admin_mode?,
        admin_group: admin_group?,
    })
}
