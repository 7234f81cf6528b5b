//! HTTP as simple as can be, on a host of the lab.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use dns_lb_tests::Node;

/// A server of the host that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks a server on the host itself: the number of the answer's status, and its body; `None` if
/// nobody listens.
pub(crate) fn get(node: &Node, port: u16, path: &str) -> Option<(u16, String)> {
    // HTTP/1.0: the answer ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
    node.run(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("headers");
        let status = head.split(' ').nth(1).expect("a status");
        Some((status.parse().expect("a number"), body.to_owned()))
    })
}

/// A text as a parameter of a query has it (RFC 3986, 2.1).
pub(crate) fn encoded(text: &str) -> String {
    let octets = text.bytes().map(|octet| match octet {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' => {
            char::from(octet).to_string()
        }
        _ => format!("%{octet:02X}"),
    });
    octets.collect()
}
