//! Garbage, and files put together at random: nothing panics, and what is accepted is valid.

use std::path::Path;

use proptest::prelude::*;

use super::{Options, Single, import, import_text};

/// Lines that stand in real files, and some that do not.
const LINES: &[&str] = &[
    "virtual_server 192.0.2.53 53 {",
    "virtual_server group X {",
    "virtual_server_group X {",
    "real_server 192.0.2.1 53 {",
    "real_server 2001:db8::1 0 {",
    "192.0.2.53 53",
    "10.0.0.1-9 53",
    "}",
    "}",
    "}",
    "lvs_method DR",
    "lvs_sched rr",
    "lb_algo mh",
    "mh-port",
    "ops",
    "protocol UDP",
    "protocol TCP",
    "weight 7",
    "weight 4000",
    "delay_loop 5",
    "retry 3",
    "DNS_CHECK {",
    "type MX",
    "name example.net",
    "TCP_CHECK {",
    "connect_port 53",
    "MISC_CHECK {",
    "misc_path \"dig @192.0.2.1 +time=1 x.example\"",
    "misc_timeout 3",
    "snmp_name a\u{fc}\"b",
    "alpha",
    "quorum 1",
    "sorry_server 192.0.2.1 53",
    "persistence_timeout 5",
    "persistence_granularity 24",
    "notify_up \"\u{7}\\\"",
    "vrrp_instance V {",
    "interface eth1",
    "interface a/b",
    "global_defs {",
    "# comment",
    "\"",
    "\\",
    "include x",
    "@a b",
    "$A=b",
    "{",
    "weight -1",
    "weight 1 2",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn octets_never_panic(octets in prop::collection::vec(any::<u8>(), 0..400), keep_timing: bool) {
        let options = Options { keep_timing };
        let _ = import(Path::new("k"), &Single(&octets), options);
    }

    #[test]
    fn what_is_accepted_is_valid(
        lines in prop::collection::vec(prop::sample::select(LINES), 0..60),
        keep_timing: bool,
    ) {
        if let Err(problems) = import_text(&lines.join("\n"), keep_timing) {
            prop_assert!(!problems.to_string().contains("its translation would be wrong"), "{problems}");
        }
    }

    #[test]
    fn servers_with_any_settings_are_valid_or_refused(
        of_server in prop::collection::vec(prop::sample::select(&[
            "lvs_sched rr", "lvs_sched wlc", "ops", "mh-port", "lvs_sched mh", "protocol UDP", "protocol TCP",
            "delay_loop 0.000001", "delay_loop 86400", "retry 4000000000", "delay_before_retry 86400",
            "connect_timeout 70", "persistence_timeout", "snmp_name \u{fc}", "snmp_name dns1", "weight 9999",
            "quorum 3", "alpha", "ha_suspend",
        ][..]), 0..6),
        of_real in prop::collection::vec(prop::sample::select(&[
            "weight 0", "weight 65535", "snmp_name dns2", "snmp_name x", "retry 0", "uthreshold 1",
            "DNS_CHECK {\n}", "DNS_CHECK {\nname a.example\n}", "TCP_CHECK {\n}", "PING_CHECK {\n}",
            "MISC_CHECK {\nmisc_path \"dig @192.0.2.1 +time=65535 +tries=65535 b\"\n}",
            "MISC_CHECK {\nmisc_path \"dig @192.0.2.1 +tcp +bufsize=512 b.example ns\"\nmisc_timeout 1\n}",
        ][..]), 0..6),
        keep_timing: bool,
    ) {
        let text = format!(
            "virtual_server 192.0.2.53 53 {{\nlvs_method DR\n{}\nreal_server 192.0.2.1 53 {{\n{}\n}}\n\
             real_server 192.0.2.2 53 {{\n}}\n}}\n",
            of_server.join("\n"),
            of_real.join("\n"),
        );
        if let Err(problems) = import_text(&text, keep_timing) {
            let text = problems.to_string();
            prop_assert!(!text.contains("its translation would be wrong"), "{text}");
        }
    }
}
