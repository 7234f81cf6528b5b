//! The options of `dig` that begin with `+`, by what they mean to us.

/// The option that a word stands for: itself, or the one that it is the beginning of. Where it is the
/// beginning of several, they have to be one to us.
pub(super) fn find(word: &str) -> Option<&'static str> {
    let all = [TRANSLATED, UNSAID, PRINTING, REFUSED];
    let options = || all.iter().flat_map(|list| list.iter().copied());
    if let Some(exact) = options().find(|option| *option == word) {
        return Some(exact);
    }
    if word.is_empty() {
        return None;
    }
    // What `dig` itself makes of the common abbreviations.
    match word {
        "rec" | "recu" | "recur" | "recurs" | "re" => return Some("recurse"),
        "rd" => return Some("rdflag"),
        _ => {}
    }
    let fitting: Vec<&'static str> = options()
        .filter(|option| option.starts_with(word))
        .collect();
    let first = *fitting.first()?;
    let alike = |option: &&str| {
        PRINTING.contains(option) && PRINTING.contains(&first)
            || UNSAID.contains(option) && UNSAID.contains(&first)
    };
    (fitting.len() == 1 || fitting.iter().all(alike)).then_some(first)
}

/// Options of `+` that change what is printed, or how, or whom else is asked, which is nobody.
const PRINTING: &[&str] = &[
    "additional",
    "all",
    "answer",
    "authority",
    "badcookie",
    "besteffort",
    "class",
    "cmd",
    "comments",
    "crypto",
    "expandaaaa",
    "fail",
    "identify",
    "idnin",
    "idnout",
    "ignore",
    "keepopen",
    "mapped",
    "multiline",
    "onesoa",
    "qid",
    "qr",
    "question",
    "rrcomments",
    "short",
    "showallmessages",
    "showbadcookie",
    "showbadvers",
    "showsearch",
    "showtruncated",
    "split",
    "stats",
    "ttlid",
    "ttlunits",
    "unknownformat",
    "yaml",
];
/// Those that change the query in a way that our configuration has no word for. With `no` before
/// them they say what holds anyway.
pub(super) const UNSAID: &[&str] = &[
    "aaflag",
    "aaonly",
    "adflag",
    "cdflag",
    "coflag",
    "cookie",
    "dnssec",
    "do",
    "edns",
    "ednsflags",
    "ednsnegotiation",
    "ednsopt",
    "expire",
    "keepalive",
    "nsid",
    "padding",
    "raflag",
    "subnet",
    "tcflag",
    "zflag",
];
/// Those that make something else of `dig` than one question to one server.
pub(super) const REFUSED: &[&str] = &[
    "defname",
    "dns64prefix",
    "domain",
    "header-only",
    "http-plain",
    "http-plain-get",
    "http-plain-post",
    "https",
    "https-get",
    "https-post",
    "ndots",
    "nssearch",
    "opcode",
    "proxy",
    "proxy-plain",
    "search",
    "tls",
    "tls-ca",
    "tls-certfile",
    "tls-hostname",
    "tls-keyfile",
    "trace",
];
/// Those that are translated.
const TRANSLATED: &[&str] = &[
    "bufsize", "edns", "rdflag", "recurse", "retry", "tcp", "time", "timeout", "tries", "vc",
];
