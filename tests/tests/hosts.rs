//! Two hosts with an agent each and address translation between them: every call is joined with the request it became on
//! the other host, whichever agent's spans come first.

use std::collections::BTreeMap;
use std::ops::Range;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use spanhound_tests::hosts::{Hosts, TRANSLATED};
use spanhound_tests::links::go;
use spanhound_tests::load::agent as client;
use spanhound_tests::need::{Need, can_run};
use spanhound_tests::service::program;
use spanhound_tests::spans::{Span, stored};
use spanhound_tests::stage::{Signal, Stage, free, send};
use spanhound_tests::watch::{Binaries, Watch};

const FRONT: &str = "links-front";
const BACK: &str = "links-back";
const FIRST_NUMBER: u64 = 800_000_000;
const REQUESTS: u64 = 200;

/// Calls of one request, see `tests/links/go/server`.
fn calls(number: u64) -> u64 {
    if is_parallel(number) { 3 } else { 2 }
}

fn is_parallel(number: u64) -> bool {
    number % 2 == 1
}

#[test]
fn calls_are_joined_with_what_they_became_on_another_host() {
    if !can_run("hosts", &[Need::Root, Need::KernelTypes]) {
        return;
    }
    let mut stage = Stage::open("hosts").unwrap();
    let port = free(24_520).unwrap();
    let hosts = match Hosts::start(port) {
        Ok(hosts) => hosts,
        Err(error) => panic!("no network with address translation can be made here: {error:#}"),
    };
    let mut back = Command::new(go("leaf").unwrap());
    back.env("OTEL_SERVICE_NAME", BACK)
        .env("HOST", "0.0.0.0")
        .env("PORT", port.to_string());
    let back = hosts.on_back(&back).unwrap();
    stage.start("back", back, Signal::Terminate).unwrap();
    let mut front = Command::new(go("server").unwrap());
    front
        .env("OTEL_SERVICE_NAME", FRONT)
        .env("PORT", port.to_string());
    front
        .env("LEAF_HOST", TRANSLATED)
        .env("LEAF_PORT", port.to_string());
    let front = hosts.on_front(&front).unwrap();
    stage.start("front", front, Signal::Terminate).unwrap();

    let watch = Watch::new(Binaries::built("debug"), 24_521, 24_522).unwrap();
    watch.start_collector(&mut stage).unwrap();
    let agents = [FRONT, BACK].map(|service| start_agent(&mut stage, &watch, service).unwrap());
    wait_for(&watch, "two agents", |agents| {
        let attached =
            |agent: &&serde_json::Value| agent["hooks"].as_array().is_some_and(|hooks| !hooks.is_empty());
        agents["agents"]
            .as_array()
            .is_some_and(|agents| agents.iter().filter(attached).count() == 2)
    })
    .unwrap();
    wait_answering(&hosts, port).unwrap();

    let from_ms = unix_ms();
    let mut next = FIRST_NUMBER;
    for (late, silent) in agents.iter().zip(["front", "back"]) {
        let numbers = next..next + REQUESTS;
        next = numbers.end;
        // The other agent's spans are stored when this one's come.
        send(*late, Signal::Stop);
        request(&hosts, port, numbers.clone()).unwrap();
        let before = spans_stored(&watch).unwrap();
        wait_for(&watch, &format!("the spans beside a silent {silent}"), |agents| {
            agents["collector"]["spans_stored"].as_u64()
                >= Some(before + numbers.clone().map(calls).sum::<u64>() / 2)
        })
        .unwrap();
        send(*late, Signal::Continue);
    }
    let numbers = FIRST_NUMBER..next;
    let calls: u64 = numbers.clone().map(calls).sum();
    let expected = 2 * calls + (numbers.end - numbers.start);
    let deadline = Instant::now() + Duration::from_secs(60);
    let spans = loop {
        let spans = stored(&watch, from_ms, unix_ms() + 1_000).unwrap();
        if of(&spans, &numbers).count() as u64 >= expected || Instant::now() > deadline {
            break spans;
        }
        std::thread::sleep(Duration::from_secs(1));
    };
    assert_eq!(
        of(&spans, &numbers).count() as u64,
        expected,
        "spans of all requests"
    );
    let mut joined = 0;
    for span in of(&spans, &numbers).filter(|span| span.service == BACK) {
        let parent = span.parent.as_ref().and_then(|parent| spans.get(parent));
        let parent = parent.unwrap_or_else(|| panic!("not joined: {span:?}"));
        assert!(
            parent.service == FRONT && parent.kind == "client" && parent.target == span.target,
            "{span:?} is not the other end of {parent:?}"
        );
        assert_eq!(
            (span.method.as_str(), span.confidence.as_str()),
            ("tcp", "exact"),
            "{span:?}"
        );
        assert_eq!(span.trace, parent.trace);
        joined += 1;
    }
    assert_eq!(joined, calls, "every call became one request on the other host");
    assert_eq!(watch.losses().unwrap(), [], "a loss counter is not zero");
}

