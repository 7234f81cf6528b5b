//! Frames that are made, and swallowed: the kernel's live frames.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, PerCpuArray, ProgramArray},
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, loaded_programs},
};
use aya_obj::programs::XdpAttachType;
use dns_lb_tests::{Node, dns, lab::VIP};
use etherparse::PacketBuilder;
use nix::{
    net::if_::if_nametoindex,
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// Whom the frames are from: a host that the lab does not have.
pub(super) const SOURCE: [u8; 4] = [198, 51, 100, 250];

/// The router, by which they seem to come.
const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];

/// The lowest source port.
const FIRST_PORT: u16 = 16_384;

/// The bits that tell flows: 4,096 of them, as many as IPVS's table of connections has rows by default.
/// It is the table that is best for IPVS; the others do not care.
const FLOWS: u32 = 0xfff;

/// Octets of the Ethernet, IPv4 and UDP headers.
const HEADERS: usize = 14 + 20 + 8;

/// Frames that the kernel makes before it lets go those before them: a quarter of what a veth queues.
const BATCH: u32 = 64;

/// The programs that make frames and swallow them.
pub(super) struct Frames {
    ebpf: Ebpf,
}

impl Frames {
    /// Loads the programs.
    pub(super) fn load(object: &Path) -> Result<Self> {
        let mut ebpf = EbpfLoader::new().load_file(object)?;
        for name in ["echo", "fresh", "pass", "sink"] {
            let program = ebpf.program_mut(name);
            let program: &mut Xdp = program.context("a program of the floor's")?.try_into()?;
            program.load()?;
        }
        let mut frames = Self { ebpf };
        let mask = frames.ebpf.map_mut("flow_mask");
        let mut mask: Array<_, u32> = mask.context("its map")?.try_into()?;
        mask.set(0, FLOWS, 0)?;
        Ok(frames)
    }

    /// A handle of its own of one of the programs.
    pub(super) fn program(&self, name: &str) -> Result<Xdp> {
        let program: &Xdp = self
            .ebpf
            .program(name)
            .context("a program of the floor's")?
            .try_into()?;
        reopen(program.info()?.id())
    }

    /// How many frames `sink` has swallowed so far.
    pub(super) fn swallowed(&self) -> Result<u64> {
        let swallowed = self.ebpf.map("swallowed").context("its map")?;
        let swallowed: PerCpuArray<_, u64> = swallowed.try_into()?;
        Ok(swallowed.get(&0, 0)?.iter().sum())
    }

    /// Makes so many frames at the driver of a host's `eth0`, on one core, and gives each to this program.
    /// Returns how long all of it took.
    pub(super) fn make(&mut self, node: &Node, program: &Xdp, count: u32) -> Result<Duration> {
        let behind = self.ebpf.map_mut("behind_front").context("its map")?;
        let mut behind: ProgramArray<_> = behind.try_into()?;
        behind.set(0, program.fd()?, 0)?;
        let mac = node.run(|| fs::read_to_string("/sys/class/net/eth0/address"))?;
        let frame = frame(parse(&mac)?)?;
        let headers: [u8; HEADERS] = frame[..HEADERS].try_into()?;
        let template = self.ebpf.map_mut("fresh_headers").context("its map")?;
        let mut template: Array<_, [u8; HEADERS]> = template.try_into()?;
        template.set(0, headers, 0)?;
        let fresh = self.program("fresh")?;
        // A thread of its own, since it stays on its core.
        let thread = node.thread(move || {
            stay_on_one_core()?;
            let mut context = [0; 24];
            // `ingress_ifindex` of `struct xdp_md`, behind `data`, `data_end` and `data_meta`.
            context[4..8].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
            context[12..16].copy_from_slice(&if_nametoindex("eth0")?.to_ne_bytes());
            let start = Instant::now();
            fresh.test_run(TestRunOptions {
                data_in: Some(&frame),
                ctx_in: Some(&context),
                repeat: count,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::default()
            })?;
            let took = start.elapsed();
            // What is still queued at the other end is handled at once when this core is let go.
            thread::sleep(Duration::from_millis(5));
            Ok(took)
        });
        thread
            .join()
            .map_err(|_| anyhow!("the thread that makes frames panicked"))?
    }
}

/// A handle of its own of a loaded program.
fn reopen(id: u32) -> Result<Xdp> {
    let mut programs = loaded_programs().filter_map(Result::ok);
    let info = programs
        .find(|info| info.id() == id)
        .context("a loaded program")?;
    Ok(Xdp::from_program_info(
        info,
        "reopened".into(),
        XdpAttachType::Interface,
    )?)
}

/// A query for the VIP, to this MAC address, with no UDP checksum: its source port will change.
fn frame(destination: [u8; 6]) -> Result<Vec<u8>> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(ROUTER, destination)
        .ipv4(SOURCE, VIP.octets(), 63)
        .udp(FIRST_PORT, dns::PORT)
        .write(&mut frame, &dns::identity_query(1))?;
    frame[HEADERS - 2..HEADERS].fill(0);
    Ok(frame)
}

fn parse(mac: &str) -> Result<[u8; 6]> {
    let octets = mac
        .trim()
        .split(':')
        .map(|octet| u8::from_str_radix(octet, 16));
    let octets: Vec<u8> = octets.collect::<Result<_, _>>()?;
    octets
        .try_into()
        .map_err(|_| anyhow!("eth0 has no MAC address but {mac}"))
}

/// Keeps this thread, and with it what the kernel does for its frames, on the first core it may have.
fn stay_on_one_core() -> Result<()> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let first = (0..CpuSet::count()).find(|&core| allowed.is_set(core).unwrap_or(false));
    let mut cores = CpuSet::new();
    cores.set(first.context("a core")?)?;
    Ok(sched_setaffinity(this, &cores)?)
}
