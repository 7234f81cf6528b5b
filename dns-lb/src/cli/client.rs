//! The way to the agent's HTTP side, where everybody may read.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use axum::body::{Body, to_bytes};
use hyper::{Request, StatusCode, Uri, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use super::ConfigFile;
use crate::{api::status::Status, config::Config};

/// Until the agent must have answered. It may first have to send slow clients away.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// The same for who asks over and over, and is not to show what is old for longer.
pub(super) const LIVE_DEADLINE: Duration = Duration::from_secs(2);
/// Octets of the largest document that is read: ten times the largest configuration's.
const MAX_DOCUMENT: usize = 32 * 1024 * 1024;

/// Host and port of the agent: those of the URL, or else what the configuration says.
///
/// # Errors
/// There is no URL, and the configuration cannot be read or is not valid.
pub(super) fn find(url: Option<&String>, config: &ConfigFile) -> anyhow::Result<String> {
    match url {
        Some(authority) => Ok(authority.clone()),
        None => {
            let config = Config::load(&config.config)?;
            Ok(reachable(config.api.listen).to_string())
        }
    }
}

/// Host and port of a URL.
pub(super) fn authority(url: &str) -> anyhow::Result<String> {
    let form = "the form is http://192.0.2.10:8053";
    let url: Uri = url.parse().context(form)?;
    let plain = url.scheme_str().is_none_or(|scheme| scheme == "http");
    let bare = matches!(url.path(), "" | "/" | "/status") && url.query().is_none();
    match (url.host(), url.port_u16()) {
        (Some(host), Some(port)) if plain && bare => Ok(format!("{host}:{port}")),
        _ => bail!(form),
    }
}

/// Where to connect to reach a server that listens there: "any address" is none to connect to.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The status, and the document that it was read from.
///
/// # Errors
/// Nobody answers in time, or what answers is no agent.
pub(super) async fn get_status(
    authority: &str,
    deadline: Duration,
) -> anyhow::Result<(Status, Vec<u8>)> {
    let document = get_octets(authority, "/status", deadline).await?;
    Ok((understand(authority, &document)?, document))
}

/// Another document.
///
/// # Errors
/// As [`get_status`], and if there is no such document.
pub(super) async fn get<T: DeserializeOwned>(
    authority: &str,
    path: &str,
    deadline: Duration,
) -> anyhow::Result<T> {
    understand(authority, &get_octets(authority, path, deadline).await?)
}

/// A name as a part of a path: octets that RFC 3986, 2.3 has no use for but as they are, and all others
/// by number.
pub(super) fn path_segment(name: &str) -> String {
    let mut segment = String::new();
    for octet in name.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            segment.push(octet.into());
        } else {
            // Writing to a string cannot fail.
            let _ = write!(segment, "%{octet:02X}");
        }
    }
    segment
}

fn understand<T: DeserializeOwned>(authority: &str, document: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(document).with_context(|| {
        format!("what answers at {authority} is no dns-lb agent, or one of another version")
    })
}

async fn get_octets(authority: &str, path: &str, deadline: Duration) -> anyhow::Result<Vec<u8>> {
    let (code, body) = ask(authority, path, deadline).await?;
    ensure!(
        code == StatusCode::OK,
        "the agent at {authority} says {code}: {}",
        first_line(&body)
    );
    Ok(body)
}

/// What the agent says to a request, whatever it is.
///
/// # Errors
/// Nobody answers in time.
pub(super) async fn ask(
    authority: &str,
    path: &str,
    deadline: Duration,
) -> anyhow::Result<(StatusCode, Vec<u8>)> {
    let answered = tokio::time::timeout(deadline, exchange(authority, path)).await;
    answered.unwrap_or_else(|_| bail!("the agent at {authority} did not answer in {deadline:?}"))
}

async fn exchange(authority: &str, path: &str) -> anyhow::Result<(StatusCode, Vec<u8>)> {
    let stream = TcpStream::connect(authority).await.with_context(|| {
        format!(
            "no agent answers at {authority}: start it with `dns-lb run`, or say where it is with \
             --config or --url"
        )
    })?;
    let failed = || format!("the agent at {authority} broke off");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .with_context(failed)?;
    // Ends when the response has been read and `sender` is gone; its errors reach the response too.
    tokio::spawn(connection);
    let request = Request::get(path)
        .header(header::HOST, authority)
        .body(Body::empty())?;
    let response = sender.send_request(request).await.with_context(failed)?;
    let code = response.status();
    let body = to_bytes(Body::new(response.into_body()), MAX_DOCUMENT)
        .await
        .with_context(failed)?;
    Ok((code, body.into()))
}

/// What a server says in place of a document, fit for a terminal.
pub(super) fn first_line(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests;
