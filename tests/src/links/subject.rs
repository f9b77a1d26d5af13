//! The subjects: what is started, how its requests look, what is watched. Adding one is a function and a row.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::Ports;
use super::program::{go, go_grpc, java, loops_python, newer_java, pool, sources, stripped_go, tokio};
use crate::service::{Gunicorn, Nginx, Postgresql, node_modules, program};
use crate::stage::{Signal, Stage};

/// What must be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// What the end-to-end tests have anyway.
    Services,
    /// `cargo xtask setup links`.
    Links,
}

pub struct Subject {
    pub name: &'static str,
    pub needs: Needs,
    /// Ways in which a request makes its calls, in turn.
    patterns: &'static [&'static str],
    /// Servers a request passes that are watched.
    pub(super) hops: u64,
    /// Rules of the agent's `select.include`, one key each.
    pub(super) select: &'static [&'static str],
    start: fn(&mut Stage, Ports, &Options) -> Result<()>,
}

/// What a subject's processes are told.
struct Options {
    environment: Vec<(&'static str, String)>,
}

const SYNCHRONOUS: &[&str] = &["sequence", "sequence", "retry"];
const PARALLEL: &[&str] = &["parallel"];
const ALL: &[&str] = &["sequence", "sequence", "parallel", "retry"];
const GRPC: &[&str] = &["sequence", "parallel", "retry", "stream", "cancel"];
const PROXY: &[&str] = &["proxy"];
/// Of several requests at once one makes a call, and all wait for its answer.
const SHARED: &[&str] = &["shared"];
const SERVICE: &[&str] = &["service = \"links-subject\""];
/// Stands for [`service_name`] in those rules.
pub(super) const SERVICE_NAME: &str = "links-subject";

/// What the subject's processes are told to be called: each run watches its own.
pub(super) fn service_name() -> String {
    format!("{SERVICE_NAME}-{}", std::process::id())
}

const fn subject(
    name: &'static str,
    needs: Needs,
    patterns: &'static [&'static str],
    start: fn(&mut Stage, Ports, &Options) -> Result<()>,
) -> Subject {
    Subject {
        name,
        needs,
        patterns,
        hops: 1,
        select: SERVICE,
        start,
    }
}

