//! The octets of a connection to the admin socket. The first octet says how they come: in pieces of
//! what length, whether with pauses, and whether the client then ends its side.

use std::time::Duration;

use dns_lb::{
    admin::{Ledger, apply},
    api::{
        Timestamp,
        admin::{
            AdminError, AdminReply, AdminRequest, AdminSource, Changes, ErrorReport, Peer,
            ReloadReport, serve_connection,
        },
        server::StatusSource,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    runtime,
    time::{Instant, sleep},
};

use super::two_services::CONFIG;

/// Of the first octet.
const PIECES: u8 = 0b0011;
const PAUSES: u8 = 0b0100;
const LINGERS: u8 = 0b1000;

const PAUSE: Duration = Duration::from_millis(300);
/// Octets that are under way at most.
const BUFFER: usize = 4_096;
/// As long as a connection may live.
const DEADLINE: Duration = Duration::from_secs(15);

/// Asserts what must hold; true: a command was carried out.
pub(crate) fn holds(octets: &[u8]) -> bool {
    let Some((&choices, octets)) = octets.split_first() else {
        return false;
    };
    // The clock goes on where nobody has anything to do.
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let (response, commands) = runtime.block_on(exchange(choices, octets));
    let code = judge(&response);
    // A client that ends its side too soon may not be answered.
    let is_told = code.is_none() || code == Some(200);
    assert!(commands == 0 || is_told, "{code:?} to a command");
    assert!(commands > 0 || code != Some(200), "nothing was done");
    commands > 0
}

/// What the server answers, and how many commands were carried out.
async fn exchange(choices: u8, octets: &[u8]) -> (Vec<u8>, usize) {
    let (near, far) = tokio::io::duplex(BUFFER);
    // Nobody makes documents.
    let (status, _) = StatusSource::new();
    let (source, mut commands) = AdminSource::new();
    let peer = Peer {
        uid: 1_000,
        gid: 1_000,
        pid: None,
        user: None,
    };
    let start = Instant::now();
    let server = serve_connection(far, peer, status, source);
    let agent = async {
        let mut done = 0;
        while let Some(command) = commands.recv().await {
            let answer = carry_out(&command.request);
            done += usize::from(answer.is_ok());
            // It may no longer wait.
            let _ = command.reply.send(answer);
        }
        done
    };
    let ((), response, done) = tokio::join!(server, client(near, choices, octets), agent);
    assert!(start.elapsed() <= DEADLINE + PAUSE, "{:?}", start.elapsed());
    assert!(done <= 1, "a connection carries one request");
    (response, done)
}

/// Writes as chosen and reads all that comes.
async fn client(mut stream: DuplexStream, choices: u8, octets: &[u8]) -> Vec<u8> {
    let length = [octets.len().max(1), 1, 7, 64][usize::from(choices & PIECES)];
    for piece in octets.chunks(length) {
        // The server may have heard enough.
        if stream.write_all(piece).await.is_err() {
            break;
        }
        if choices & PAUSES != 0 {
            sleep(PAUSE).await;
        }
    }
    if choices & LINGERS == 0 {
        let _ = stream.shutdown().await;
    }
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.expect("memory");
    response
}

/// As the agent does, without one.
fn carry_out(request: &AdminRequest) -> Result<AdminReply, AdminError> {
    match request {
        AdminRequest::Change(change) => {
            let at = Timestamp::now();
            let (_, backends) = apply(&Ledger::default(), &CONFIG, |_, _| true, change, "x", at)?;
            Ok(AdminReply::Changed(Changes {
                backends,
                warning: None,
            }))
        }
        AdminRequest::Reload { .. } => Ok(AdminReply::Reloaded(ReloadReport::default())),
    }
}

/// The response's code, if there is a response. It must be one of HTTP, with a document.
fn judge(response: &[u8]) -> Option<u16> {
    // That there may be a body.
    let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
    let response = response.strip_prefix(go_on).unwrap_or(response);
    if response.is_empty() {
        return None;
    }
    let response = str::from_utf8(response).expect("text");
    let (head, body) = response.split_once("\r\n\r\n").expect(response);
    let code = head
        .strip_prefix("HTTP/1.1 ")
        .or(head.strip_prefix("HTTP/1.0 "));
    let code = code.and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
    let code = code.expect(head);
    assert!(
        code == 200 || (400..500).contains(&code) || code == 503,
        "{head}"
    );
    if head.contains("application/json") && !body.is_empty() {
        match code {
            200 => {
                serde_json::from_str::<serde_json::Value>(body).expect(body);
            }
            _ => {
                let ErrorReport { error } = serde_json::from_str(body).expect(body);
                assert!(!error.contains(char::is_control), "{error:?}");
            }
        }
    }
    Some(code)
}
