//! How the maps change: what packets are steered by is never written, only left behind.

use std::{ops::Range, path::Path};

use dns_lb::health::Health;
use dns_lb_common::{Action, map};
use serde_json::Value;

use crate::{
    fixture::{VIP, query, service, with_program},
    pinned::dump,
};

/// The maps that packets are steered by, as `bpftool` prints them.
#[derive(Clone, PartialEq)]
struct Maps {
    control: Value,
    vips: Vec<Value>,
    backends: Vec<Value>,
    tables: Vec<Value>,
}

impl Maps {
    fn read() -> Self {
        let at = |name: &str| dump(&Path::new("/sys/fs/bpf/dns-lb").join(name));
        Self {
            control: at(map::CONTROL)[0]["value"].clone(),
            vips: at(map::VIPS),
            backends: at(map::BACKENDS),
            tables: at(map::TABLES),
        }
    }

    fn active(&self) -> usize {
        self.control["active"].as_u64().unwrap() as usize
    }

    fn live_bank(&self) -> &Value {
        &self.control["banks"][self.active()]
    }

    /// The half of a map that begins at this base.
    fn half(&self, base: &str, entries: &[Value]) -> Range<usize> {
        let base = self.live_bank()[base].as_u64().unwrap() as usize;
        base..base + entries.len() / 2
    }

    /// The table of the one service.
    fn live_table(&self) -> usize {
        let slots = &self.vips[self.half("vip_base", &self.vips)];
        let used = slots.iter().find(|slot| slot["value"]["service"] == 1);
        used.expect("a slot")["value"]["table"].as_u64().unwrap() as usize
    }
}

/// Whether `after` still has all that packets were steered by in `before`.
fn assert_left_behind(before: &Maps, after: &Maps) {
    assert_ne!(
        before.active(),
        after.active(),
        "the banks were not switched"
    );
    let bank = before.active();
    assert_eq!(before.control["banks"][bank], after.control["banks"][bank]);
    let vips = before.half("vip_base", &before.vips);
    assert_eq!(before.vips[vips.clone()], after.vips[vips]);
    let backends = before.half("backend_base", &before.backends);
    assert_eq!(before.backends[backends.clone()], after.backends[backends]);
    let table = before.live_table();
    assert!(before.tables[table] == after.tables[table], "table {table}");
}

#[test]
fn an_update_writes_nothing_that_packets_are_steered_by() {
    let backends = &[(201, 1), (202, 1)];
    with_program(vec![service("resolvers", VIP, backends)], |mut fixture| {
        let mut before = Maps::read();
        for dead in [0, 1] {
            fixture.apply(|backend| match backend == dead {
                true => Health::Down,
                false => Health::Up,
            });
            let after = Maps::read();
            assert_left_behind(&before, &after);
            assert_ne!(before.live_table(), after.live_table());
            let run = fixture.run(&query());
            assert!(run.is(Action::Transmit));
            assert_eq!(run.frame[5], 202 - dead as u8, "who is alive takes it");
            before = after;
        }
    });
}

#[test]
fn equal_plans_write_nothing() {
    let backends = &[(201, 1), (202, 1)];
    with_program(vec![service("resolvers", VIP, backends)], |mut fixture| {
        let before = Maps::read();
        fixture.apply(|_| Health::Up);
        assert!(before == Maps::read(), "the maps were written");
    });
}
