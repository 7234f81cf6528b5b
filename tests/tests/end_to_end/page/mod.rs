//! The page at `/`, in a real browser: what a person sees of what happens to the servers, and of an agent
//! that does not answer. Pictures of it are left in `target/page`.

mod made;
mod made_status;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use dns_lb_tests::{Browser, Load, Node, Ports, Scheme, Software, Topology, agent, lab::VIP};

use crate::stage::{RATE, Stage};

/// On a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Until the page must say that nothing comes any more.
const SILENCE: Duration = Duration::from_secs(4);

/// What the tests say to the page.
const SCRIPT: &str = include_str!("script.js");

/// A page that is open in a browser.
struct Page(Browser);

impl Page {
    fn open(node: &Node) -> Self {
        let mut browser = Browser::start(node).expect("a browser");
        browser.show_as(1_280, Scheme::Light).expect("a window");
        browser.open("http://127.0.0.1:8053/").expect("the page");
        let mut page = Self(browser);
        page.wait(PATIENCE, "document.body?.dataset.state === 'live'");
        page.0.evaluate(SCRIPT).expect("the script");
        page
    }

    #[track_caller]
    fn wait(&mut self, limit: Duration, expression: &str) -> Duration {
        self.0
            .wait_until(expression, limit)
            .expect("the page says it")
    }

    #[track_caller]
    fn text(&mut self, expression: &str) -> String {
        self.0.text(expression).expect("a text")
    }

    #[track_caller]
    fn holds(&mut self, expression: &str) -> bool {
        let value = self.0.evaluate(expression).expect("a value");
        value.as_bool().expect("true or false")
    }

    /// Takes pictures in both colours, wide and narrow, and asserts in each that nothing sticks out at
    /// the side and that all text can be read.
    fn look(&mut self, name: &str) {
        for (scheme, colours) in [(Scheme::Light, "light"), (Scheme::Dark, "dark")] {
            for width in [1_280, 360, 2_560] {
                self.0.show_as(width, scheme).expect("a window");
                let looks = format!("{name}-{colours}-{width}");
                let over = self.text("sticksOut()");
                assert_eq!(over, "", "{looks}: wider than the window");
                assert_eq!(self.text("faint()"), "", "{looks}: too little contrast");
                self.picture(&looks);
            }
        }
        self.0.show_as(1_280, Scheme::Light).expect("a window");
    }

    fn picture(&mut self, name: &str) {
        let file = pictures().join(format!("{name}.png"));
        self.0.picture(&file).expect("a picture");
    }

