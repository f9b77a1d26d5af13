//! The page's files, built into the binary from `web/dist`. Enters: a path. Leaves: the file, or the page itself for any
//! path without an extension, so that the page's own addresses can be opened. Bounded: by what was built in. Absent on purpose: everything dynamic; the
//! page asks the API.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use include_dir::{Dir, include_dir};

static FILES: Dir<'_> = include_dir!("$SPANHOUND_PAGE");

/// The page talks to its own collector and to nobody else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      font-src 'self'; connect-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'";

/// Answers `GET` for every path no other room serves.
pub async fn serve(uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    let is_asset = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    match FILES.get_file(path) {
        Some(file) if path != "index.html" => answer(path, file.contents()),
        None if is_asset => (StatusCode::NOT_FOUND, "there is no such file\n").into_response(),
        _ => match FILES.get_file("index.html") {
            Some(file) => answer("index.html", file.contents()),
            None => (StatusCode::NOT_FOUND, "there is no page\n").into_response(),
        },
    }
}

fn answer(path: &str, content: &'static [u8]) -> Response {
    // The build names files below assets/ by their content.
    let caching = if path.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let headers: [(HeaderName, &str); 6] = [
        (CONTENT_TYPE, content_type(path)),
        (CACHE_CONTROL, caching),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, content).into_response()
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_page_answers_its_own_addresses_and_missing_files_are_missing() {
        for path in ["/", "/index.html", "/traces/00ff"] {
            let answer = serve(path.parse().unwrap()).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            assert_eq!(answer.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
            assert_eq!(answer.headers()[CACHE_CONTROL], "no-cache");
            assert!(answer.headers().contains_key(CONTENT_SECURITY_POLICY));
        }
        for path in ["/assets/missing.js", "/../Cargo.toml", "/favicon.gif"] {
            assert_eq!(
                serve(path.parse().unwrap()).await.status(),
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
    }
}