fn of<'a>(spans: &'a BTreeMap<String, Span>, numbers: &'a Range<u64>) -> impl Iterator<Item = &'a Span> {
    spans
        .values()
        .filter(|span| span.number.is_some_and(|number| numbers.contains(&number)))
}

/// An agent that watches one service, on a host of its own as far as names go.
fn start_agent(stage: &mut Stage, watch: &Watch, service: &str) -> Result<u32> {
    let configuration = stage.directory().join(format!("{service}.toml"));
    std::fs::write(
        &configuration,
        format!(
            "[collector]\nurl = \"http://127.0.0.1:{}\"\n[buffer]\ndirectory = \"\"\n[capture]\nring_bytes = 67108864\n\
             [[select.include]]\nservice = {service:?}\n",
            watch.grpc_port
        ),
    )?;
    let machine = stage.directory().join(format!("{service}.machine-id"));
    std::fs::write(&machine, format!("{service}\n"))?;
    let script = "hostname \"$1\"; if [ -e /etc/machine-id ]; then mount --bind \"$2\" /etc/machine-id; fi; \
                  exec \"$3\" run --config \"$4\"";
    let mut command = Command::new(program("unshare")?);
    command
        .args(["--mount", "--uts", "--", "sh", "-ec", script, "sh", service])
        .arg(&machine)
        .arg(&Binaries::built("debug").agent)
        .arg(&configuration);
    stage.start(&format!("agent of {service}"), command, Signal::Terminate)
}

fn spans_stored(watch: &Watch) -> Result<u64> {
    let agents = watch.get("agents")?;
    agents["collector"]["spans_stored"]
        .as_u64()
        .context("no count of spans")
}

fn wait_for(watch: &Watch, what: &str, is: impl Fn(&serde_json::Value) -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let agents = watch.get("agents")?;
        if is(&agents) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{what}: not within a minute: {agents}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn wait_answering(hosts: &Hosts, port: u16) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = request(hosts, port, 0..8) {
        ensure!(Instant::now() < deadline, "the front does not answer: {error:#}");
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// From eight clients at once, on connections that are kept; every other request closes the one to the back.
fn request(hosts: &Hosts, port: u16, numbers: Range<u64>) -> Result<()> {
    let one = |client: &ureq::Agent, number: u64| -> Result<()> {
        let mode = if number % 4 < 2 { "keep" } else { "close" };
        let pattern = if is_parallel(number) {
            "parallel"
        } else {
            "sequence"
        };
        let address = format!("http://127.0.0.1:{port}/{mode}/{pattern}/item/{number}");
        let mut answer = client.get(&address).call()?;
        if answer.status() != 200 {
            bail!("{address} answers {}", answer.status());
        }
        answer.body_mut().read_to_vec()?;
        Ok(())
    };
    let workers = (0..8).map(|worker| {
        let mine = numbers.clone().filter(move |number| number % 8 == worker);
        move || hosts.from_front(|| mine.clone().try_for_each(|number| one(&client(), number)))
    });
    std::thread::scope(|scope| {
        let threads: Vec<_> = workers.map(|work| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("a client panicked")))
        })
    })
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
