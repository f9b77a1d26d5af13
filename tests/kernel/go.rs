//! Go: the probes of its clients and servers are accepted by the kernel. What they tell is judged by the link tests, on real
//! programs.

use std::hint::black_box;

use spanhound_agent::{kernel::TierChoice, process::GoFunctions};

use crate::{observer::Observer, python::place};

/// Stands for functions of a Go program, and is none.
#[inline(never)]
fn called(number: u64) -> u64 {
    black_box(number)
}

#[test]
fn the_probes_of_go_load_on_every_kernel() {
    let Some(mut observer) = Observer::start(TierChoice::Auto) else {
        return;
    };
    let place = place(called as *const () as usize).unwrap();
    let functions = GoFunctions {
        http_client: Some([place; 2]),
        grpc_client: Some(place),
        grpc_server: Some([place; 2]),
        has_unknown: false,
    };
    observer.capture.watch_go(std::process::id(), &functions);
    assert_eq!(observer.capture.go_turned_away(), 0);
    // None finds anything where no goroutine runs.
    assert_eq!(called(7), 7);
    observer.capture.forget_process(std::process::id());
    assert_eq!(called(8), 8);
}
