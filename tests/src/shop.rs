//! Shop: a small web shop of unmodified services, none of which knows that it is watched.
//!
//! ```text
//! nginx -> catalog (Python, gunicorn) -> PostgreSQL, Redis, recommendations (Go) -> catalog
//!       -> cart (Node) -> Redis, catalog
//!       -> checkout (Java) -> cart, payment (Go), orders (Node) -> PostgreSQL
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::service::{Gunicorn, Nginx, Postgresql, Redis, node_modules, program, python_program};
use crate::stage::{Signal, Stage, free};
use crate::tree;

pub struct Shop {
    /// Where nginx listens.
    pub port: u16,
    pub services: Vec<Started>,
}

/// A service of the shop, for those who want to look at it from outside.
pub struct Started {
    pub name: &'static str,
    pub port: u16,
    pub pid: u32,
}

struct Ports {
    front: u16,
    catalog: u16,
    cart: u16,
    checkout: u16,
    orders: u16,
    payment: u16,
    recommendations: u16,
    postgresql: u16,
    redis: u16,
}

impl Shop {
    /// Starts all of it; services that others need first. `says` is told of each.
    pub fn start(stage: &mut Stage, says: &mut dyn FnMut(&str)) -> Result<Self> {
        let sources = tree::root().join("tests/shop");
        says("compiling the Go and Java services");
        let compiled = compile(&sources)?;
        let ports = Ports {
            front: free(24080)?,
            catalog: free(24081)?,
            cart: free(24082)?,
            checkout: free(24083)?,
            orders: free(24084)?,
            payment: free(24085)?,
            recommendations: free(24086)?,
            postgresql: free(24432)?,
            redis: free(24379)?,
        };
        let mut services = Vec::new();
        let mut note = |name: &'static str, port: u16, pid: u32| {
            says(&format!("{name} listens on 127.0.0.1:{port}"));
            services.push(Started { name, port, pid });
        };

        let postgresql = Postgresql::start(stage, ports.postgresql)?;
        postgresql.execute(stage, &std::fs::read_to_string(sources.join("schema.sql"))?)?;
        note("postgresql", ports.postgresql, postgresql.pid);
        note("redis", ports.redis, Redis::start(stage, ports.redis)?.pid);

        let database = format!("postgresql://shop@127.0.0.1:{}/postgres", ports.postgresql);
        let at = |port: u16| format!("http://127.0.0.1:{port}");
        let mut start =
            |stage: &mut Stage, name: &'static str, mut command: Command, port: u16| -> Result<()> {
                command.env("PORT", port.to_string());
                let pid = stage.start_server(name, command, Signal::Terminate, port)?;
                note(name, port, pid);
                Ok(())
            };
        let mut recommendations = Command::new(compiled.join("shop-recommendations"));
        recommendations.env("CATALOG", at(ports.catalog));
        start(stage, "recommendations", recommendations, ports.recommendations)?;
        start(
            stage,
            "payment",
            Command::new(compiled.join("shop-payment")),
            ports.payment,
        )?;
        let mut orders = node(&sources.join("orders.js"))?;
        orders.env("DATABASE", &database);
        start(stage, "orders", orders, ports.orders)?;
        let mut cart = node(&sources.join("cart.js"))?;
        cart.env("CATALOG", at(ports.catalog))
            .env("REDIS_PORT", ports.redis.to_string());
        start(stage, "cart", cart, ports.cart)?;
        let mut checkout = Command::new(program("java")?);
        checkout
            .args(["-Xmx64m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-cp"])
            .arg(&compiled)
            .arg("Checkout");
        checkout
            .env("CART", at(ports.cart))
            .env("PAYMENT", at(ports.payment))
            .env("ORDERS", at(ports.orders));
        start(stage, "checkout", checkout, ports.checkout)?;

        let catalog = Gunicorn {
            directory: &sources,
            application: "catalog:application",
            workers: 2,
            threads: 8,
            environment: &[
                ("DATABASE", database.clone()),
                ("REDIS_PORT", ports.redis.to_string()),
                ("RECOMMENDATIONS", at(ports.recommendations)),
            ],
        };
        note(
            "catalog",
            ports.catalog,
            catalog.start(stage, "catalog", ports.catalog)?,
        );

        let http = std::fs::read_to_string(sources.join("nginx.conf"))?
            .replace("CATALOG", &ports.catalog.to_string())
            .replace("CART", &ports.cart.to_string())
            .replace("CHECKOUT", &ports.checkout.to_string());
        note(
            "nginx",
            ports.front,
            Nginx::start(stage, ports.front, 2, &http)?.pid,
        );
        Ok(Self {
            port: ports.front,
            services,
        })
    }
}

fn node(script: &Path) -> Result<Command> {
    let mut command = Command::new(program("node")?);
    command.arg(script).env("NODE_PATH", node_modules());
    Ok(command)
}

/// Compiles the Go and Java services into the target directory, where they are newer than what is there.
fn compile(sources: &Path) -> Result<PathBuf> {
    let directory = tree::target().join("shop");
    std::fs::create_dir_all(&directory)?;
    let go = python_program("go")?;
    for service in ["payment", "recommendations"] {
        // Go's own cache knows whether there is anything to do.
        let mut build = Command::new(&go);
        build
            .current_dir(sources.join("go"))
            .arg("build")
            .arg("-o")
            .arg(directory.join(format!("shop-{service}")));
        build
            .arg(format!("./{service}"))
            .env("GOFLAGS", "-mod=mod")
            .env("GOTOOLCHAIN", "local");
        build
            .env("GOPROXY", "off")
            .env("CGO_ENABLED", "0")
            .env("GOCACHE", tree::target().join("go-cache"));
        finish(build)?;
    }
    let class = directory.join("Checkout.class");
    let source = sources.join("Checkout.java");
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    if modified(&class) < modified(&source) {
        let mut javac = Command::new(program("javac")?);
        javac.arg("-d").arg(&directory).arg(&source);
        finish(javac)?;
    }
    Ok(directory)
}

fn finish(mut command: Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    anyhow::ensure!(
        output.status.success(),
        "{name} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
