CREATE TABLE products (id serial PRIMARY KEY, name text NOT NULL, price numeric(8, 2) NOT NULL, stock int NOT NULL);
CREATE TABLE orders (id serial PRIMARY KEY, customer text NOT NULL, total numeric(10, 2) NOT NULL CHECK (total > 0),
                     placed timestamptz NOT NULL DEFAULT now());
INSERT INTO products (name, price, stock)
SELECT (ARRAY['red', 'green', 'blue', 'plain', 'striped'])[1 + n % 5] || ' '
       || (ARRAY['shirt', 'hat', 'scarf', 'coat', 'shoe', 'sock', 'belt', 'glove'])[1 + n % 8] || ' ' || n,
       5 + (n * 37 % 900) / 10.0, 1000000
FROM generate_series(1, 200) AS n;