    #[track_caller]
    fn assert_content(&mut self) {
        let mut complaints = self.0.complaints().expect("the console");
        // On a busy machine the agent may once be late with a document, and says so.
        complaints.retain(|complaint| !complaint.contains("503 (Service Unavailable)"));
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

/// Beside the test's own folder.
fn pictures() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../page")
}

#[test]
fn a_person_sees_who_is_down_and_why_and_when_nobody_knows() {
    let servers = [Software::Nsd, Software::Knot, Software::Nsd];
    let mut stage = Stage::set_alone(&Topology::of(&servers), |backends| {
        agent::configuration(&["eth0"], "hash", backends)
    });
    let client = stage.lab.clients[0].node.clone();
    let load = Load::start(&client, VIP, RATE / 4, Ports::Fresh).expect("a load");
    let mut page = Page::open(&stage.lab.balancer);

    // All well: a word for everybody, rates that are drawn.
    page.wait(PATIENCE, "text('headline') === 'All 3 backends are up'");
    page.wait(PATIENCE, "number(cell('dns1', 'Packets/s')) > 50");
    page.wait(PATIENCE, "drawn('dns1').split('L').length > 3");
    assert_eq!(page.text("cell('dns2', 'State')"), "up");
    assert_eq!(page.text("cell('dns2', 'Share')"), "33.3 %");
    assert_eq!(page.text("cell('dns2', 'Address')"), "192.168.0.202");
    assert!(page.text("cell('dns2', 'Last probe')").ends_with('s'));
    assert!(page.text("document.title").contains("all well"));
    assert!(page.text("text('facts')").contains("eth0 ("));
    page.look("fine");
    page.assert_content();

    // A dead server.
    stage.lab.backends[1].kill().expect("the server runs");
    stage.await_down("dns2");
    page.wait(PATIENCE, "text('headline') === '1 of 3 backends down'");
    let problem = page.text("text('problems')");
    assert!(problem.starts_with("resolvers/dns2 down for "), "{problem}");
    assert!(page.text("cell('dns2', 'State')").starts_with("down"));
    assert_ne!(page.text("why('dns2')"), "");
    assert!(problem.ends_with(&page.text("why('dns2')")), "{problem}");
    page.wait(PATIENCE, "cell('dns2', 'Share') === '0.0 %'");
    assert_eq!(page.text("first('#backends .toggle')"), "resolvers/dns2");
    let told = page.text("first('#transitions li')");
    assert!(
        told.contains("resolvers/dns2") && told.contains("up → down: "),
        "{told}"
    );
    let spoken = page.text("text('announcement')");
    assert!(spoken.starts_with("resolvers/dns2 is down, "), "{spoken}");
    assert!(
        page.text("document.title")
            .starts_with("1 of 3 backends down")
    );
    page.wait(PATIENCE, "number(cell('dns2', 'Packets/s')) === 0");

    // Its panel: the probes that failed are drawn, and told apart not by colour alone.
    page.0
        .evaluate("row('dns2').querySelector('.toggle').click()")
        .expect("a click");
    page.wait(
        PATIENCE,
        "document.querySelectorAll('.probes .failed').length > 2",
    );
    page.wait(
        PATIENCE,
        "document.querySelectorAll('.probes .passed').length > 2",
    );
    let drawing = page.text("document.querySelector('.probes').getAttribute('aria-label')");
    assert!(drawing.ends_with("did not pass"), "{drawing}");
    page.look("dead");
    page.assert_content();

    // A server that somebody has taken out.
    let drain = ["drain", "resolvers/dns1", "--reason", "new disk"];
    let drained = stage.agent.run(&drain).expect("the binary starts");
    assert!(drained.status.success(), "{drained:?}");
    page.wait(PATIENCE, "cell('dns1', 'State').startsWith('draining, up')");
    assert!(page.text("why('dns1')").starts_with("“new disk”, "));
    page.wait(PATIENCE, "cell('dns1', 'Share') === '0.0 %'");
    let headline = page.text("text('headline')");
    assert_eq!(headline, "1 of 3 backends down, 1 taken out by hand");
    page.assert_content();

    // Nobody answers: within moments nothing is live any more.
    stage.agent.kill().expect("the agent runs");
    page.wait(SILENCE, "document.body.dataset.state === 'stale'");
    let banner = page.text("text('stale')");
    assert!(
        banner.starts_with("No answer from the agent for "),
        "{banner}"
    );
    assert!(banner.contains("What follows is of "), "{banner}");
    assert!(page.text("text('live-text')").starts_with("not live, of "));
    assert_eq!(
        page.text("text('announcement')"),
        "No answer from the agent"
    );
    assert!(page.text("document.title").starts_with("no answer from "));
    assert!(page.holds("isGrey(row('dns3'))"), "what is old looks new");
    let before = page.text("drawn('dns3')");
    page.wait(PATIENCE, "text('stale').includes(' for 6 s')");
    assert_eq!(page.text("drawn('dns3')"), before);
    page.look("stale");
    assert!(!page.0.complaints().expect("the console").is_empty());

    // And again, by itself, with another agent.
    stage.agent.restart().expect("the agent starts");
    page.wait(PATIENCE, "document.body.dataset.state === 'live'");
    assert!(page.holds("document.getElementById('stale').hidden"));
    assert!(!page.holds("isGrey(row('dns3'))"));
    let spoken = page.text("text('announcement')");
    assert!(spoken.starts_with("The agent answers again"), "{spoken}");
    page.wait(PATIENCE, "number(cell('dns3', 'Packets/s')) > 100");
    assert!(page.text("text('facts')").contains("Up for"));
    page.0.complaints().expect("the console");

    // One that hangs is no better than one that is gone.
    stage.agent.freeze().expect("the agent runs");
    page.wait(SILENCE, "document.body.dataset.state === 'stale'");
    stage.agent.thaw().expect("the agent runs");
    page.wait(PATIENCE, "document.body.dataset.state === 'live'");

    let enabled = stage.agent.run(&["enable", "resolvers/dns1"]);
    assert!(enabled.expect("the binary starts").status.success());
    stage.bring_back(1, PATIENCE);
    page.wait(PATIENCE, "cell('dns2', 'State') === 'up'");
    page.wait(
        PATIENCE,
        "text('announcement').endsWith('resolvers/dns2 is up')",
    );
    drop(load);
}