pub const SUBJECTS: &[Subject] = &[
    subject(
        "python-threads",
        Needs::Services,
        SYNCHRONOUS,
        |stage, ports, options| python(stage, ports, options, "threads"),
    ),
    subject(
        "python-threads-parallel",
        Needs::Services,
        PARALLEL,
        |stage, ports, options| python(stage, ports, options, "threads"),
    ),
    subject(
        "gunicorn-sync",
        Needs::Services,
        SYNCHRONOUS,
        |stage, ports, options| gunicorn(stage, ports, options, 4, 1),
    ),
    subject(
        "gunicorn-threads",
        Needs::Services,
        SYNCHRONOUS,
        |stage, ports, options| gunicorn(stage, ports, options, 2, 16),
    ),
    subject("asyncio", Needs::Services, ALL, |stage, ports, options| {
        python(stage, ports, options, "asyncio")
    }),
    subject("aiohttp", Needs::Links, ALL, |stage, ports, options| {
        let mut command = Command::new(loops_python("python")?);
        command.arg(sources().join("service.py")).arg("aiohttp");
        options.serve(stage, command, ports)
    }),
    subject("uvicorn", Needs::Links, ALL, |stage, ports, options| {
        uvicorn(stage, ports, options, &["--loop", "uvloop", "service:asgi"])
    }),
    subject("uvicorn-asyncio", Needs::Links, ALL, |stage, ports, options| {
        uvicorn(stage, ports, options, &["--loop", "asyncio", "service:asgi"])
    }),
    subject("starlette", Needs::Links, ALL, |stage, ports, options| {
        let how = ["--loop", "uvloop", "--factory", "service:starlette"];
        uvicorn(stage, ports, options, &how)
    }),
    subject("node-callbacks", Needs::Services, ALL, |stage, ports, options| {
        node(stage, ports, options, "callbacks")
    }),
    subject("node-promises", Needs::Services, ALL, |stage, ports, options| {
        node(stage, ports, options, "promises")
    }),
    subject("node-fetch", Needs::Services, ALL, |stage, ports, options| {
        node(stage, ports, options, "fetch")
    }),
    subject("node-shared", Needs::Services, SHARED, |stage, ports, options| {
        node(stage, ports, options, "promises")
    }),
    subject(
        "node-postgresql",
        Needs::Services,
        ALL,
        |stage, ports, options| {
            let postgresql = Postgresql::start(stage, ports.inner)?;
            let database = format!("postgresql://shop@127.0.0.1:{}/postgres", postgresql.port);
            let mut command = Command::new(program("node")?);
            command
                .arg(sources().join("service.js"))
                .arg("postgresql")
                .env("NODE_PATH", node_modules())
                .env("DATABASE", database);
            options.serve(stage, command, ports)
        },
    ),
    subject(
        "java-pool",
        Needs::Services,
        SYNCHRONOUS,
        |stage, ports, options| start_java(stage, ports, options, program("java")?, "pool"),
    ),
    subject(
        "java-pool-parallel",
        Needs::Services,
        PARALLEL,
        |stage, ports, options| start_java(stage, ports, options, program("java")?, "pool"),
    ),
    subject(
        "java-virtual",
        Needs::Services,
        SYNCHRONOUS,
        |stage, ports, options| start_java(stage, ports, options, newer_java()?, "virtual"),
    ),
    subject(
        "java-virtual-parallel",
        Needs::Services,
        PARALLEL,
        |stage, ports, options| start_java(stage, ports, options, newer_java()?, "virtual"),
    ),
    subject(
        "java-client",
        Needs::Services,
        SYNCHRONOUS,
        |stage, ports, options| start_java(stage, ports, options, program("java")?, "client"),
    ),
    subject("go", Needs::Services, ALL, |stage, ports, options| {
        options.serve(stage, Command::new(go("server")?), ports)
    }),
    subject("go-stripped", Needs::Services, ALL, |stage, ports, options| {
        options.serve(stage, Command::new(stripped_go("server")?), ports)
    }),
    subject("go-grpc", Needs::Services, GRPC, |stage, ports, options| {
        start_go_grpc(stage, ports, options, false)
    }),
    subject(
        "go-grpc-stripped",
        Needs::Services,
        GRPC,
        |stage, ports, options| start_go_grpc(stage, ports, options, true),
    ),
    Subject {
        hops: 2,
        ..subject("go-grpc-server", Needs::Services, GRPC, go_grpc_server)
    },
    Subject {
        select: &["executable = \"/usr/sbin/nginx\""],
        ..subject("nginx", Needs::Services, PROXY, nginx)
    },
    subject("uwsgi", Needs::Links, SYNCHRONOUS, uwsgi),
    Subject {
        select: &["executable = \"/usr/bin/ruby*\""],
        ..subject("puma", Needs::Links, SYNCHRONOUS, puma)
    },
    Subject {
        hops: 2,
        select: &[
            "executable = \"/usr/sbin/nginx\"",
            "executable = \"/usr/sbin/php-fpm*\"",
        ],
        ..subject("nginx-php-fpm", Needs::Links, SYNCHRONOUS, php)
    },
    Subject {
        select: &["executable = \"/usr/sbin/haproxy\""],
        ..subject("haproxy", Needs::Links, PROXY, haproxy)
    },
    subject("tokio", Needs::Services, ALL, |stage, ports, options| {
        options.serve(stage, Command::new(tokio()?), ports)
    }),
    subject("cpp-queue", Needs::Links, SYNCHRONOUS, |stage, ports, options| {
        options.serve(stage, Command::new(pool()?), ports)
    }),
];

impl Subject {
    pub(super) fn start(&self, stage: &mut Stage, ports: Ports, background: bool) -> Result<()> {
        let mut environment = vec![
            ("PORT", ports.subject.to_string()),
            ("INNER_PORT", ports.inner.to_string()),
            ("LEAF_HOST", "127.0.0.1".to_owned()),
            ("LEAF_PORT", ports.leaf.to_string()),
            ("OTEL_SERVICE_NAME", service_name()),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ];
        if background {
            environment.push(("BACKGROUND", "1".to_owned()));
        }
        (self.start)(stage, ports, &Options { environment })
    }

