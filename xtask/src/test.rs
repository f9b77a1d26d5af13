//! Test: check, then every test there is, then one line that says how many.
//!
//! Enters: the repository. Leaves: a closing line and an exit status. What cannot run here says why and is counted.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use spanhound_tests::load::{Load, Plan};
use spanhound_tests::need::{self, Need};
use spanhound_tests::shop::Shop;
use spanhound_tests::stage::Stage;
use spanhound_tests::tree;
use spanhound_tests::watch::{Binaries, Watch};

use crate::setup::{Group, ensure};
use crate::{build, check, command, fuzz, vm};

#[derive(Default)]
struct Totals {
    passed: u64,
    failed: u64,
    skipped: Vec<String>,
}

pub(crate) fn all() -> Result<()> {
    let started = Instant::now();
    ensure(&[Group::Ebpf, Group::Page, Group::Services])?;
    need::forget_skipped()?;
    let mut totals = Totals::default();
    let mut failed = Vec::new();
    type Part = fn(&mut Totals) -> Result<()>;
    let parts: [(&str, Part); 6] = [
        ("check", |_| check::all()),
        ("rust", rust),
        ("fuzz", |_| fuzz::bounded()),
        ("page", page),
        ("browser", browser),
        ("other kernels", other_kernels),
    ];
    for (name, part) in parts {
        let part_started = Instant::now();
        let result = part(&mut totals);
        println!("test: {name}: {:.0} s", part_started.elapsed().as_secs_f64());
        if let Err(error) = result {
            eprintln!("test: {name}: {error:#}");
            failed.push(name);
        }
    }
    totals.skipped.extend(need::skipped());
    for reason in &totals.skipped {
        println!("test: not run: {reason}");
    }
    println!(
        "test: {} passed, {} failed, {} not run, in {:.0} s",
        totals.passed,
        totals.failed,
        totals.skipped.len(),
        started.elapsed().as_secs_f64()
    );
    if failed.is_empty() {
        Ok(())
    } else {
        bail!("failed: {}", failed.join(", "))
    }
}

/// Unit, property and end-to-end tests of the workspace.
fn rust(totals: &mut Totals) -> Result<()> {
    build::all(false)?;
    let mut tests = command::cargo();
    let nextest = command::output(command::cargo().args(["nextest", "--version"])).is_ok();
    if nextest {
        tests.args([
            "nextest",
            "run",
            "--workspace",
            "--no-fail-fast",
            "--cargo-quiet",
            "--status-level=fail",
        ]);
    } else {
        tests.args(["test", "--quiet", "--workspace", "--no-fail-fast"]);
    }
    count(&mut tests, totals)
}

fn page(totals: &mut Totals) -> Result<()> {
    let web = tree::root().join("web");
    count(
        command::in_directory("npm", &web).args(["test", "--silent", "--if-present"]),
        totals,
    )
}

/// The page in a real browser, showing the shop that the agent watches on this kernel.
fn browser(totals: &mut Totals) -> Result<()> {
    ensure(&[Group::Browser, Group::Services])?;
    if !need::can_run("browser", &[Need::Root, Need::KernelTypes]) {
        return Ok(());
    }
    let mut stage = Stage::open("test-browser")?;
    let shop = Shop::start(&mut stage, &mut |_| {})?;
    let mut watch = Watch::new(Binaries::built("debug"), 24470, 24471)?;
    watch.exclude_pids.push(std::process::id());
    watch.start(&mut stage)?;
    let plan = Plan {
        requests_per_second: 40.0,
        at_most: Duration::from_secs(30),
        customers: 16,
    };
    // It has ended when the browser looks: both see the same numbers then.
    let load = Load::start(shop.port, plan)?;
    while !load.finished() {
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(load);
    watch.wait_quiet()?;
    let page = watch.page();
    let mut tests = command::in_directory("npm", &tree::root().join("tests/web"));
    count(
        tests.args(["test", "--silent"]).env("SPANHOUND_PAGE_URL", page),
        totals,
    )
}

/// The capture suite in virtual machines. Kernels that cannot be fetched fail it.
fn other_kernels(totals: &mut Totals) -> Result<()> {
    vm::in_ci(&mut |line| {
        let (passed, failed) = closing_line(line);
        totals.passed += passed;
        totals.failed += failed;
    })
}

/// Runs it, shows what it says, and adds up the closing lines it is known for.
fn count(command: &mut Command, totals: &mut Totals) -> Result<()> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start the tests")?;
    let lines = |pipe: Box<dyn std::io::Read + Send>| {
        std::thread::spawn(move || {
            let mut sum = (0, 0);
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                println!("{line}");
                let (passed, failed) = closing_line(&line);
                sum = (sum.0 + passed, sum.1 + failed);
            }
            sum
        })
    };
    let pipes: [Option<Box<dyn std::io::Read + Send>>; 2] = [
        child.stdout.take().map(|pipe| Box::new(pipe) as _),
        child.stderr.take().map(|pipe| Box::new(pipe) as _),
    ];
    for reader in pipes.into_iter().flatten().map(lines).collect::<Vec<_>>() {
        if let Ok((passed, failed)) = reader.join() {
            totals.passed += passed;
            totals.failed += failed;
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("tests failed: {status}");
    }
    Ok(())
}

/// How many passed and failed, by a line such as `... 12 passed, 1 failed ...` of nextest, libtest, or the page's runner.
fn closing_line(line: &str) -> (u64, u64) {
    let plain = without_colour(line);
    let text = plain.trim();
    let closing = ["Summary [", "test result:", "Tests  "]
        .iter()
        .any(|start| text.starts_with(start))
        || (text.starts_with(|letter: char| letter.is_ascii_digit()) && text.ends_with(" failed"));
    if !closing {
        return (0, 0);
    }
    let words: Vec<&str> = text
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let before = |name: &str| {
        words
            .windows(2)
            .find(|pair| pair[1] == name)
            .and_then(|pair| pair[0].parse().ok())
            .unwrap_or(0)
    };
    (before("passed"), before("failed"))
}

fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("\u{1b}[") {
        plain.push_str(&rest[..at]);
        let sequence = &rest[at + 2..];
        rest = sequence.find('m').map_or("", |end| &sequence[end + 1..]);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_the_runners_are_added_up() {
        let nextest = "     Summary [  32.711s] 212 tests run: 210 passed (1 slow), 2 failed, 3 skipped";
        assert_eq!(closing_line(nextest), (210, 2));
        assert_eq!(
            closing_line("test result: ok. 8 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out"),
            (8, 0)
        );
        assert_eq!(
            closing_line("\u{1b}[2m      Tests \u{1b}[22m \u{1b}[1m\u{1b}[32m41 passed\u{1b}[39m (41)"),
            (41, 0)
        );
        assert_eq!(closing_line("      Tests  1 failed | 40 passed (41)"), (40, 1));
        assert_eq!(closing_line("23 passed, 1 failed"), (23, 1));
        assert_eq!(closing_line("it said: 5 passed"), (0, 0));
    }
}
