//! Tasks of an event loop: who answers has called.

use super::*;
use crate::event::{Awaited, Task};
use spanhound_common::record::{ROUTINE_TASK, TASK_NUMBER_SHIFT};

const LOOP: Actor = Actor {
    pid: 40,
    tid: 40,
    goroutine: 0,
    parent_goroutine: 0,
    task: None,
    parent_task: None,
};

fn numbered(address: u64, number: u64) -> Option<Task> {
    Task::from_routine(ROUTINE_TASK | number << TASK_NUMBER_SHIFT | address)
}

/// The loop while it runs the task with this number.
fn on(number: u64) -> Actor {
    Actor {
        task: numbered(0x1000 * number, number),
        ..LOOP
    }
}

/// The same, while another task waits for it.
fn on_for(number: u64, waiting: u64) -> Actor {
    Actor {
        parent_task: on(waiting).task,
        ..on(number)
    }
}

impl Bench {
    fn called(&mut self, actor: Actor, connection: u64) -> ExchangeId {
        let call = self.call(actor, connection);
        self.end(call, LOOP, connection, Side::Client);
        call
    }

    fn waits(&mut self, number: u64, waiting: u64) {
        self.linker.awaited(&Awaited {
            pid: LOOP.pid,
            tid: LOOP.tid,
            time_ns: self.now,
            task: on(number).task.unwrap(),
            waiting: on(waiting).task.unwrap(),
        });
    }

    fn answered(&mut self, request: ExchangeId, actor: Actor, connection: u64) {
        self.end(request, actor, connection, Side::Server);
    }
}

#[test]
fn the_task_that_answers_a_request_has_made_its_calls() {
    let mut bench = Bench::new();
    let first = bench.request(LOOP, 1);
    let second = bench.request(LOOP, 2);
    let third = bench.request(LOOP, 3);
    let of_second = bench.called(on(12), 10);
    let of_third = bench.called(on(13), 10);
    let of_first = bench.called(on(11), 10);
    let again = bench.called(on(12), 10);
    let child = bench.called(on_for(21, 11), 11);
    let grandchild = bench.called(on_for(22, 21), 12);
    bench.waits(24, 25);
    bench.waits(25, 11);
    let far = bench.called(on_for(23, 24), 13);
    bench.answered(second, on(12), 2);
    bench.answered(first, on(11), 1);
    bench.answered(third, on(13), 3);
    bench.decide();
    for (call, request) in [
        (of_first, first),
        (of_second, second),
        (again, second),
        (of_third, third),
    ] {
        let exact = (bench.span(request), Method::Task, Confidence::Exact);
        assert_eq!(bench.parent(call), exact);
    }
    for call in [child, grandchild, far] {
        let inferred = (bench.span(first), Method::Task, Confidence::Inferred);
        assert_eq!(bench.parent(call), inferred);
    }
}

#[test]
fn a_task_that_answers_one_request_after_the_other_has_called_for_the_one_it_answers_next() {
    let mut bench = Bench::new();
    let other = bench.request(LOOP, 9);
    let calls = [(); 2].map(|()| {
        let request = bench.request(LOOP, 1);
        let call = bench.called(on(31), 10);
        bench.answered(request, on(31), 1);
        (request, call)
    });
    // What the task does after its answer belongs to none of those that are open.
    let late = bench.called(on(31), 10);
    let request = bench.request(LOOP, 1);
    bench.answered(request, on(31), 1);
    bench.answered(other, on(32), 9);
    bench.decide();
    let sure = calls.map(|(request, call)| {
        let (parent, method, sure) = bench.parent(call);
        assert_eq!((parent, method), (bench.span(request), Method::Task));
        sure
    });
    // The second time it was there before the request.
    assert_eq!(sure, [Confidence::Exact, Confidence::Inferred]);
    assert_eq!(bench.parent(late), (0, Method::None, Confidence::None));
}

#[test]
fn a_task_that_answers_first_and_calls_then_is_exact_until_the_answer_ends() {
    let mut bench = Bench::new();
    let request = bench.request(LOOP, 1);
    let other = bench.request(LOOP, 2);
    bench
        .linker
        .touched(ConnectionId(1), on(41), false, bench.now + 1);
    let call = bench.called(on(41), 10);
    bench.answered(request, LOOP, 1);
    bench.answered(other, LOOP, 2);
    bench.decide();
    let exact = (bench.span(request), Method::Task, Confidence::Exact);
    assert_eq!(bench.parent(call), exact);
}

#[test]
fn a_task_is_one_of_its_thread_and_of_its_number() {
    let mut bench = Bench::new();
    let request = bench.request(LOOP, 1);
    let other = bench.request(LOOP, 2);
    let beside = bench.called(Actor { tid: 41, ..on(51) }, 10);
    let before = bench.called(
        Actor {
            task: numbered(0x1000 * 51, 50),
            ..LOOP
        },
        11,
    );
    let nameless = Actor {
        task: numbered(0x9000, 0),
        ..LOOP
    };
    let of_nameless = bench.called(nameless, 12);
    bench.answered(request, on(51), 1);
    bench.answered(other, nameless, 2);
    bench.decide();
    for call in [beside, before] {
        assert_ne!(bench.parent(call).1, Method::Task);
    }
    let inferred = (bench.span(other), Method::Task, Confidence::Inferred);
    assert_eq!(bench.parent(of_nameless), inferred);
}

#[test]
fn of_two_requests_open_on_one_connection_it_is_not_known_which_is_answered() {
    let mut bench = Bench::new();
    let first = bench.request(LOOP, 1);
    let second = bench.request(LOOP, 1);
    let call = bench.called(on(61), 10);
    bench.answered(first, on(61), 1);
    bench.answered(second, on(62), 1);
    bench.decide();
    assert_ne!(bench.parent(call).1, Method::Task);
}

#[test]
fn tasks_are_bounded_and_end_with_their_process() {
    let limits = Limits {
        threads: 64,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits);
    bench.request(LOOP, 1);
    bench.request(LOOP, 2);
    for number in 1..1_000 {
        bench.called(on(number), 10);
    }
    assert!(bench.linker.tasks.len() <= 64);
    assert!(bench.linker.counters().threads_evicted > 900 - 64);
    bench.linker.process_ended(LOOP.pid);
    assert_eq!(bench.linker.tasks.len(), 0);
}
