//! Measuring programs in turn.

use std::path::Path;

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, PerCpuArray, ProgramArray},
    programs::{TestRun as _, TestRunOptions, Xdp, loaded_programs},
};
use aya_obj::programs::XdpAttachType;
use dns_lb_common::{Action, Backend};

/// The programs that ours is measured against, and the one in front.
pub(crate) struct Floor {
    ebpf: Ebpf,
}

impl Floor {
    pub(crate) fn load(object: &Path) -> Self {
        let mut ebpf = EbpfLoader::new()
            .load_file(object)
            .expect("the floor's object");
        for name in ["bare", "floor", "front", "swallow"] {
            let program: &mut Xdp = ebpf.program_mut(name).unwrap().try_into().unwrap();
            program.load().expect("the kernel takes the floor");
        }
        let backends = ebpf.map_mut("floor_backends").unwrap();
        let mut backends: Array<_, Backend> = backends.try_into().unwrap();
        let backend = Backend {
            destination_mac: [2, 0, 0, 1, 0, 0],
            source_mac: [2, 0, 0, 0, 0, 1],
            ..Backend::default()
        };
        backends.set(0, backend, 0).expect("written");
        Self { ebpf }
    }

    /// A handle of one of the programs.
    pub(crate) fn program(&self, name: &str) -> Xdp {
        let program: &Xdp = self.ebpf.program(name).unwrap().try_into().unwrap();
        reopen(program.info().expect("its info").id())
    }

    /// Frames that `swallow` has ended so far.
    pub(crate) fn swallowed(&self) -> u64 {
        let swallowed = self.ebpf.map("swallowed").unwrap();
        let swallowed: PerCpuArray<_, u64> = swallowed.try_into().unwrap();
        swallowed.get(&0, 0).expect("read").iter().sum()
    }

    /// Puts a program behind the front, and says which bits tell flows and VIPs.
    fn put_behind(&mut self, program: &Xdp, flows: Flows) {
        let behind = self.ebpf.map_mut("behind_front").unwrap();
        let mut behind: ProgramArray<_> = behind.try_into().unwrap();
        behind
            .set(0, program.fd().expect("loaded"), 0)
            .expect("put behind the front");
        for (name, mask) in [("flow_mask", flows.mask), ("vip_mask", flows.vip_mask)] {
            let map = self.ebpf.map_mut(name).unwrap();
            let mut map: Array<_, u32> = map.try_into().unwrap();
            map.set(0, mask, 0).expect("written");
        }
    }
}

/// What the front makes of one frame.
#[derive(Clone, Copy)]
pub(crate) struct Flows {
    /// The bits that tell flows.
    pub(crate) mask: u32,
    /// Those of them that tell VIPs.
    pub(crate) vip_mask: u32,
}

/// A handle of its own of a loaded program.
pub(crate) fn reopen(id: u32) -> Xdp {
    let mut programs = loaded_programs().filter_map(Result::ok);
    let info = programs
        .find(|info| info.id() == id)
        .expect("a loaded program");
    Xdp::from_program_info(info, "reopened".into(), XdpAttachType::Interface).expect("a handle")
}

/// A program on a frame.
pub(crate) struct Subject {
    program: Xdp,
    /// The program in front, and what it makes of the frame.
    front: Option<(Xdp, Flows)>,
    frame: Vec<u8>,
    /// What becomes of it: a figure of another way would be none of this one.
    action: Action,
}

impl Subject {
    pub(crate) fn alone(program: Xdp, frame: Vec<u8>) -> Self {
        Self {
            program,
            front: None,
            frame,
            action: Action::Transmit,
        }
    }

    /// Of a frame that is for the host's own stack.
    pub(crate) fn passing(self) -> Self {
        Self {
            action: Action::Pass,
            ..self
        }
    }

    pub(crate) fn behind(floor: &Floor, program: Xdp, flows: Flows, frame: Vec<u8>) -> Self {
        Self {
            front: Some((floor.program("front"), flows)),
            ..Self::alone(program, frame)
        }
    }
}

/// Nanoseconds a run of each subject, one a round.
pub(crate) fn measure(
    floor: &mut Floor,
    subjects: &mut [Subject],
    rounds: usize,
    repeat: u32,
) -> Vec<Vec<f64>> {
    let mut samples = vec![Vec::with_capacity(rounds); subjects.len()];
    for round in 0..=rounds {
        for (subject, samples) in subjects.iter_mut().zip(&mut samples) {
            let program = match &mut subject.front {
                Some((front, flows)) => {
                    floor.put_behind(&subject.program, *flows);
                    front
                }
                None => &mut subject.program,
            };
            let mut out = vec![0; subject.frame.len() + 256];
            let result = program
                .test_run(TestRunOptions {
                    data_in: Some(&subject.frame),
                    data_out: Some(&mut out),
                    repeat,
                    ..TestRunOptions::default()
                })
                .expect("a run");
            assert_eq!(result.return_value, subject.action as u32);
            // The first round warms up.
            if round > 0 {
                samples.push(result.duration.as_nanos() as f64);
            }
        }
    }
    samples
}
