//! Lets the page be embedded: when `web/dist` has not been built, a plain page that says so takes its place.

use std::path::Path;
use std::{env, fs, io};

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Spanhound</title>\
<p>This collector was built without its page. Build it with <code>cargo xtask page</code> and build the collector again. \
The API is at <a href=\"/api/v1/services\">/api/v1/services</a>.</p></html>\n";

fn main() -> io::Result<()> {
    let root = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let built = Path::new(&root).join("../web/dist");
    // Cargo takes a watched path that is not there for changed, always. Where the sources are read-only, so be it.
    let _ = fs::create_dir_all(&built);
    println!("cargo::rerun-if-changed={}", built.display());
    println!("cargo::rerun-if-changed=build.rs");
    let page = if built.join("index.html").is_file() {
        built
    } else {
        let plain = Path::new(&env::var("OUT_DIR").map_err(io::Error::other)?).join("page");
        fs::create_dir_all(&plain)?;
        fs::write(plain.join("index.html"), NOT_BUILT)?;
        plain
    };
    println!("cargo::rustc-env=SPANHOUND_PAGE={}", page.display());
    Ok(())
}
