//! What a packet and new tables cost with more and more servers and services.

use std::time::Instant;

use dns_lb_tests::Scale;

use super::{
    measure::{Floor, Flows, Subject},
    report::Farm,
    world::{Datagram, MANY, World},
};

/// Flows where there are many.
pub(crate) const FLOWS: u32 = 1 << 16;

/// Services that these go to at most. The front tells them by bits of a flow, so it is a power of two.
const MOST_SERVICES: u16 = 64;

/// A loaded program for each size.
pub(crate) struct Farms(Vec<(Scale, World)>);

impl Farms {
    pub(crate) fn load() -> Self {
        let load = |(number, scale)| {
            let world = World::farm(&format!("farm{number}"), scale);
            (scale, world)
        };
        Self((0..).zip(Scale::ALL).map(load).collect())
    }

    /// For each size: a packet of one flow, and one of many flows to as many services as there are.
    pub(crate) fn subjects(&mut self, floor: &Floor) -> Vec<Subject> {
        let query = Datagram::Query.frame(MANY, 4);
        let farms = self.0.iter_mut();
        farms
            .flat_map(|(scale, world)| {
                let flows = Flows {
                    mask: FLOWS - 1,
                    vip_mask: u32::from(services_asked(*scale)) - 1,
                };
                [
                    Subject::alone(world.program(), query.clone()),
                    Subject::behind(floor, world.program(), flows, query.clone()),
                ]
            })
            .collect()
    }

    /// Takes the samples of [`Self::subjects`] in that order, and measures how long tables take.
    pub(crate) fn measured(
        self,
        mut samples: impl Iterator<Item = Vec<f64>>,
        rounds: usize,
    ) -> Vec<Farm> {
        let mut next = || samples.next().expect("samples of each subject");
        let farms = self.0.into_iter();
        farms
            .map(|(scale, mut world)| Farm {
                scale,
                services_asked: services_asked(scale),
                one_flow_ns: next(),
                many_flows_ns: next(),
                table_ms: table_times(&mut world, rounds),
            })
            .collect()
    }
}

/// How many services the many flows go to.
fn services_asked(scale: Scale) -> u16 {
    scale.services.min(MOST_SERVICES)
}

/// Milliseconds from a change of one backend's weight to tables that are live. Its health could not
/// change where it is its service's only one: that one is asked whatever probes say.
fn table_times(world: &mut World, rounds: usize) -> Vec<f64> {
    let times = (0..rounds).map(|round| {
        let start = Instant::now();
        world.apply(|backend, knowledge| {
            if backend == 0 {
                knowledge.weight = if round.is_multiple_of(2) { 2 } else { 1 };
            }
        });
        start.elapsed().as_secs_f64() * 1e3
    });
    times.collect()
}
