//! Whom a request says that it is for, where only this host is to be answered.
//!
//! A page from elsewhere cannot read what another server says, unless its own name is made to point to
//! that server (DNS rebinding). So a browser on this host would fetch the status for whoever has a
//! domain. What it then sends names that domain as its host.

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

/// Answers no request for a name that others may have in their hands: for use where the server listens
/// on loopback, which no such name belongs to.
pub(super) async fn refuse(request: Request, next: Next) -> Response {
    if is_ours(request.headers()) {
        next.run(request).await
    } else {
        let why = "misdirected: on loopback this server has no name but localhost; a proxy must ask \
                   by address\n";
        (StatusCode::MISDIRECTED_REQUEST, why).into_response()
    }
}

/// An address, `localhost` (RFC 6761, 6.3), or a name without a dot, which is no domain of anybody's.
/// Browsers always say a host.
fn is_ours(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    hosts.all(|host| {
        let host = String::from_utf8_lossy(host.as_bytes());
        host.starts_with('[') || {
            let name = host.split(':').next().unwrap_or_default();
            let name = name.strip_suffix('.').unwrap_or(name);
            let last = name.rsplit('.').next().unwrap_or_default();
            // A host that ends in a number is an address (WHATWG URL, 3.5).
            let is_address = last.starts_with(|c: char| c.is_ascii_digit());
            name == last || is_address || last.eq_ignore_ascii_case("localhost")
        }
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn names_of_others_are_told_from_addresses() {
        for (host, expected) in [
            ("127.0.0.1:8053", true),
            ("192.0.2.1", true),
            ("[::1]:8053", true),
            ("localhost:8053", true),
            ("LocalHost.", true),
            ("lb.localhost", true),
            ("balancer1:8053", true),
            ("", true),
            ("rebind.example", false),
            ("rebind.example.:8053", false),
            ("127.0.0.1.rebind.example:8053", false),
            ("localhost.rebind.example", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            assert_eq!(is_ours(&headers), expected, "{host}");
        }
        assert!(is_ours(&HeaderMap::new()), "HTTP/1.0");
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        headers.append(header::HOST, HeaderValue::from_static("rebind.example"));
        assert!(!is_ours(&headers), "two hosts");
    }
}
