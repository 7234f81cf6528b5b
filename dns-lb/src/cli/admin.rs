//! What the verbs that command the agent share: their arguments, the way to the admin socket, and how
//! an answer reads.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use axum::body::{Body, to_bytes};
use clap::Args;
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use super::{ConfigFile, EXIT_BAD_CONFIG, print, runtime};
use crate::{
    admin::{Action, Change, Changed, Reason, Selection},
    api::admin::{Changes, ErrorReport, accounts},
    config::Config,
};

/// Until the agent must have answered. It allows itself less.
const DEADLINE: Duration = Duration::from_secs(20);
/// Octets of the largest answer that is read: every backend of the largest configuration.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Where the agent takes commands.
#[derive(Debug, Args)]
pub(super) struct Agent {
    #[command(flatten)]
    config: ConfigFile,

    /// Where the agent takes commands, if not where the configuration says; then none is needed.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// What every verb that changes backends takes.
#[derive(Debug, Args)]
pub(super) struct Backends {
    /// A backend of a service; without SERVICE/ if there is only one service. All of several are
    /// changed, or none.
    #[arg(required = true, value_name = "[SERVICE/]BACKEND")]
    backends: Vec<Selection>,

    /// Change the backends of this name in all services.
    #[arg(long)]
    all_services: bool,

    /// Why: kept, and shown with the status; at most 200 characters.
    #[arg(long, value_name = "TEXT")]
    reason: Option<Reason>,

    /// Print a JSON document: backends, each with service, backend, admin, weight,
    /// configured_weight, changed.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    agent: Agent,
}

/// The agent or the command line says no.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Refused {
    text: String,
    /// What the command leaves with.
    pub(super) exit_code: u8,
    /// Whether it is for how things are now: a change is made all the same if it is forced.
    pub(super) is_conflict: bool,
}

