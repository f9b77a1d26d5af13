// Enters: a minute's number. Leaves: the spans of every request to a made-up shop in that minute; the same minute gives the
// same spans, so that any two answers about it agree. No clock and no randomness but a seed.

/** A small generator with a 32-bit state (xorshift), for repeatable traffic. */
export function seeded(seed) {
  let state = (Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ (seed >>> 13)) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 4294967296;
  };
}

const INSTANCES = {
  "shop-edge": ["edge-1"],
  "shop-web": ["shop-web:4101", "shop-web:4102", "shop-web:4103"],
  catalog: ["catalog:512", "catalog:513"],
  orders: ["orders-0", "orders-1"],
  payments: ["payments"],
  mailer: ["mailer:77"],
};
const FAMILY = { "shop-edge": "nginx", "shop-web": "python", catalog: "node", orders: "java", payments: "go", mailer: "python" };
export const SERVICES = Object.keys(INSTANCES).map((name) => ({ name, family: FAMILY[name], instances: INSTANCES[name] }));

export const PEERS = {
  "database:postgresql@10.0.0.5:5432": { kind: "database", name: "postgresql@10.0.0.5:5432", system: "postgresql" },
  "cache:redis@10.0.0.6:6379": { kind: "cache", name: "redis@10.0.0.6:6379", system: "redis" },
  "queue:kafka@10.0.0.7:9092": { kind: "queue", name: "kafka@10.0.0.7:9092", system: "kafka" },
  "external:api.pay.example:443": { kind: "external", name: "api.pay.example:443", system: "http" },
};

const ROUTES = [
  { path: "/", weight: 5, run: home },
  { path: "/product/{id}", weight: 8, run: product },
  { path: "/search", weight: 3, run: search },
  { path: "/cart", weight: 3, run: cart },
  { path: "/checkout", weight: 2, run: checkout },
];

const DB = "database:postgresql@10.0.0.5:5432";
const CACHE = "cache:redis@10.0.0.6:6379";
const QUEUE = "queue:kafka@10.0.0.7:9092";
const PAY = "external:api.pay.example:443";

/** All requests that start in the minute, as traces: `{ trace_id, spans }`, spans in call-tree order. */
export function minuteOfShop(minute) {
  const random = seeded(minute);
  const daily = 0.75 + 0.25 * Math.sin((minute / 1440) * 2 * Math.PI);
  const requests = Math.round((34 + random() * 14) * daily);
  const traces = [];
  for (let index = 0; index < requests; index += 1) {
    const start_ms = minute * 60_000 + Math.floor(random() * 60_000_000) / 1000;
    traces.push(request(seeded(minute * 977 + index * 7919 + 13), start_ms, minute, index));
  }
  return traces.sort((a, b) => a.spans[0].start_ms - b.spans[0].start_ms);
}

function request(random, start_ms, minute, index) {
  const hex = (digits) => Array.from({ length: digits }, () => Math.floor(random() * 16).toString(16)).join("");
  const trace = { trace_id: hex(32), spans: [] };
  const context = { random, hex, trace, time: start_ms, depth: 0, parent: null, slow: 1, troubled: minute % 17 === 3 };
  if (context.troubled) context.slow = 2.6;
  if (random() < 0.02) context.slow *= 9;
  const total = ROUTES.reduce((sum, route) => sum + route.weight, 0);
  let pick = random() * total;
  const route = ROUTES.find((candidate) => (pick -= candidate.weight) < 0) ?? ROUTES[0];
  const path = route.path.replace("{id}", String(1 + (index % 40)));
  server(context, "shop-edge", "GET", path, route.path, { method: "none" }, () => {
    wait(context, 0.2);
    client(context, "shop-edge", "service:shop-web", "http", `GET ${route.path}`, "GET", path, "thread", () => {
      server(context, "shop-web", "GET", path, route.path, { method: "tcp" }, () => route.run(context));
    });
    wait(context, 0.15);
  });
  return trace;
}

function wait(context, typical_ms) {
  context.time += typical_ms * context.slow * (0.4 + context.random() ** 3 * 3);
}

function home(context) {
  wait(context, 3);
  cacheCall(context, "shop-web", "GET", "home:v3");
  callService(context, "shop-web", "catalog", "GET", "/featured", () => {
    statement(context, "catalog", "SELECT", "SELECT id, name, price FROM products WHERE featured = ? ORDER BY rank LIMIT ?", 6);
  });
  wait(context, 8);
}

function product(context) {
  wait(context, 2);
  cacheCall(context, "shop-web", "GET", "session:{id}");
  callService(context, "shop-web", "catalog", "GET", "/products/{id}", () => {
    cacheCall(context, "catalog", "GET", "product:{id}");
    if (context.random() < 0.55) {
      statement(context, "catalog", "SELECT", "SELECT * FROM products WHERE id = ?", 3);
      cacheCall(context, "catalog", "SET", "product:{id}");
    }
  });
  statement(context, "shop-web", "SELECT", "SELECT stars, body FROM reviews WHERE product_id = ? LIMIT ?", 9);
  wait(context, 6);
}

