//! `blst`'s safe interface spreads sums and pairings over a pool of as many threads as there are cores when it is first used. Figures are
//! of one core: the pool is made while there is only one.

use std::fs;

use blst::{blst_fp12, blst_p1_affine, blst_p2_affine};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// Call it before anything else uses `blst`. All threads may run anywhere afterwards.
pub fn for_blst() {
    let all = sched_getaffinity(None).unwrap();
    let mut one = CpuSet::new();
    one.set(sched_getcpu());
    sched_setaffinity(None, &one).unwrap();
    let points = [blst_p1_affine::default()];
    let _ = blst_fp12::miller_loop_n(&[blst_p2_affine::default()], &points);
    for thread in fs::read_dir("/proc/self/task").unwrap().flatten() {
        let id = thread.file_name().to_str().and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
        sched_setaffinity(id, &all).unwrap();
    }
}