    fn pattern(&self, number: u64) -> &'static str {
        self.patterns[(number % self.patterns.len() as u64) as usize]
    }

    pub(super) fn path(&self, number: u64, keep: bool) -> String {
        let mode = if keep { "keep" } else { "close" };
        format!("/{mode}/{}/item/{number}", self.pattern(number))
    }

    /// Calls that one request makes at least, of all servers it passes.
    pub(super) fn calls(&self, number: u64) -> u64 {
        let own = match self.pattern(number) {
            "shared" => 0,
            "proxy" => 1,
            "parallel" => 3,
            _ => 2,
        };
        own + self.hops - 1
    }
}

impl Options {
    fn serve(&self, stage: &mut Stage, mut command: Command, ports: Ports) -> Result<()> {
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        stage.start_server("subject", command, Signal::Terminate, ports.subject)?;
        Ok(())
    }
}

fn python(stage: &mut Stage, ports: Ports, options: &Options, how: &str) -> Result<()> {
    let mut command = Command::new(crate::service::python_program("python")?);
    command.arg(sources().join("service.py")).arg(how);
    options.serve(stage, command, ports)
}

fn gunicorn(stage: &mut Stage, ports: Ports, options: &Options, workers: u32, threads: u32) -> Result<()> {
    let server = Gunicorn {
        directory: &sources(),
        application: "service:application",
        workers,
        threads,
        environment: &options.environment,
    };
    server.start(stage, "subject", ports.subject)?;
    Ok(())
}

fn uvicorn(stage: &mut Stage, ports: Ports, options: &Options, how: &[&str]) -> Result<()> {
    let mut command = Command::new(loops_python("python")?);
    command
        .args(["-m", "uvicorn", "--no-access-log", "--app-dir"])
        .arg(sources())
        .args(["--port", &ports.subject.to_string()])
        .args(how);
    options.serve(stage, command, ports)
}

fn node(stage: &mut Stage, ports: Ports, options: &Options, how: &str) -> Result<()> {
    let mut command = Command::new(program("node")?);
    command.arg(sources().join("service.js")).arg(how);
    options.serve(stage, command, ports)
}

fn start_java(stage: &mut Stage, ports: Ports, options: &Options, runtime: PathBuf, how: &str) -> Result<()> {
    let mut command = Command::new(runtime);
    command
        .args(["-Xmx64m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-cp"])
        .arg(java()?)
        .args(["Service", how]);
    options.serve(stage, command, ports)
}

/// HTTP in, gRPC out.
fn start_go_grpc(stage: &mut Stage, ports: Ports, options: &Options, stripped: bool) -> Result<()> {
    let program = go_grpc(stripped)?;
    start_grpc_leaf(stage, ports, &program)?;
    let mut front = Command::new(&program);
    front.arg("front").envs(behind(ports.own_leaf));
    options.serve(stage, front, ports)
}

/// The same, and gRPC in between: two hops.
fn go_grpc_server(stage: &mut Stage, ports: Ports, options: &Options) -> Result<()> {
    let program = go_grpc(false)?;
    start_grpc_leaf(stage, ports, &program)?;
    let mut middle = Command::new(&program);
    middle
        .arg("middle")
        .envs(options.environment.iter().map(|(name, value)| (name, value)))
        .env("PORT", ports.inner.to_string())
        .envs(behind(ports.own_leaf));
    stage.start_server("middle", middle, Signal::Terminate, ports.inner)?;
    let mut front = Command::new(&program);
    front.arg("front").env("PASS", "1").envs(behind(ports.inner));
    options.serve(stage, front, ports)
}

fn start_grpc_leaf(stage: &mut Stage, ports: Ports, program: &Path) -> Result<()> {
    let mut leaf = Command::new(program);
    leaf.arg("leaf")
        .env("PORT", ports.own_leaf.to_string())
        .env("OTEL_SERVICE_NAME", "links-grpc-leaf");
    stage.start_server("grpc-leaf", leaf, Signal::Terminate, ports.own_leaf)?;
    Ok(())
}

