//! Command lines, and what they ask.

use super::*;

fn dig(line: &str) -> Result<Dig, Refusal> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    parse(&words)
}

#[test]
fn the_textbooks_line_is_read() {
    let read = dig("+time=001 +tries=3 @192.168.0.201 localhost.localnet").unwrap();
    let expected = Dig {
        server: Some("192.168.0.201".parse().unwrap()),
        port: 53,
        query: "localhost.localnet. A".into(),
        tcp: false,
        recursion_desired: true,
        edns_size: 1_232,
        time: Duration::from_secs(1),
        tries: 3,
        unsaid: Vec::new(),
    };
    assert_eq!(read, expected);
}

#[test]
fn words_are_types_classes_and_names_in_any_order() {
    for (line, query) in [
        ("@192.0.2.1", ". NS"),
        ("example.net", "example.net. A"),
        ("soa example.net.", "example.net. SOA"),
        ("IN example.net MX", "example.net. MX"),
        ("-t txt -q example.net", "example.net. TXT"),
        ("-tAAAA -qexample.net -c in", "example.net. AAAA"),
        ("-x 192.0.2.1", "1.2.0.192.in-addr.arpa. PTR"),
        (". dnskey", ". DNSKEY"),
    ] {
        assert_eq!(dig(line).unwrap().query, query, "{line}");
    }
}

#[test]
fn options_say_what_the_query_is() {
    assert!(dig("+tcp a").unwrap().tcp);
    assert!(dig("+vc a").unwrap().tcp);
    assert!(!dig("+norec a").unwrap().recursion_desired);
    assert!(!dig("+nordflag a").unwrap().recursion_desired);
    assert_eq!(dig("+retry=1 a").unwrap().tries, 2);
    assert_eq!(dig("+tries=0 +time=0 a").unwrap().tries, 1);
    assert_eq!(dig("+time=0 a").unwrap().time, Duration::from_secs(1));
    assert_eq!(dig("+noedns a").unwrap().edns_size, 0);
    assert_eq!(dig("+bufsize=4096 a").unwrap().edns_size, 4_096);
    assert_eq!(dig("-p5353 a").unwrap().port, 5_353);
    assert_eq!(
        dig("+dnssec +noall +short +nocookie a").unwrap().unsaid,
        ["+dnssec"]
    );
}

#[test]
fn what_is_another_question_is_refused() {
    for line in [
        "@resolver1 a",
        "@192.0.2.1 @192.0.2.2 a",
        "a.example b.example",
        "version.bind CH TXT",
        "-c CH version.bind",
        "-f names",
        "-k key a",
        "-p 0 a",
        "-t nonsense a",
        "example.net axfr",
        "example.net any",
        "+trace a",
        "+search a",
        "+tls a",
        "+time a",
        "+bogus a",
        "+ a",
        "+no",
        "a | grep",
        "-x 192.0",
        "%r.example",
        "-q",
    ] {
        assert!(dig(line).is_err(), "{line}");
    }
}
