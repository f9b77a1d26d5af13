// A Node service whose requests call the leaf, with callbacks or with promises, or ask a database.
// Paths are /keep|close/PATTERN/item/NUMBER; `node service.js callbacks|promises|fetch|postgresql`.
'use strict';

const http = require('node:http');

const leafPort = Number(process.env.LEAF_PORT);
const pooled = new http.Agent({ keepAlive: true });
const parallel = ['/stock', '/price', '/review'];

function call(keep, path, done) {
  const request = http.get(
    { host: '127.0.0.1', port: leafPort, path, agent: keep ? pooled : false },
    (answer) => {
      answer.resume();
      answer.on('end', () => done(answer.statusCode));
    },
  );
  request.on('error', (error) => {
    console.error(error);
    done(0);
  });
}

const flows = {
  sequence(keep, item, done) {
    call(keep, '/stock' + item, () => call(keep, '/price' + item, done));
  },
  parallel(keep, item, done) {
    let open = parallel.length;
    for (const what of parallel) {
      call(keep, what + item, () => {
        open -= 1;
        if (open === 0) done();
      });
    }
  },
  retry(keep, item, done) {
    call(keep, '/flaky' + item, (status) => (status === 200 ? done() : call(keep, '/flaky' + item, done)));
  },
};

const promised = (keep, path) => new Promise((resolve) => call(keep, path, resolve));

async function fetched(keep, path) {
  const answer = await fetch(`http://127.0.0.1:${leafPort}${path}`);
  await answer.text();
  return answer.status;
}

let database;
const failed = new Set();

// Statements wait for one of a pool's few connections; `close` takes each connection away after one statement.
function openDatabase() {
  const { Pool } = require('pg');
  const connectionString = process.env.DATABASE;
  const once = new Pool({ connectionString, max: 20, maxUses: 1 });
  return { kept: new Pool({ connectionString, max: 10 }), once };
}

async function asked(keep, path) {
  const [, what, , number] = path.split('/');
  const fails = what === 'flaky' && !failed.has(number);
  failed.add(number);
  const seconds = (Math.random() * 0.006).toFixed(4);
  const statement = `SELECT 1 / ${fails ? 0 : 1} AS n${number}, pg_sleep(${seconds}) AS ${what}`;
  try {
    await (keep ? database.kept : database.once).query(statement);
    return 200;
  } catch (error) {
    if (!fails) throw error;
    return 503;
  }
}

let shared = null;

const promises = (call) => ({
  // Who finds nobody asking asks; the others wait for that answer, and have it before who asked has put it away.
  async shared(keep, item) {
    if (shared) {
      await shared;
      return;
    }
    shared = call(keep, '/stock' + item);
    await shared;
    shared = null;
    await new Promise(setImmediate);
  },
  async sequence(keep, item) {
    await call(keep, '/stock' + item);
    await call(keep, '/price' + item);
  },
  async parallel(keep, item) {
    await Promise.all(parallel.map((what) => call(keep, what + item)));
  },
  async retry(keep, item) {
    if ((await call(keep, '/flaky' + item)) !== 200) await call(keep, '/flaky' + item);
  },
});

const style = process.argv[2];
const asynchronous = promises({ fetch: fetched, postgresql: asked }[style] ?? promised);
if (style === 'postgresql') database = openDatabase();

const server = http.createServer((request, answer) => {
  const [, mode, pattern, ...rest] = request.url.split('/');
  const item = '/' + rest.join('/');
  const done = () => answer.end('done\n');
  if (style === 'callbacks') flows[pattern](mode === 'keep', item, done);
  else asynchronous[pattern](mode === 'keep', item).then(done);
});
server.keepAliveTimeout = 60_000;
server.listen({ host: '127.0.0.1', port: Number(process.env.PORT), backlog: 256 });

if (process.env.BACKGROUND) setInterval(() => call(true, '/tick', () => {}), 20);