/// What a program that speaks gRPC calls, and that it may try again, which versions before 1.40 are asked for.
fn behind(port: u16) -> [(&'static str, String); 2] {
    [
        ("BEHIND", format!("127.0.0.1:{port}")),
        ("GRPC_GO_RETRY", "on".to_owned()),
    ]
}

fn nginx(stage: &mut Stage, ports: Ports, _: &Options) -> Result<()> {
    let http = "
    upstream kept { server 127.0.0.1:LEAF; keepalive 64; }
    server {
        listen 127.0.0.1:PORT backlog=512;
        location /keep/ { proxy_pass http://kept; proxy_http_version 1.1; proxy_set_header Connection \"\"; }
        location /close/ { proxy_pass http://127.0.0.1:LEAF; }
    }";
    Nginx::start(
        stage,
        ports.subject,
        2,
        &http.replace("LEAF", &ports.leaf.to_string()),
    )?;
    Ok(())
}

fn uwsgi(stage: &mut Stage, ports: Ports, options: &Options) -> Result<()> {
    let mut command = Command::new(program("uwsgi_python3")?);
    command
        .args([
            "--master",
            "--processes",
            "4",
            "--listen",
            "100",
            "--need-app",
            "--disable-logging",
            "--add-header",
            "Connection: close",
        ])
        .arg("--http-socket")
        .arg(format!("127.0.0.1:{}", ports.subject))
        .arg("--chdir")
        .arg(sources())
        .args(["--wsgi", "service:application"]);
    // Its processes answer SIGINT by ending, SIGTERM by starting anew.
    for (name, value) in &options.environment {
        command.env(name, value);
    }
    stage.start_server("subject", command, Signal::Interrupt, ports.subject)?;
    Ok(())
}

fn puma(stage: &mut Stage, ports: Ports, options: &Options) -> Result<()> {
    let mut command = Command::new(program("puma")?);
    command
        .args([
            "--threads",
            "16:16",
            "--environment",
            "production",
            "--quiet",
            "--bind",
        ])
        .arg(format!("tcp://127.0.0.1:{}", ports.subject))
        .arg(sources().join("config.ru"));
    options.serve(stage, command, ports)
}

/// nginx passes requests on by FastCGI; each of the two is one hop.
fn php(stage: &mut Stage, ports: Ports, _: &Options) -> Result<()> {
    let directory = stage.directory().to_path_buf();
    let configuration = directory.join("php-fpm.conf");
    let text = format!(
        "[global]\nerror_log = {0}/php-fpm-error.log\ndaemonize = no\n[www]\nlisten = 127.0.0.1:{1}\n\
         listen.backlog = 256\nuser = nobody\ngroup = nogroup\npm = static\npm.max_children = 8\n\
         env[LEAF_PORT] = {2}\n",
        directory.display(),
        ports.inner,
        ports.leaf
    );
    std::fs::write(&configuration, text)?;
    let mut command = Command::new(php_fpm()?);
    command
        .args(["--nodaemonize", "--fpm-config"])
        .arg(&configuration);
    stage.start_server("php-fpm", command, Signal::Terminate, ports.inner)?;
    let http = format!(
        "    server {{
        listen 127.0.0.1:PORT backlog=512;
        location / {{
            fastcgi_pass 127.0.0.1:{};
            fastcgi_param SCRIPT_FILENAME {}/service.php;
            fastcgi_param SCRIPT_NAME /service.php;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param REQUEST_URI $request_uri;
            fastcgi_param QUERY_STRING $query_string;
        }}
    }}",
        ports.inner,
        sources().display()
    );
    Nginx::start(stage, ports.subject, 2, &http)?;
    Ok(())
}

/// Debian names it by its version.
fn php_fpm() -> Result<PathBuf> {
    let found = std::fs::read_dir("/usr/sbin")?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("php-fpm"))
        });
    found.map_or_else(|| program("php-fpm"), Ok)
}

fn haproxy(stage: &mut Stage, ports: Ports, _: &Options) -> Result<()> {
    let configuration = stage.directory().join("haproxy.cfg");
    let text = format!(
        "global\n  nbthread 2\n  maxconn 1000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  \
         timeout server 60s\nfrontend front\n  bind 127.0.0.1:{0}\n  use_backend closed if {{ path_beg /close/ }}\n  \
         default_backend kept\nbackend kept\n  http-reuse always\n  server leaf 127.0.0.1:{1}\nbackend closed\n  \
         option httpclose\n  server leaf 127.0.0.1:{1}\n",
        ports.subject, ports.leaf
    );
    std::fs::write(&configuration, text)?;
    let mut command = Command::new(program("haproxy")?);
    command.args(["-db", "-f"]).arg(&configuration);
    stage.start_server("subject", command, Signal::Terminate, ports.subject)?;
    Ok(())
}
