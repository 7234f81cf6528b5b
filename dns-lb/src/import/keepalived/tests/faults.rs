//! What is refused, and where that is said to be.

use super::{import_text, server};

#[test]
fn every_problem_is_reported_with_its_line() {
    let head = "virtual_server 192.0.2.53 53 {\nlvs_method DR\n";
    let real = "real_server 192.0.2.1 53 {\n";
    for (text, expected) in [
        ("", "0: there is no virtual_server"),
        ("bogus", "1: \"bogus\" is not understood at the top"),
        (
            "virtual_server fwmark 1 {\nreal_server 192.0.2.1 53 {\n}\n}",
            "1: virtual_server fwmark",
        ),
        (
            "virtual_server 192.0.2.53 {\nreal_server 192.0.2.1 53 {\n}\n}",
            "1: virtual_server without a port",
        ),
        (
            "virtual_server group X {\nlvs_method DR\nreal_server 192.0.2.1 53 {\n}\n}",
            "1: there is no virtual_server_group X",
        ),
        (
            "virtual_server_group X {\nfwmark 1\n}",
            "2: fwmark says no address",
        ),
        (
            "virtual_server_group X {\n192.0.2.1\n}",
            "2: \"192.0.2.1\" without a port",
        ),
        (&format!("{head}}}"), "1: virtual_server has no real_server"),
        (
            &format!("{head}bogus 1\n{real}}}\n}}"),
            "3: \"bogus\" is not understood in virtual_server",
        ),
        (
            &format!("{head}{real}bogus 1\n}}\n}}"),
            "4: \"bogus\" is not understood in real_server",
        ),
        (
            &format!("{head}{real}DNS_CHECK {{\nbogus\n}}\n}}\n}}"),
            "5: \"bogus\" is not understood in DNS_CHECK",
        ),
        (
            &format!("{head}protocol SCTP\n{real}}}\n}}"),
            "3: protocol \"SCTP\"",
        ),
        (
            &format!("{head}lvs_sched fo\n{real}}}\n}}"),
            "3: lvs_sched fo gives everything",
        ),
        (
            &format!("{head}lvs_sched dh\n{real}}}\n}}"),
            "3: lvs_sched dh chooses by the destination",
        ),
        (
            &format!("{head}lvs_sched x\n{real}}}\n}}"),
            "3: lvs_sched \"x\" is not known",
        ),
        (
            &format!("{head}lvs_method DR\n{real}}}\n}}"),
            "3: lvs_method is on keepalived.conf:2 already",
        ),
        (
            &format!("{head}real_server 192.0.2.1 5353 {{\n}}\n}}"),
            "3: real_server 192.0.2.1 has port 5353, not 53",
        ),
        (
            &format!("{head}real_server 192.0.2.53 53 {{\n}}\n}}"),
            "3: real_server 192.0.2.53 is the VIP itself",
        ),
        (
            &format!("{head}{real}}}\n{real}}}\n}}"),
            "5: real_server 192.0.2.1 is on keepalived.conf:3 already",
        ),
        (
            &format!("{head}real_server 127.0.0.1 53 {{\n}}\n}}"),
            "3: \"127.0.0.1\" is a loopback address",
        ),
        (
            &format!("{head}{real}weight 65536\n}}\n}}"),
            "4: weight \"65536\" is out of range",
        ),
        (
            &format!("{head}{real}lvs_method TUN type ipip\n}}\n}}"),
            "4: lvs_method TUN wraps packets",
        ),
        (
            &format!("{head}{real}HTTP_GET {{\nurl {{\npath /\n}}\n}}\n}}\n}}"),
            "4: HTTP_GET cannot be translated",
        ),
        (
            &format!("{head}{real}MISC_CHECK {{\nmisc_path \"/opt/check.sh 1\"\n}}\n}}\n}}"),
            "5: misc_path runs /opt/check.sh",
        ),
        (
            &format!("{head}{real}MISC_CHECK {{\nmisc_path \"dig a.example\"\n}}\n}}\n}}"),
            "5: dig asks the servers of /etc/resolv.conf",
        ),
        (
            &format!(
                "{head}{real}MISC_CHECK {{\nmisc_path \"dig @192.0.2.9 a.example\"\n}}\n}}\n}}"
            ),
            "5: dig asks 192.0.2.9",
        ),
        (
            &format!(
                "{head}{real}MISC_CHECK {{\nmisc_path \"dig @192.0.2.53 a.example\"\n}}\n}}\n}}"
            ),
            "5: dig asks the VIP",
        ),
        (
            &format!(
                "{head}{real}MISC_CHECK {{\nmisc_path \"dig -p 54 @192.0.2.1 a.example\"\n}}\n}}\n}}"
            ),
            "5: dig asks port 54",
        ),
        (
            &format!(
                "{head}{real}MISC_CHECK {{\nmisc_path \"dig @192.0.2.1 a.example\"\nmisc_dynamic\n}}\n}}\n}}"
            ),
            "6: misc_dynamic makes a weight",
        ),
        (
            &format!("{head}{real}MISC_CHECK {{\nmisc_timeout 1\n}}\n}}\n}}"),
            "4: MISC_CHECK has no misc_path",
        ),
        (
            &format!("{head}{real}DNS_CHECK {{\nconnect_port 54\n}}\n}}\n}}"),
            "5: connect_port 54 is not",
        ),
        (
            &format!("{head}{real}TCP_CHECK {{\nconnect_ip 192.0.2.9\n}}\n}}\n}}"),
            "5: connect_ip 192.0.2.9",
        ),
        (
            &format!(
                "{head}{real}DNS_CHECK {{\n}}\n}}\nreal_server 192.0.2.2 53 {{\nTCP_CHECK {{\n}}\n}}\n}}"
            ),
            "7: real_server 192.0.2.2 is checked otherwise",
        ),
        (
            &format!("{head}delay_loop x\n{real}}}\n}}"),
            "3: delay_loop \"x\" is no time",
        ),
        (
            &format!("{head}quorum x\n{real}}}\n}}"),
            "3: quorum \"x\" is out of range",
        ),
        (
            "virtual_server 192.0.2.53 53 {\nreal_server 192.0.2.1 53 {\n}\n}",
            "1: without lvs_method keepalived takes NAT",
        ),
        (
            "virtual_server 192.0.2.53 53 {\nlb_kind NAT\nreal_server 192.0.2.1 53 {\n}\n}",
            "2: lvs_method NAT rewrites",
        ),
    ] {
        let problems = import_text(text, false).expect_err(text);
        let [problem] = problems.as_slice() else {
            panic!("{text}: {problems}");
        };
        let shown = format!("{}: {}", problem.place.line, problem.what);
        assert!(shown.starts_with(expected), "{text}: {shown}");
        assert!(!problem.remedy.is_empty());
    }
}

