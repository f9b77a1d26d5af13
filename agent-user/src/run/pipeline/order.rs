//! Orders: what capture should do, decided by the pipeline because only there protocols are known.
//!
//! Enters: what connections and processes turn out to be. Leaves: orders, in a list of bounded length.

use spanhound_common::{JavaThread, ProcessRule};

use crate::event::ConnectionId;
use crate::process::{GoFunctions, PythonProgram};

/// Orders to capture kept between two of its polls.
const ORDERS_MAX: usize = 4_096;

/// One thing that capture should do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    SetBudget {
        connection: ConnectionId,
        bytes: u32,
    },
    Ignore {
        connection: ConnectionId,
    },
    SetProcess {
        pid: u32,
        rule: ProcessRule,
    },
    /// Sees for whom the connections of a Go program's clients write, and which goroutine serves a stream.
    WatchGo {
        pid: u32,
        functions: GoFunctions,
    },
    /// Reads which tasks of a Python program write and connect.
    WatchPython {
        pid: u32,
        program: Box<PythonProgram>,
    },
    /// Reads which virtual threads these threads of a Java program carry.
    WatchJava {
        pid: u32,
        carriers: Vec<(u32, JavaThread)>,
    },
    ForgetProcess {
        pid: u32,
    },
}

/// Notes an order; false where there are too many.
pub(super) fn order_in(orders: &mut Vec<Order>, turned_away: &mut u64, order: Order) -> bool {
    let fits = orders.len() < ORDERS_MAX;
    if fits {
        orders.push(order);
    } else {
        *turned_away += 1;
    }
    fits
}
