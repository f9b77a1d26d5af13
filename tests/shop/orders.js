// The shop's orders: one transaction each in PostgreSQL.
const http = require("node:http");
const { Pool } = require("pg");

const pool = new Pool({ connectionString: process.env.DATABASE, max: 8 });

async function save(order) {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    const inserted = await client.query({
      name: "insert-order",
      text: "INSERT INTO orders (customer, total) VALUES ($1, $2) RETURNING id",
      values: [order.user, order.total],
    });
    for (const line of order.lines) {
      await client.query("UPDATE products SET stock = stock - $1 WHERE id = $2", [line.count, line.product]);
    }
    await client.query("COMMIT");
    return inserted.rows[0].id;
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  } finally {
    client.release();
  }
}

http
  .createServer((request, response) => {
    let text = "";
    request.on("data", (part) => (text += part));
    request.on("end", async () => {
      try {
        const id = await save(JSON.parse(text));
        response.writeHead(201, { "content-type": "application/json" });
        response.end(JSON.stringify({ id }));
      } catch (error) {
        response.writeHead(error.code === "23514" ? 409 : 500, { "content-type": "application/json" });
        response.end(JSON.stringify({ error: error.message }));
      }
    });
  })
  .listen(Number(process.env.PORT), "127.0.0.1");
