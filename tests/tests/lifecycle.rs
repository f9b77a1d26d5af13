//! The agent's life beside a machine that goes on: it leaves no kernel program, outlives a collector that is away, says
//! what it cannot do, and is not led astray by garbage.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use spanhound_tests::load::agent as client;
use spanhound_tests::need::{Need, can_run};
use spanhound_tests::service::Nginx;
use spanhound_tests::stage::{Signal, Stage, free};
use spanhound_tests::watch::{AGENT, Binaries, COLLECTOR, Watch};

const KERNEL: [Need; 2] = [Need::Root, Need::KernelTypes];

/// Kernel programs that a process holds, by the ids in its descriptors.
fn programs_of(pid: u32) -> Result<BTreeSet<u32>> {
    let mut programs = BTreeSet::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo"))?.flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        programs.extend(
            text.lines()
                .filter_map(|line| line.strip_prefix("prog_id:")?.trim().parse::<u32>().ok()),
        );
    }
    Ok(programs)
}

fn loaded() -> BTreeSet<u32> {
    aya::programs::loaded_programs()
        .flatten()
        .map(|program| program.id())
        .collect()
}

/// Waits for what another process or the kernel does in its own time.
fn until(what: &str, mut is: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is()? {
        if Instant::now() > deadline {
            bail!("{what}: not within 30 s");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn requests(port: u16, path: &str, count: u32) -> Result<()> {
    let client = client();
    for _ in 0..count {
        client
            .get(format!("http://127.0.0.1:{port}{path}"))
            .call()?
            .body_mut()
            .read_to_vec()?;
    }
    Ok(())
}

/// Spans that the map shows at the node of nginx.
fn nginx_spans(watch: &Watch) -> Result<u64> {
    let map = watch.get("map")?;
    let nodes = map["nodes"].as_array().context("the map has no nodes")?;
    let of_nginx = nodes
        .iter()
        .filter(|node| node["name"].as_str().is_some_and(|name| name.contains("nginx")));
    Ok(of_nginx
        .filter_map(|node| node["summary"]["count"].as_u64())
        .sum())
}

fn static_nginx(stage: &mut Stage) -> Result<u16> {
    let http = "    server { listen 127.0.0.1:PORT; location / { return 200 \"fine\\n\"; } }";
    Ok(Nginx::start(stage, free(0)?, 1, http)?.port)
}

/// nginx is watched, the collector killed, and then come so many requests.
fn requests_nobody_collects(stage: &mut Stage, path: &str, count: u32) -> Result<Watch> {
    let port = static_nginx(stage)?;
    let mut watch = Watch::new(Binaries::built("debug"), 0, 0)?;
    watch.only(&["/usr/sbin/nginx"]);
    watch.start(stage)?;
    stage.stop_with(COLLECTOR, Signal::Kill)?;
    requests(port, path, count)?;
    Ok(watch)
}

#[test]
fn no_kernel_program_outlives_the_agent_however_it_ends() {
    if !can_run("no_kernel_program_outlives_the_agent", &KERNEL) {
        return;
    }
    for (signal, clean) in [
        (Signal::Terminate, true),
        (Signal::Interrupt, true),
        (Signal::Kill, false),
    ] {
        let mut stage = Stage::open("test-end").unwrap();
        let watch = Watch::new(Binaries::built("debug"), 0, 0).unwrap();
        watch.start_collector(&mut stage).unwrap();
        let pid = watch.start_agent(&mut stage).unwrap();
        watch.wait_attached(&mut stage).unwrap();
        let programs = programs_of(pid).unwrap();
        assert!(
            !programs.is_empty() && programs.is_subset(&loaded()),
            "the agent's programs are loaded"
        );
        let status = stage.stop_with(AGENT, signal).unwrap();
        assert_eq!(
            status.success(),
            clean,
            "{signal:?}: {status}\n{}",
            stage.last_words(AGENT)
        );
        // The kernel frees them after a grace period.
        until("the kernel lets go of the programs", || {
            Ok(loaded().is_disjoint(&programs))
        })
        .unwrap();
        let pinned = std::fs::read_dir("/sys/fs/bpf").map_or(0, |entries| {
            entries
                .flatten()
                .filter(|entry| entry.file_name().to_string_lossy().contains("spanhound"))
                .count()
        });
        assert_eq!(pinned, 0, "something is pinned");
    }
}

#[test]
fn a_restarted_agent_goes_on_with_open_connections() {
    if !can_run("a_restarted_agent_goes_on", &KERNEL) {
        return;
    }
    let mut stage = Stage::open("test-restart").unwrap();
    let port = static_nginx(&mut stage).unwrap();
    let mut watch = Watch::new(Binaries::built("debug"), 0, 0).unwrap();
    watch.start(&mut stage).unwrap();
    let client = client();
    let request = || -> Result<()> {
        client
            .get(format!("http://127.0.0.1:{port}/kept"))
            .call()?
            .body_mut()
            .read_to_vec()?;
        Ok(())
    };
    for _ in 0..50 {
        request().unwrap();
    }
    until("the first spans arrive", || Ok(nginx_spans(&watch)? == 50)).unwrap();
    let first_ms = watch.agent_started_ms().unwrap();
    stage.stop_with(AGENT, Signal::Kill).unwrap();
    watch.start_agent(&mut stage).unwrap();
    watch.wait_started_after(&mut stage, first_ms).unwrap();
    // On the same connection, which the second agent did not see open.
    for _ in 0..50 {
        request().unwrap();
    }
    until("the spans of the second agent arrive", || {
        Ok(nginx_spans(&watch)? >= 100)
    })
    .unwrap();
    assert_eq!(nginx_spans(&watch).unwrap(), 100);
}

#[test]
fn what_happens_while_the_collector_is_away_arrives_when_it_is_back() {
    if !can_run("the_collector_is_away", &KERNEL) {
        return;
    }
    let mut stage = Stage::open("test-away").unwrap();
    let watch = requests_nobody_collects(&mut stage, "/while-away", 500).unwrap();
    assert!(
        stage.ended(AGENT).unwrap().is_none(),
        "{}",
        stage.last_words(AGENT)
    );
    watch.start_collector(&mut stage).unwrap();
    until("the spans of the time before arrive", || {
        Ok(nginx_spans(&watch)? >= 500)
    })
    .unwrap();
    assert_eq!(nginx_spans(&watch).unwrap(), 500, "each once");
    assert_eq!(watch.losses().unwrap(), []);
}

#[test]
fn what_a_stopping_agent_cannot_hand_over_the_next_one_does() {
    if !can_run("the_next_agent_hands_over", &KERNEL) {
        return;
    }
    let mut stage = Stage::open("test-hand-over").unwrap();
    let watch = requests_nobody_collects(&mut stage, "/before-the-stop", 300).unwrap();
    stage.stop_with(AGENT, Signal::Terminate).unwrap();
    let kept = stage.directory().join("buffer/collector");
    assert!(kept.exists(), "{}", stage.last_words(AGENT));
    watch.start_collector(&mut stage).unwrap();
    watch.start_agent(&mut stage).unwrap();
    until("the spans of the agent before arrive", || {
        Ok(nginx_spans(&watch)? >= 300)
    })
    .unwrap();
    assert_eq!(nginx_spans(&watch).unwrap(), 300, "each once");
    assert_eq!(watch.losses().unwrap(), []);
    assert!(!kept.exists());
}

#[test]
fn garbage_on_a_watched_socket_disturbs_nobody() {
    if !can_run("garbage_on_a_watched_socket", &KERNEL) {
        return;
    }
    let mut stage = Stage::open("test-garbage").unwrap();
    let port = static_nginx(&mut stage).unwrap();
    let mut watch = Watch::new(Binaries::built("debug"), 0, 0).unwrap();
    watch.start(&mut stage).unwrap();
    requests(port, "/before", 20).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let sink = listener.local_addr().unwrap();
    let swallow = std::thread::spawn(move || {
        for stream in listener.incoming().take(64).flatten() {
            let mut stream = stream;
            let mut all = Vec::new();
            // A reset is as good an end as another.
            let _ = stream.read_to_end(&mut all);
        }
    });
    let mut random = fastrand::Rng::with_seed(7);
    for number in 0..64_usize {
        // Beginnings that several protocols recognise, then noise; and noise alone.
        let openings: [&[u8]; 6] = [
            b"GET / HT",
            b"*3\r\n$3\r\nSET\r\n$9",
            b"\0\0\0\x52\0\x03\0\0user",
            b"PRI * HT",
            b"",
            b"\x16\x03\x01",
        ];
        let mut bytes = openings[number % openings.len()].to_vec();
        bytes.extend((0..random.usize(1..20_000)).map(|_| random.u8(..)));
        let mut stream = TcpStream::connect(sink).unwrap();
        stream.write_all(&bytes).unwrap();
        // nginx gets some of it too, and answers 400 or closes.
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let _ = stream.write_all(&bytes[..bytes.len().min(500)]);
    }
    swallow.join().unwrap();
    let before = nginx_spans(&watch).unwrap();
    requests(port, "/after", 100).unwrap();
    until("requests after the garbage are seen", || {
        Ok(nginx_spans(&watch)? >= before.max(20) + 100)
    })
    .unwrap();
    assert!(
        stage.ended(AGENT).unwrap().is_none(),
        "{}",
        stage.last_words(AGENT)
    );
}

fn doctor(user: Option<u32>) -> std::io::Result<Output> {
    let mut command = Command::new(Binaries::built("debug").agent);
    command.arg("doctor");
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    command.output()
}

#[test]
fn doctor_tells_what_serves_each_event_and_what_is_missing() {
    if !can_run("doctor", &KERNEL) {
        return;
    }
    let output = doctor(None).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("tracepoint"), "{text}");
}

#[test]
fn doctor_without_privileges_names_them() {
    if !can_run("doctor_without_privileges", &[Need::Root]) {
        return;
    }
    let output = doctor(Some(65_534)).unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("CAP_BPF"), "{text}");
}

/// Runs a binary that should refuse to start; returns what it said.
fn refusal(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    anyhow::ensure!(!output.status.success(), "it started: {text}");
    anyhow::ensure!(!text.contains("panicked"), "{text}");
    Ok(text)
}

#[test]
fn a_configuration_that_cannot_be_used_is_refused_by_name() {
    let stage = Stage::open("test-refused").unwrap();
    let Binaries { agent, collector } = Binaries::built("debug");
    let absent = stage.directory().join("absent.toml");
    let broken = stage.directory().join("broken.toml");
    std::fs::write(&broken, "no_such_setting = 1\n").unwrap();
    for (path, named) in [(&absent, "absent.toml"), (&broken, "no_such_setting")] {
        let said = refusal(Command::new(&agent).args(["run", "--config"]).arg(path)).unwrap();
        assert!(said.contains(named), "{said}");
        let said = refusal(Command::new(&collector).arg("--config").arg(path)).unwrap();
        assert!(said.contains(named), "{said}");
    }
}

#[test]
fn a_collector_that_cannot_listen_or_write_says_where() {
    let stage = Stage::open("test-unusable").unwrap();
    let collector = Binaries::built("debug").collector;
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let start = |listen: &str, directory: &str| {
        let path = stage.directory().join("collector.toml");
        let text = format!(
            "http_listen = \"{listen}\"\ngrpc_listen = \"127.0.0.1:0\"\n[store]\ndirectory = {directory:?}\n"
        );
        std::fs::write(&path, text)?;
        refusal(Command::new(&collector).arg("--config").arg(&path))
    };
    let store = stage.directory().join("store");
    let said = start(&format!("127.0.0.1:{port}"), &store.to_string_lossy()).unwrap();
    assert!(said.contains(&port.to_string()), "{said}");
    // Not even root can make a directory there.
    let said = start("127.0.0.1:0", "/proc/spanhound").unwrap();
    assert!(said.contains("/proc/spanhound"), "{said}");
}
