//! Whether an agent runs, whether it can be reached, and of which version it is.

use std::{io, net::SocketAddr, path::PathBuf};

use tokio::net::UnixStream;

use super::{
    Severity, id,
    look::{self, Capabilities},
    report::Sheet,
};
use crate::config::Config;

/// The agent, as far as it can be seen.
#[derive(Debug)]
pub struct Agent {
    /// Where its HTTP side should be.
    pub listen: SocketAddr,
    /// What that says, or why nothing.
    pub http: Result<Said, String>,
    /// Where it takes commands.
    pub socket: PathBuf,
    /// Who listens there.
    pub peer: Peer,
}

/// What an agent says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its version.
    pub version: String,
    /// The kernel's numbers of the programs that it has attached.
    pub programs: Vec<u32>,
}

/// Who listens on the admin socket.
#[derive(Debug)]
pub enum Peer {
    /// A process.
    Found {
        /// Its id.
        pid: i32,
        /// What it may do, or why that is not known.
        capabilities: Result<Capabilities, String>,
    },
    /// Nobody.
    Absent(String),
    /// Whether anybody does may not be known to this user.
    Hidden(String),
}

impl Agent {
    /// Looks who listens on the admin socket, and takes down what the HTTP side has said.
    pub async fn look(config: &Config, listen: SocketAddr, http: Result<Said, String>) -> Self {
        let socket = config.api.admin_socket.clone();
        let connected = UnixStream::connect(&socket).await;
        let peer = match connected.and_then(|stream| stream.peer_cred()) {
            Ok(credentials) => match credentials.pid() {
                Some(pid) => Peer::Found {
                    pid,
                    capabilities: look::capabilities(pid),
                },
                None => Peer::Hidden("the kernel does not tell who listens".to_owned()),
            },
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Peer::Hidden(error.to_string())
            }
            // So many wait there already that somebody must be listening, who does not take them.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Peer::Hidden("its queue is full".to_owned())
            }
            Err(error) => Peer::Absent(error.to_string()),
        };
        Self {
            listen,
            http,
            socket,
            peer,
        }
    }

    /// Whether one runs, as far as is known.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.http.is_ok() || matches!(self.peer, Peer::Found { .. })
    }
}

pub(super) fn judge(agent: &Agent, sheet: &mut Sheet) {
    let socket = agent.socket.display();
    if !agent.runs() {
        if let Peer::Hidden(why) = &agent.peer {
            let why = format!("{socket}: {why}");
            return sheet.skip(id::AGENT_NOT_RUNNING, "host", why);
        }
        return sheet.find(
            id::AGENT_NOT_RUNNING,
            Severity::Info,
            "host",
            format!(
                "nobody answers at {} nor on {socket}: what is seen is the host's state without an agent",
                agent.listen
            ),
            "start it with `dns-lb run`",
        );
    }
    match &agent.peer {
        Peer::Found { pid, .. } => {
            sheet.pass(id::AGENT_NOT_RUNNING, "host", format!("process {pid}"));
            sheet.pass(id::ADMIN_SOCKET_UNREACHABLE, &socket, "somebody listens");
        }
        Peer::Hidden(why) => sheet.skip(id::ADMIN_SOCKET_UNREACHABLE, &socket, why),
        Peer::Absent(why) => sheet.find(
            id::ADMIN_SOCKET_UNREACHABLE,
            Severity::Warning,
            &socket,
            format!("an agent answers at {}, and here nobody: {why}", agent.listen),
            "give drain and reload the agent's own configuration by --config, or start the agent again",
        ),
    }
    match &agent.http {
        Ok(said) => {
            sheet.pass(id::HTTP_UNREACHABLE, agent.listen, "gives the status");
            let own = env!("CARGO_PKG_VERSION");
            if said.version == own {
                sheet.pass(id::AGENT_VERSION, "host", format!("both are {own}"));
            } else {
                sheet.find(
                    id::AGENT_VERSION,
                    Severity::Warning,
                    "host",
                    format!("the agent is {}, this command {own}", said.version),
                    "start the agent again: `systemctl restart dns-lb`; no traffic stops for it",
                );
            }
        }
        Err(why) => sheet.find(
            id::HTTP_UNREACHABLE,
            Severity::Error,
            agent.listen,
            format!("an agent listens on {socket}, but here: {why}"),
            "compare api.listen with what the running agent was started with; if it hangs, start it again",
        ),
    }
}

#[cfg(test)]
mod tests {
    use Severity::{Error, Info, Skipped, Warning};

    use super::*;

    fn agent(http: Result<&str, &str>, peer: Peer) -> Agent {
        Agent {
            listen: "127.0.0.1:8053".parse().unwrap(),
            http: http.map_err(str::to_owned).map(|version| Said {
                version: version.to_owned(),
                programs: vec![7],
            }),
            socket: "/run/dns-lb/admin.sock".into(),
            peer,
        }
    }

    fn found() -> Peer {
        Peer::Found {
            pid: 42,
            capabilities: Err(String::new()),
        }
    }

    #[test]
    fn what_is_amiss_with_the_agent_is_named() {
        let own = env!("CARGO_PKG_VERSION");
        let absent = || Peer::Absent("No such file or directory".to_owned());
        let hidden = || Peer::Hidden("Permission denied".to_owned());
        let socket = "/run/dns-lb/admin.sock";
        let http = "127.0.0.1:8053";
        for (agent, expected) in [
            (agent(Ok(own), found()), vec![]),
            (
                agent(Err("refused"), absent()),
                vec![(Info, "agent-not-running", "host")],
            ),
            (
                agent(Err("refused"), hidden()),
                vec![(Skipped, "agent-not-running", "host")],
            ),
            (
                agent(Err("no answer"), found()),
                vec![(Error, "http-unreachable", http)],
            ),
            (
                agent(Ok(own), absent()),
                vec![(Warning, "admin-socket-unreachable", socket)],
            ),
            (
                agent(Ok(own), hidden()),
                vec![(Skipped, "admin-socket-unreachable", socket)],
            ),
            (
                agent(Ok("0.0.1"), found()),
                vec![(Warning, "agent-version", "host")],
            ),
        ] {
            let mut sheet = Sheet::default();
            judge(&agent, &mut sheet);
            assert_eq!(sheet.found(), expected, "{agent:?}");
        }
    }
}
