//! DNS messages of the lab: asking a server who it is.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, RecordType, rdata::opt::EdnsOption},
};

/// The name whose TXT record is the answering server's identity.
pub const IDENTITY: &str = "id.lab.example.";

/// The port of DNS.
pub const PORT: u16 = 53;

/// The number of EDNS's option for padding (RFC 7830, section 3).
const PADDING: u16 = 12;

/// The name whose TXT records are of more than 10,000 octets.
pub const LARGE: &str = "large.lab.example.";

/// A query for the identity of whoever answers it, in wire format.
#[must_use]
pub fn identity_query(id: u16) -> Vec<u8> {
    octets(&query(id, IDENTITY))
}

/// The same in a message of this many octets, by padding (RFC 7830).
///
/// # Panics
/// The message would be shorter than the query, the padding's header included.
#[must_use]
pub fn padded_identity_query(id: u16, length: usize) -> Vec<u8> {
    let padded = |padding: usize| {
        let mut edns = Edns::new();
        edns.options_mut()
            .insert(EdnsOption::Unknown(PADDING, vec![0; padding]));
        let mut message = query(id, IDENTITY);
        message.set_edns(edns);
        octets(&message)
    };
    let empty = padded(0).len();
    padded(length.checked_sub(empty).expect("room for the query"))
}

/// A query for [`LARGE`], in wire format.
#[must_use]
pub fn large_query(id: u16) -> Vec<u8> {
    octets(&query(id, LARGE))
}

fn query(id: u16, name: &str) -> Message {
    let name = Name::from_ascii(name).expect("the lab's names are well-formed");
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name, RecordType::TXT));
    message
}

fn octets(message: &Message) -> Vec<u8> {
    message.to_vec().expect("a single question fits")
}

/// Id and identity of a positive reply to an [`identity_query`]; none of anything else.
#[must_use]
pub fn identity_reply(octets: &[u8]) -> Option<(u16, String)> {
    let message = Message::from_vec(octets).ok()?;
    let metadata = &message.metadata;
    if metadata.message_type != MessageType::Response
        || metadata.response_code != ResponseCode::NoError
    {
        return None;
    }
    message
        .answers
        .iter()
        .find_map(|record| match &record.data {
            RData::TXT(txt) => {
                let identity = String::from_utf8_lossy(txt.txt_data.first()?).into_owned();
                Some((metadata.id, identity))
            }
            _ => None,
        })
}

/// Asks a server once, from the calling thread's network namespace, who it is.
///
/// # Errors
/// No answer within `timeout`, or one that is no good.
pub fn ask_identity(server: impl Into<IpAddr>, timeout: Duration) -> Result<String> {
    let id = rand::random();
    identity(id, &exchange(server, &identity_query(id), timeout)?)
}

/// The same with a query of this many octets.
///
/// # Errors
/// As [`ask_identity`].
pub fn ask_identity_padded(
    server: impl Into<IpAddr>,
    length: usize,
    timeout: Duration,
) -> Result<String> {
    let id = rand::random();
    let query = padded_identity_query(id, length);
    identity(id, &exchange(server, &query, timeout)?)
}

/// Sends a query and waits for what comes back.
fn exchange(server: impl Into<IpAddr>, query: &[u8], timeout: Duration) -> Result<Vec<u8>> {
    let server = server.into();
    let any = match server {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((server, PORT))?;
    socket.set_read_timeout(Some(timeout))?;
    socket.send(query)?;
    let mut octets = vec![0; 512];
    let length = socket
        .recv(&mut octets)
        .with_context(|| format!("{server} does not answer"))?;
    octets.truncate(length);
    Ok(octets)
}

/// The identity in the reply to the query of this id.
fn identity(id: u16, reply: &[u8]) -> Result<String> {
    match identity_reply(reply) {
        Some((replied, identity)) if replied == id => Ok(identity),
        _ => bail!("no answer to our question"),
    }
}

/// A connection over which a server is asked (RFC 7766).
#[derive(Debug)]
pub struct Conversation {
    stream: TcpStream,
}

impl Conversation {
    /// Connects from the calling thread's network namespace.
    ///
    /// # Errors
    /// No connection within `timeout`, which is also that of every later answer.
    pub fn open(server: impl Into<IpAddr>, timeout: Duration) -> Result<Self> {
        let server = server.into();
        let address = (server, PORT).into();
        let stream = TcpStream::connect_timeout(&address, timeout)
            .with_context(|| format!("no connection to {server}"))?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Asks who the server is.
    ///
    /// # Errors
    /// The connection is broken, or the answer is no good.
    pub fn ask(&mut self) -> Result<String> {
        let id = rand::random();
        identity(id, &self.exchange(&identity_query(id))?)
    }

    /// The same with a query of this many octets.
    ///
    /// # Errors
    /// As [`Conversation::ask`].
    pub fn ask_padded(&mut self, length: usize) -> Result<String> {
        let id = rand::random();
        identity(id, &self.exchange(&padded_identity_query(id, length))?)
    }

    /// Sends a query and waits for the reply.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn exchange(&mut self, query: &[u8]) -> Result<Vec<u8>> {
        // In one piece, so that it leaves in one segment if it can.
        let mut octets = u16::try_from(query.len())?.to_be_bytes().to_vec();
        octets.extend(query);
        self.stream.write_all(&octets).context("cannot ask")?;
        let mut length = [0; 2];
        self.stream.read_exact(&mut length).context("no answer")?;
        let mut reply = vec![0; u16::from_be_bytes(length).into()];
        self.stream
            .read_exact(&mut reply)
            .context("half an answer")?;
        Ok(reply)
    }
}
