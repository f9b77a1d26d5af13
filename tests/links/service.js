// A Node service whose requests call the leaf, with callbacks or with promises.
// Paths are /keep|close/PATTERN/item/NUMBER; `node service.js callbacks|promises|fetch`.
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

const promises = (call) => ({
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
const asynchronous = style === 'fetch' ? promises(fetched) : promises(promised);

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
