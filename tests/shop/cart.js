// The shop's carts: kept in Redis, priced by asking the catalog.
const http = require("node:http");
const { createClient } = require("redis");

const catalog = process.env.CATALOG;
const agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
const redis = createClient({ url: `redis://127.0.0.1:${process.env.REDIS_PORT}` });
redis.on("error", (error) => console.error(error.message));

function getJson(url) {
  return new Promise((resolve, reject) => {
    http
      .get(url, { agent }, (answer) => {
        let text = "";
        answer.setEncoding("utf8");
        answer.on("data", (part) => (text += part));
        answer.on("end", () => (answer.statusCode === 200 ? resolve(JSON.parse(text)) : reject(new Error(text))));
      })
      .on("error", reject);
  });
}

async function show(user) {
  const lines = await redis.hGetAll(`cart:${user}`);
  const priced = await Promise.all(
    Object.entries(lines).map(async ([product, count]) => {
      const { price } = await getJson(`${catalog}/prices/${product}`);
      return { product: Number(product), count: Number(count), price };
    }),
  );
  return { user, lines: priced, total: priced.reduce((sum, line) => sum + line.count * line.price, 0) };
}

const server = http.createServer(async (request, response) => {
  const answer = (status, value) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(value));
  };
  try {
    const [, , user, product] = new URL(request.url, "http://shop").pathname.split("/");
    if (request.method === "POST") {
      await redis.hIncrBy(`cart:${user}`, product, 1);
      await redis.expire(`cart:${user}`, 600);
      answer(201, { user, product: Number(product) });
    } else if (request.method === "DELETE") {
      answer(200, { removed: await redis.del(`cart:${user}`) });
    } else {
      answer(200, await show(user));
    }
  } catch (error) {
    answer(502, { error: error.message });
  }
});

redis.connect().then(() => server.listen(Number(process.env.PORT), "127.0.0.1"));
