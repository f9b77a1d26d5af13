// Enters: a port, the built page (web/dist) and a mode. Leaves: the page and an API with docs/API.md's answers about a made-up
// shop, for developing and testing the page without a collector. Modes: shop, empty, failing.
// Run by itself: node mock/serve.mjs [PORT] [MODE]
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import * as answers from "./answers.mjs";

const DIST = fileURLToPath(new URL("../../../web/dist", import.meta.url));
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2" };
/** As strict as a page without inline code allows: the tests fail when the page needs more. */
export const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const EMPTY = {
  services: () => ({ services: [] }),
  map: (range) => ({ ...range, nodes: [], edges: [], edges_left_out: 0, ...answers.BOUNDS }),
  timeseries: () => ({ step_ms: 60_000, points: [] }),
  scatter: (range) => ({ ...range, total: 0, sampled: false, points: [] }),
  transactions: () => ({ total: 0, transactions: [], next_cursor: null }),
  agents: () => ({ agents: [], collector: { losses: {}, spans_stored: 0, segments: 0, store_bytes: 0, buffered_spans: 0, buffered_bytes: 0 } }),
};

function answer(mode, path, query) {
  if (mode === "failing") return [503, { error: { code: "store_unavailable", message: "The store is not readable: permission denied." } }];
  const now_ms = Date.now();
  const range = { from_ms: Number(query.from_ms ?? now_ms - 300_000), to_ms: Number(query.to_ms ?? now_ms) };
  if (!(range.from_ms < range.to_ms)) return [400, { error: { code: "bad_range", message: "from_ms must be before to_ms" } }];
  const trace = path.match(/^traces\/([0-9a-f]+)$/);
  if (trace !== null) {
    const found = mode === "empty" ? null : answers.trace(trace[1], now_ms);
    return found === null ? [404, { error: { code: "not_found", message: "No trace with this id is stored." } }] : [200, found];
  }
  const make = (mode === "empty" ? EMPTY : answers)[path];
  const known = Object.hasOwn(EMPTY, path);
  return known ? [200, make(range, query, now_ms)] : [404, { error: { code: "not_found", message: `no such path: ${path}` } }];
}

async function file(path) {
  const inside = normalize(path === "/" ? "/index.html" : path);
  return { body: await readFile(join(DIST, inside)), type: TYPES[extname(inside)] ?? "application/octet-stream" };
}

/** Starts on a port (0: any free one); resolves to the address and a way to stop. */
export async function serve(port = 0, mode = "shop") {
  const server = createServer(async (request, response) => {
    const address = new URL(request.url, "http://mock");
    if (address.pathname.startsWith("/api/v1/") || address.pathname === "/healthz") {
      const query = Object.fromEntries(address.searchParams);
      const [status, body] =
        address.pathname === "/healthz" ? [200, { status: "ok" }] : answer(mode, address.pathname.slice("/api/v1/".length), query);
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
      return;
    }
    try {
      const { body, type } = await file(address.pathname);
      response.writeHead(200, { "content-type": type, "content-security-policy": POLICY }).end(body);
    } catch {
      response.writeHead(404, { "content-type": "text/plain" }).end("not found");
    }
  });
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    stop: () => new Promise((resolve) => server.close(resolve) && server.closeAllConnections()),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await serve(Number(process.argv[2] ?? 23900), process.argv[3] ?? "shop");
  console.log(url);
}