#[test]
fn all_problems_come_in_one_report() {
    let text = "bogus\nvirtual_server 192.0.2.53 53 {\nlvs_method NAT\nlvs_sched x\nbogus\n\
                real_server 192.0.2.1 54 {\nHTTP_GET {\n}\n}\n}\n}";
    let problems = import_text(text, false).unwrap_err();
    let lines: Vec<usize> = problems.as_slice().iter().map(|p| p.place.line).collect();
    assert_eq!(lines, [1, 3, 4, 5, 6, 7, 11]);
}

#[test]
fn the_same_endpoint_twice_is_refused() {
    let one = server("", "");
    let problems = import_text(&(one.clone() + &one), false).unwrap_err();
    assert!(
        problems
            .to_string()
            .contains("is on keepalived.conf:1 already"),
        "{problems}"
    );
}

#[test]
fn more_than_fits_is_refused_and_does_not_take_long() {
    let wide = "virtual_server_group X {\n0.0.0.1-223.255.255.255 53\n}\n";
    let mut text = wide.replace("0.0.0.1", "1.0.0.1");
    for _ in 0..1_000 {
        text += "virtual_server group X {\nlvs_method DR\nreal_server 10.0.0.1 53 {\n}\n}\n";
    }
    let problems = import_text(&text, false).unwrap_err();
    assert_eq!(problems.as_slice().len(), 1, "{problems}");

    let ports: String = (1..2_000)
        .map(|port| format!("192.0.2.53 {port}\n"))
        .collect();
    let servers: String = (0..40_000)
        .map(|n| format!("real_server 10.0.{}.{} 0 {{\n}}\n", n / 200, n % 200 + 1))
        .collect();
    let text = format!(
        "virtual_server_group X {{\n{ports}}}\nvirtual_server group X {{\nlvs_method DR\n{servers}}}\n"
    );
    let problems = import_text(&text, false).unwrap_err();
    assert!(problems.to_string().contains("split it"), "{problems}");
}
