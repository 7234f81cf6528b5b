//! Frames that really go: the kernel's live frames through a veth pair, to the program under test at
//! the far end and back, all on one core.

use std::time::Instant;

use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, xdp::XdpMode};
use nix::{
    net::if_::if_nametoindex,
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use super::{
    measure::Floor,
    world::{Datagram, Size, World},
};

/// What `ip` makes the pair by.
pub(crate) const LINKS: &str =
    "link add near type veth peer name far\nlink set near up\nlink set far up";

/// Frames that the kernel makes before it lets go those before them: half of what a veth queues.
const BATCH: u32 = 128;

/// A pair of interfaces. Frames are made on the near one and come back to it.
pub(crate) struct Wire {
    /// The program that frames are made with.
    source: Xdp,
    /// That they end with; attached as long as this lives.
    _sink: Xdp,
    near: u32,
    far: u32,
    world: World,
    frame: Vec<u8>,
}

/// Frames a second by turns, one of each a round.
#[derive(Default)]
pub(crate) struct Rates {
    pub(crate) floor: Vec<f64>,
    pub(crate) ours: Vec<f64>,
}

impl Wire {
    /// Takes the pair that [`LINKS`] makes.
    pub(crate) fn take(floor: &Floor) -> Self {
        let index = |name| if_nametoindex(name).expect("an interface");
        let (near, far) = (index("near"), index("far"));
        let mut sink = floor.program("swallow");
        sink.attach_to_if_index(near, XdpMode::Driver)
            .expect("veth has native XDP");
        Self {
            source: floor.program("bare"),
            _sink: sink,
            near,
            far,
            world: World::load("wire", Size::USUAL, far),
            frame: Datagram::Query.frame("hash", 4),
        }
    }

    /// Measures the floor and ours by turns.
    pub(crate) fn rates(&mut self, floor: &Floor, rounds: usize, frames: u32) -> Rates {
        stay_on_one_core();
        let mut rates = Rates::default();
        for round in 0..=rounds {
            let floor_rate = self.rate(floor, floor.program("floor"), frames);
            let program = self.world.program();
            let our_rate = self.rate(floor, program, frames);
            // The first round warms up.
            if round > 0 {
                rates.floor.push(floor_rate);
                rates.ours.push(our_rate);
            }
        }
        rates
    }

    /// Frames a second that come back if this program is at the far end.
    fn rate(&mut self, floor: &Floor, mut program: Xdp, frames: u32) -> f64 {
        let link = program
            .attach_to_if_index(self.far, XdpMode::Driver)
            .expect("veth has native XDP");
        let mut context = [0; 24];
        // `ingress_ifindex` of `struct xdp_md`, behind `data`, `data_end` and `data_meta`.
        context[4..8].copy_from_slice(&(self.frame.len() as u32).to_ne_bytes());
        context[12..16].copy_from_slice(&self.near.to_ne_bytes());
        let before = floor.swallowed();
        let start = Instant::now();
        self.source
            .test_run(TestRunOptions {
                data_in: Some(&self.frame),
                ctx_in: Some(&context),
                repeat: frames,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::default()
            })
            .expect("live frames");
        let elapsed = start.elapsed();
        let back = floor.swallowed() - before;
        assert!(
            back * 1_000 >= u64::from(frames) * 999,
            "of {frames} frames {back} came back"
        );
        program.detach(link).expect("detached");
        back as f64 / elapsed.as_secs_f64()
    }
}

/// Keeps this thread, and with it what the kernel does for its frames, on the first core it has.
fn stay_on_one_core() {
    let mut cores = CpuSet::new();
    cores.set(0).expect("a core");
    sched_setaffinity(Pid::from_raw(0), &cores).expect("there is a first core");
}
