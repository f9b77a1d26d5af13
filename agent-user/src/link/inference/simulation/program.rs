//! What an application does for each request.

use super::distort::Distortion;
use super::time::Time;

/// What a request does next.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Occupies the processor (one of the application's; the only one where it is an event loop).
    Work(Time),
    /// Waits for a time, without a processor.
    Wait(Time),
    /// Calls a backend, by its index.
    Call(usize),
    /// Branches started one after the other, each when the former first waits for something; goes on when all are over.
    Together(Vec<Vec<Act>>),
    /// A branch nobody waits for.
    Detached(Vec<Act>),
    /// With a probability the first, else the second.
    Either(f64, Vec<Act>, Vec<Act>),
    /// So many times at least and at most.
    Repeat(usize, usize, Vec<Act>),
    /// Calls a backend until it succeeds: probability of failure, attempts at most, and the wait between two.
    Retry(usize, f64, usize, Time),
    /// Waits for a place in a pool, by its index, and holds it meanwhile.
    Hold(usize, Vec<Act>),
    /// The response goes out here; what follows outlives the request.
    Respond,
}

/// What is called, and how it answers.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    pub(crate) name: String,
    /// To get there and back.
    pub(crate) network: Time,
    pub(crate) service: Time,
    /// Calls served at once; further ones queue there.
    pub(crate) servers: usize,
    /// Connections to it; further calls queue before they begin.
    pub(crate) connections: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) share: f64,
    pub(crate) acts: Vec<Act>,
}

/// When requests come.
#[derive(Clone, Debug)]
pub(crate) enum Arrivals {
    /// Independently, so many microseconds apart in the mean.
    Poisson(f64),
    /// Evenly, with some jitter.
    Even(f64),
    /// Independently, five times as often in one fifth of the time.
    Bursts(f64),
    /// Independently, four times as often from the middle of all requests on.
    Rising(f64),
    /// So many users, each of whom waits for the response and a moment more.
    Closed(usize, Time),
}

/// Calls that no request makes: backend, mean time between them in microseconds, and whether it is kept by a clock.
#[derive(Clone, Debug)]
pub(crate) struct Timer {
    pub(crate) backend: usize,
    pub(crate) interval_us: f64,
    pub(crate) regular: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Application {
    pub(crate) style: &'static str,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) backends: Vec<Backend>,
    /// Places in each pool.
    pub(crate) pools: Vec<usize>,
    pub(crate) processors: usize,
    /// The processor also reads requests and responses, in turn.
    pub(crate) event_loop: bool,
    pub(crate) arrivals: Arrivals,
    pub(crate) timers: Vec<Timer>,
    /// How much requests differ in size, which all their times share: sigma of the logarithm.
    pub(crate) size_sigma: f64,
    pub(crate) requests: usize,
    pub(crate) distortion: Distortion,
}