/// Has the agent change backends, and prints what holds for them now.
pub(super) fn change(
    arguments: &Backends,
    action: Action,
    force: bool,
) -> anyhow::Result<ExitCode> {
    let change = Change {
        selection: arguments.selection()?,
        action,
        reason: arguments.reason.clone(),
        force,
    };
    let document = arguments.agent.ask("/change", &change)?;
    let report: Changes = understand(&document)?;
    if arguments.json {
        print_json(&document)?;
    } else {
        print(&said(&report))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What holds now, a line a backend.
pub(super) fn said(report: &Changes) -> String {
    let lines = report.backends.iter().map(line);
    let warning = report.warning.iter();
    let warning = warning.map(|warning| format!("warning: {warning}\n"));
    lines.chain(warning).collect()
}

impl Backends {
    fn selection(&self) -> Result<Vec<Selection>, Refused> {
        let mut selection = self.backends.clone();
        if self.all_services {
            for selected in &mut selection {
                let (Selection::OnlyService { backend } | Selection::AllServices { backend }) =
                    selected
                else {
                    return Err(Refused {
                        text: format!("either {selected} or --all-services, not both"),
                        exit_code: EXIT_BAD_CONFIG,
                        is_conflict: false,
                    });
                };
                *selected = Selection::AllServices {
                    backend: std::mem::take(backend),
                };
            }
        }
        Ok(selection)
    }
}

/// What holds for a backend.
fn line(changed: &Changed) -> String {
    let Changed {
        service,
        backend,
        admin,
        weight,
        configured_weight,
        changed,
    } = changed;
    let configured = if weight == configured_weight {
        String::new()
    } else {
        format!(" (configured: {configured_weight})")
    };
    let unchanged = if *changed { "" } else { ", unchanged" };
    format!("{service}/{backend}: {admin}, weight {weight}{configured}{unchanged}\n")
}

/// Prints a document as the agent gave it.
pub(super) fn print_json(document: &[u8]) -> anyhow::Result<()> {
    let document: serde_json::Value = serde_json::from_slice(document)?;
    print(&format!("{document:#}\n"))
}

/// Reads the agent's answer.
pub(super) fn understand<T: DeserializeOwned>(document: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(document)
        .context("what answers is no dns-lb agent, or one of another version")
}

impl Agent {
    /// Has the agent do something, and returns the document that it answers with.
    pub(super) fn ask(&self, path: &str, request: &impl Serialize) -> anyhow::Result<Vec<u8>> {
        let socket = self.find()?;
        let runtime = runtime()?;
        runtime.block_on(ask(&socket, path, request))
    }

    /// Where the agent takes commands.
    ///
    /// # Errors
    /// It is for the configuration to say, and that cannot be read or is not valid.
    pub(super) fn find(&self) -> anyhow::Result<PathBuf> {
        match &self.socket {
            Some(socket) => Ok(socket.clone()),
            None => Ok(Config::load(&self.config.config)?.api.admin_socket),
        }
    }

    /// The configuration that says where the agent is.
    pub(super) fn config(&self) -> &ConfigFile {
        &self.config
    }
}

/// Has the agent at a socket do something, and returns the document that it answers with.
pub(super) async fn ask(
    socket: &Path,
    path: &str,
    request: &impl Serialize,
) -> anyhow::Result<Vec<u8>> {
    let body = serde_json::to_vec(request)?;
    let answered = tokio::time::timeout(DEADLINE, post(socket, path, body)).await;
    answered.unwrap_or_else(|_| {
        bail!(
            "the agent at {} did not answer in {DEADLINE:?}",
            socket.display()
        )
    })
}

async fn post(socket: &Path, path: &str, body: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| cannot_connect(socket, &error))?;
    let failed = || format!("the agent at {} broke off", socket.display());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .with_context(failed)?;
    // Ends when the response has been read and `sender` is gone; its errors reach the response too.
    tokio::spawn(connection);
    let request = Request::post(path)
        .header(header::HOST, "dns-lb")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))?;
    let response = sender.send_request(request).await.with_context(failed)?;
    let code = response.status();
    let document = to_bytes(Body::new(response.into_body()), MAX_ANSWER)
        .await
        .with_context(failed)?;
    if code == StatusCode::OK {
        return Ok(document.into());
    }
    let report: ErrorReport = understand(&document)?;
    // A configuration's faults have a line each; nothing else belongs on a terminal.
    let fit = |c: &char| *c == '\n' || !c.is_control();
    Err(Refused {
        text: report.error.chars().filter(fit).collect(),
        exit_code: if code == StatusCode::BAD_REQUEST {
            EXIT_BAD_CONFIG
        } else {
            1
        },
        is_conflict: code == StatusCode::CONFLICT,
    }
    .into())
}

/// Why there is no way to the agent, and what to do about it.
fn cannot_connect(socket: &Path, error: &io::Error) -> anyhow::Error {
    let path = socket.display();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => anyhow!(
            "no agent takes commands at {path}: start it with `dns-lb run`, or say where it is with \
             --config or --socket: {error}"
        ),
        ErrorKind::PermissionDenied => {
            let who = match fs::metadata(socket) {
                Ok(found) => who_may(found.permissions().mode(), found.gid()),
                Err(_) => "who may is not to be seen: try as root".to_owned(),
            };
            anyhow!("this user may not command the agent at {path}; {who}")
        }
        ErrorKind::WouldBlock => anyhow!("the agent at {path} is busy: try again"),
        _ => anyhow!("cannot connect to the agent at {path}: {error}"),
    }
}

/// Who may write to a socket of this mode and group.
fn who_may(mode: u32, gid: u32) -> String {
    if mode & 0o020 == 0 {
        return "only root may: use sudo, or see api.admin_mode".to_owned();
    }
    let group = accounts::group_name(gid).unwrap_or_else(|| gid.to_string());
    format!("members of the group {group} may, and root: see api.admin_group")
}

#[cfg(test)]
mod tests;
