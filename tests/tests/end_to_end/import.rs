//! From keepalived's configuration to a farm that answers.

use std::{collections::BTreeSet, path::Path, process::Command, time::Duration};

use dns_lb_tests::{Load, Ports, Software, Topology, lab::VIP};

use crate::stage::{Stage, assert_lost, binary};

/// The textbook's farm: one VIP, two servers in turn, asked by `dig`.
const TEXTBOOK: &str = "../dns-lb/src/import/keepalived/fixtures/textbook.conf";

#[test]
fn the_textbooks_farm_runs_as_imported() {
    let topology = Topology::of(&[Software::Nsd, Software::Knot]);
    let mut stage = Stage::set_configured(&topology, |backends| {
        // What the textbook names is what the lab has.
        let addresses: Vec<String> = backends.iter().map(|b| b.address.to_string()).collect();
        assert_eq!(addresses, ["192.168.0.201", "192.168.0.202"]);
        assert_eq!(VIP.to_string(), "192.168.0.200");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(TEXTBOOK);
        let output = Command::new(binary())
            .args(["import", "keepalived"])
            .arg(file)
            .output()
            .expect("dns-lb import");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    });

    let losses = stage.lab.own_losses().expect("counts");
    let load = Load::start(&stage.lab.clients[0].node, VIP, 1_000, Ports::Fresh).expect("a load");
    let report = load.run_for(Duration::from_secs(1)).expect("a report");
    let losses = stage.lab.own_losses().expect("counts") - losses;
    assert_lost(report.lost(), losses, || {
        format!("{:?}", report.loss_windows())
    });
    let answered: BTreeSet<String> = report.by_identity().into_keys().collect();
    assert_eq!(answered, stage.lab.identities());

    // One that is dead is out, as it was with dig.
    stage.lab.backends[0].kill().expect("a death");
    stage.await_down("dns1");
}
