use std::time::Duration;

use super::*;
use crate::config::Config;

const HOLD: Duration = Duration::from_secs(1);

fn announce() -> Announce {
    Announce {
        interface: "lo".to_owned(),
        hold: HOLD,
        withdraw_first: true,
        settle: Duration::ZERO,
    }
}

/// Services of these names, VIPs and ports.
fn services(of: &[(&str, &str, u16)]) -> Vec<Service> {
    let services = of.iter().map(|(name, vips, port)| {
        format!(
            "[[service]]\nname = \"{name}\"\nvips = [{vips}]\nport = {port}\n\
             [[service.backend]]\nname = \"a\"\naddress = \"10.0.0.1\"\n"
        )
    });
    let text = format!("interfaces = [\"eth0\"]\n{}", services.collect::<String>());
    Config::parse(&text).unwrap().services
}

fn vips(of: &[&str]) -> BTreeSet<IpAddr> {
    of.iter().map(|vip| vip.parse().unwrap()).collect()
}

#[test]
fn who_becomes_ready_is_told_after_a_time_and_who_is_no_longer_at_once() {
    let services = services(&[("s", "\"192.0.2.1\", \"2001:db8::1\"", 53)]);
    let both = vips(&["192.0.2.1", "2001:db8::1"]);
    let mut announcer = Announcer::new(BTreeSet::new());
    let start = Instant::now();
    let mut decide = |ready: bool, after: Duration| {
        announcer.decide(&announce(), &services, |_| ready, start + after)
    };
    let waiting = |due: Duration| Decision {
        vips: BTreeSet::new(),
        due: Some(start + due),
    };
    assert_eq!(decide(true, Duration::ZERO), waiting(HOLD));
    assert_eq!(decide(true, HOLD / 2), waiting(HOLD));
    assert_eq!(decide(false, HOLD / 2), Decision::default());
    // From anew.
    assert_eq!(decide(true, HOLD), waiting(2 * HOLD));
    let told = Decision {
        vips: both,
        due: None,
    };
    assert_eq!(decide(true, 2 * HOLD), told);
    assert_eq!(decide(false, 2 * HOLD), Decision::default());
}

#[test]
fn what_an_earlier_agent_told_goes_on_unless_the_service_is_not_ready() {
    let services = services(&[("s", "\"192.0.2.1\"", 53), ("t", "\"192.0.2.2\"", 53)]);
    let told = vips(&["192.0.2.1", "192.0.2.2"]);
    let mut announcer = Announcer::new(told.clone());
    let decision = announcer.decide(&announce(), &services, |index| index == 0, Instant::now());
    assert_eq!(decision.vips, vips(&["192.0.2.1"]));
}

#[test]
fn a_vip_of_two_services_is_told_if_both_are_ready() {
    let services = services(&[("s", "\"192.0.2.1\"", 53), ("t", "\"192.0.2.1\"", 853)]);
    let told = vips(&["192.0.2.1"]);
    let mut announcer = Announcer::new(told.clone());
    let mut decide = |ready: [bool; 2]| {
        let now = Instant::now();
        let decision = announcer.decide(&announce(), &services, |index| ready[index], now);
        decision.vips
    };
    assert_eq!(decide([true, true]), told);
    assert_eq!(decide([true, false]), BTreeSet::new());
}

#[test]
fn a_reload_that_renames_a_service_or_puts_another_on_its_vip_takes_nothing_back() {
    let before = services(&[("s", "\"192.0.2.1\"", 53)]);
    let told = vips(&["192.0.2.1"]);
    let mut announcer = Announcer::new(told.clone());
    let now = Instant::now();
    let mut decide = |services: &[Service], ready: &[bool]| {
        let decision = announcer.decide(&announce(), services, |index| ready[index], now);
        decision.vips
    };
    assert_eq!(decide(&before, &[true]), told);
    let renamed = services(&[("r", "\"192.0.2.1\"", 53)]);
    assert_eq!(decide(&renamed, &[true]), told);
    let two = services(&[("r", "\"192.0.2.1\"", 53), ("t", "\"192.0.2.1\"", 853)]);
    assert_eq!(decide(&two, &[true, true]), told);
    // One whose VIP nobody has been told waits as ever.
    let further = services(&[("r", "\"192.0.2.1\"", 53), ("u", "\"192.0.2.3\"", 53)]);
    assert_eq!(decide(&further, &[true, true]), told);
}
