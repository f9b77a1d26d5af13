//! How fast protocols are parsed: megabytes and messages a second on one core, allocations a message, over the recordings
//! in `tests/wire` and two made-up HTTP streams.

use anyhow::Result;

use super::example;
use crate::command;

pub(super) fn run() -> Result<()> {
    command::run(&mut example("spanhound-agent", "parse_speed"))
}
