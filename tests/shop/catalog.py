"""The shop's catalog: products from PostgreSQL, cached in Redis; search; recommendations from a neighbour."""

import json
import os
import random
import threading
import urllib.request

import psycopg
import redis
from flask import Flask, jsonify, request

application = Flask(__name__)
cache = redis.Redis(port=int(os.environ["REDIS_PORT"]), decode_responses=True)
own = threading.local()


def database():
    """One connection a thread, kept."""
    if not hasattr(own, "connection"):
        own.connection = psycopg.connect(os.environ["DATABASE"], autocommit=True)
    return own.connection


def rows(statement, *parameters):
    return database().execute(statement, parameters).fetchall()


@application.get("/products")
def products():
    page = int(request.args.get("page", 0))
    kept = cache.get(f"products:{page}")
    if kept:
        return application.response_class(kept, mimetype="application/json")
    found = rows("SELECT id, name, price FROM products ORDER BY id LIMIT 20 OFFSET %s", page * 20)
    text = json.dumps([{"id": id, "name": name, "price": float(price)} for id, name, price in found])
    cache.set(f"products:{page}", text, ex=5)
    return application.response_class(text, mimetype="application/json")


@application.get("/products/<int:product>")
def one_product(product):
    found = rows("SELECT id, name, price, stock FROM products WHERE id = %s", product)
    if not found:
        return jsonify(error="no such product"), 404
    views = cache.incr(f"views:{product}")
    with urllib.request.urlopen(f"{os.environ['RECOMMENDATIONS']}/recommendations/{product}", timeout=5) as answer:
        also = json.load(answer)
    id, name, price, stock = found[0]
    return jsonify(id=id, name=name, price=float(price), stock=stock, views=views, also=also)


@application.get("/prices/<int:product>")
def price(product):
    kept = cache.get(f"price:{product}")
    if kept is None:
        found = rows("SELECT price FROM products WHERE id = %s", product)
        if not found:
            return jsonify(error="no such product"), 404
        kept = str(found[0][0])
        cache.set(f"price:{product}", kept, ex=20)
    return jsonify(id=product, price=float(kept))


@application.get("/search")
def search():
    words = request.args.get("q", "")
    if random.random() < 0.03:
        # The report nobody gave an index.
        rows("SELECT count(*), pg_sleep(%s) FROM products", random.uniform(1, 6))
    if words == "everything":
        # A mistake nobody noticed yet.
        rows("SELECT id, nam FROM products")
    found = rows("SELECT id, name FROM products WHERE name ILIKE %s ORDER BY id LIMIT 10", f"%{words}%")
    return jsonify([{"id": id, "name": name} for id, name in found])
