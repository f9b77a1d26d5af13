//! A Tokio service (hyper, many threads) whose requests call the leaf. Paths are /keep|close/PATTERN/item/NUMBER.

use std::convert::Infallible;
use std::error::Error;
use std::sync::LazyLock;

use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

type Leaf = Client<HttpConnector, Empty<Bytes>>;
type Failure = Box<dyn Error + Send + Sync>;

static KEPT: LazyLock<Leaf> = LazyLock::new(|| Client::builder(TokioExecutor::new()).build_http());
static CLOSED: LazyLock<Leaf> = LazyLock::new(|| {
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build_http()
});
static LEAF: LazyLock<String> = LazyLock::new(|| {
    format!(
        "http://127.0.0.1:{}",
        std::env::var("LEAF_PORT").unwrap_or_default()
    )
});

async fn call(keep: bool, path: String) -> Result<u16, Failure> {
    let address: Uri = format!("{}{path}", *LEAF).parse()?;
    let client = if keep { &*KEPT } else { &*CLOSED };
    let answer = client.get(address).await?;
    let status = answer.status().as_u16();
    answer.into_body().collect().await?;
    Ok(status)
}

async fn work(path: &str) -> Result<(), Failure> {
    let parts: Vec<&str> = path.splitn(4, '/').collect();
    let [_, mode, pattern, rest] = parts[..] else {
        return Err("no such path".into());
    };
    let keep = mode == "keep";
    let of = |what: &str| format!("/{what}/{rest}");
    match pattern {
        "parallel" => {
            let calls = ["stock", "price", "review"].map(|what| tokio::spawn(call(keep, of(what))));
            for one in calls {
                one.await??;
            }
        }
        "retry" => {
            if call(keep, of("flaky")).await? != 200 {
                call(keep, of("flaky")).await?;
            }
        }
        _ => {
            call(keep, of("stock")).await?;
            call(keep, of("price")).await?;
        }
    }
    Ok(())
}

async fn serve(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut answer = Response::new(Full::from("done\n"));
    if let Err(error) = work(request.uri().path()).await {
        eprintln!("{error}");
        *answer.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
    }
    Ok(answer)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let port: u16 = std::env::var("PORT")?.parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let service = hyper::service::service_fn(serve);
            // A client that goes away is no failure of the service.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