function search(context) {
  wait(context, 4);
  callService(context, "shop-web", "catalog", "GET", "/search", () => {
    statement(context, "catalog", "SELECT", "SELECT id FROM products WHERE to_tsvector(name) @@ to_tsquery(?)", 260);
    for (let page = 0; page < 3; page += 1) cacheCall(context, "catalog", "MGET", "product:{id}");
  });
  wait(context, 12);
}

function cart(context) {
  wait(context, 2);
  cacheCall(context, "shop-web", "HGETALL", "cart:{id}");
  statement(context, "shop-web", "SELECT", "SELECT stock FROM stock WHERE product_id = ANY(?)", 5);
  wait(context, 5);
}

function checkout(context) {
  wait(context, 5);
  cacheCall(context, "shop-web", "HGETALL", "cart:{id}");
  callService(context, "shop-web", "orders", "POST", "/orders", () => {
    statement(context, "orders", "BEGIN", "BEGIN", 0.3);
    const locked = context.random() < (context.troubled ? 0.3 : 0.03);
    statement(context, "orders", "INSERT", "INSERT INTO orders (user_id, total) VALUES (?, ?) RETURNING id", 7, locked && {
      status: "55P03",
      message: "canceling statement due to lock timeout",
    });
    if (locked) return { status: "500", message: "" };
    callService(context, "orders", "payments", "POST", "/charge", () => {
      const refused = context.random() < 0.06;
      client(context, "payments", PAY, "http", "POST /v1/charges", "POST", "/v1/charges", "goroutine", () => {
        wait(context, context.random() < 0.12 ? 2600 : 190);
        return refused ? { status: "502", message: "Bad Gateway" } : null;
      });
      return refused ? { status: "502", message: "" } : null;
    });
    statement(context, "orders", "COMMIT", "COMMIT", 2);
    client(context, "orders", QUEUE, "kafka", "send order.placed", "send", "order.placed", "handoff", () => wait(context, 1.4));
    return null;
  });
  wait(context, 9);
}

function callService(context, from, to, method, route, body) {
  wait(context, 0.6);
  client(context, from, `service:${to}`, "http", `${method} ${route}`, method, route, from === "catalog" ? "task" : "thread", () =>
    server(context, to, method, route, route, { method: from === "shop-web" ? "header" : "tcp" }, body),
  );
}

function cacheCall(context, from, command, key) {
  wait(context, 0.3);
  client(context, from, CACHE, "redis", `${command} ${key}`, command, key, from === "catalog" ? "task" : "thread", () => wait(context, 0.35));
}

function statement(context, from, verb, text, typical_ms, failure) {
  wait(context, 0.4);
  client(context, from, DB, "postgresql", `${verb} ${text.match(/(?:FROM|INTO) (\w+)/)?.[1] ?? ""}`.trim(), verb, text, "thread", () => {
    wait(context, typical_ms);
    return failure || null;
  });
}

function server(context, service, method, path, route, link, body) {
  return span(context, { service, kind: "server", protocol: "http", name: `${method} ${route}`, operation: method, target: path, link: link.method }, body);
}

function client(context, service, peer, protocol, name, operation, target, link, body) {
  return span(context, { service, kind: "client", protocol, name, operation, target, peer, link }, body);
}

function linkOf(context, method) {
  if (method === "none") return { method: "none", confidence: "none", probability: null };
  const draw = context.random();
  if (method === "task" && draw < 0.25) return { method: "inference", confidence: "inferred", probability: 0.72 + context.random() * 0.27 };
  return { method, confidence: "exact", probability: 1 };
}

function span(context, what, body) {
  const { random, hex, trace } = context;
  const names = INSTANCES[what.service];
  const made = {
    ...what,
    trace_id: trace.trace_id,
    span_id: hex(16),
    parent_span_id: context.parent,
    depth: context.depth,
    instance: names[Math.floor(random() * names.length)],
    start_ms: Math.round(context.time * 1000) / 1000,
    link: linkOf(context, what.link),
  };
  trace.spans.push(made);
  const outer = { parent: context.parent, depth: context.depth };
  context.parent = made.span_id;
  context.depth += 1;
  if (what.kind === "server") wait(context, 0.3);
  const failure = body();
  if (what.kind === "server") wait(context, 0.4);
  context.parent = outer.parent;
  context.depth = outer.depth;
  made.duration_ms = Math.round((context.time - made.start_ms) * 1000) / 1000;
  const below = trace.spans.find((child) => child.parent_span_id === made.span_id && child.error);
  const problem = failure ?? (below === undefined || what.protocol !== "http" ? null : { status: "500", message: "" });
  made.error = problem !== null;
  made.status = problem?.status ?? (what.protocol === "http" ? "200" : "OK");
  made.error_message = problem?.message ?? null;
  return problem;
}
