//! DNS messages of the lab: asking a server who it is.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};

/// The name whose TXT record is the answering server's identity.
pub const IDENTITY: &str = "id.lab.example.";

/// The port of DNS.
pub const PORT: u16 = 53;

/// A query for the identity of whoever answers it, in wire format.
///
/// # Panics
/// Never: name and message are constants of the lab.
#[must_use]
pub fn identity_query(id: u16) -> Vec<u8> {
    let name = Name::from_ascii(IDENTITY).expect("the name is well-formed");
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name, RecordType::TXT));
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
    let server = server.into();
    let id = rand::random();
    let any = match server {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((server, PORT))?;
    socket.set_read_timeout(Some(timeout))?;
    socket.send(&identity_query(id))?;
    let mut octets = [0; 512];
    let length = socket
        .recv(&mut octets)
        .with_context(|| format!("{server} does not answer"))?;
    match identity_reply(&octets[..length]) {
        Some((replied, identity)) if replied == id => Ok(identity),
        _ => bail!("{server} sent no answer to our question"),
    }
}

/// A connection over which a server is asked who it is (RFC 7766).
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

    /// Asks once more.
    ///
    /// # Errors
    /// The connection is broken, or the answer is no good.
    pub fn ask(&mut self) -> Result<String> {
        let id = rand::random();
        let query = identity_query(id);
        let mut octets = u16::try_from(query.len())?.to_be_bytes().to_vec();
        octets.extend(query);
        self.stream.write_all(&octets).context("cannot ask")?;
        let mut length = [0; 2];
        self.stream.read_exact(&mut length).context("no answer")?;
        let mut reply = vec![0; u16::from_be_bytes(length).into()];
        self.stream
            .read_exact(&mut reply)
            .context("half an answer")?;
        match identity_reply(&reply) {
            Some((replied, identity)) if replied == id => Ok(identity),
            _ => bail!("no answer to our question"),
        }
    }
}
