//! `cargo xtask bench`: builds the programs that ours is measured against, and runs the benchmark.

use std::env::consts;

use anyhow::anyhow;

use crate::{
    check::{endian, program_target_dir},
    process::{cargo, run_visibly},
    toolchain::{self, Toolchain},
};

pub(crate) fn run(json: bool, quick: bool) -> anyhow::Result<()> {
    let toolchain =
        Toolchain::find().map_err(|missing| anyhow!("{missing}; run `cargo xtask setup`"))?;
    let target_dir = program_target_dir();
    run_visibly(
        toolchain
            .command("cargo", "build", consts::ARCH, endian())
            .args(["--release", "--target-dir"])
            .arg(&target_dir),
    )?;
    let floor = target_dir
        .join(toolchain::triple(endian()))
        .join("release/dns-lb-floor");
    run_visibly(
        cargo()
            .args([
                "bench",
                "--quiet",
                "--package",
                "dns-lb-tests",
                "--bench",
                "packet",
                "--",
            ])
            .args(json.then_some("--json"))
            .args(quick.then_some("--quick"))
            .env("DNS_LB_FLOOR", std::path::absolute(floor)?),
    )
}
