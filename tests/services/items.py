"""A service that counts what it sends: each answer says how many statements and commands the request took.

The number in the path appears in every statement (as an alias) and in every key, so that a test can tell which request a
span belongs to.
"""

import os
import queue

import psycopg
import redis
from flask import Flask, jsonify

CONNECTIONS = 16

application = Flask(__name__)
pool = queue.Queue()


class Pair:
    """A database and a cache connection, opened before the first request."""

    def __init__(self):
        self.database = psycopg.connect(os.environ["DATABASE"], autocommit=True)
        self.cache = redis.Redis(port=int(os.environ["REDIS_PORT"]), single_connection_client=True)
        self.cache.ping()


for _ in range(CONNECTIONS):
    pool.put(Pair())


@application.get("/item/<int:number>")
def item(number):
    pair = pool.get()
    try:
        statements, commands = 1, 2
        cached = pair.cache.get(f"item:{number}")
        row = pair.database.execute(
            f"SELECT n{number}.name FROM items AS n{number} WHERE n{number}.id = %s", (number % 100,)
        ).fetchone()
        if number % 3 == 0:
            pair.database.execute(f"UPDATE items AS n{number} SET seen = seen + 1 WHERE id = %s", (number % 100,))
            statements += 1
        pair.cache.set(f"item:{number}", row[0], ex=60)
        if number % 4 == 0:
            pipeline = pair.cache.pipeline(transaction=False)
            pipeline.incr(f"item:{number}:views").expire(f"item:{number}:views", 60)
            pipeline.execute()
            commands += 2
        return jsonify(name=row[0], cached=cached is not None, statements=statements, commands=commands)
    finally:
        pool.put(pair)
