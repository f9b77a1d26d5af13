use proptest::prelude::*;

use super::*;

fn postgres(sql: &str) -> Statement {
    normalise(sql.as_bytes(), Dialect::PostgreSql, false, false)
}

fn mysql(sql: &str) -> Statement {
    normalise(sql.as_bytes(), Dialect::MySql, false, false)
}

#[track_caller]
fn check(statement: &Statement, text: &str, operation: &str, collection: &str) {
    assert_eq!(
        (
            statement.text.as_str(),
            statement.operation.as_str(),
            statement.collection.as_str()
        ),
        (text, operation, collection)
    );
}

#[test]
fn literals_go_and_names_stay() {
    check(
        &postgres("select *  from users\n where name = 'O''Brien' and age>42.5e-3 -- secret\n and x=$1"),
        "select * from users where name = ? and age>? and x=$1",
        "SELECT",
        "users",
    );
    check(
        &postgres("INSERT INTO \"My\".\"T\"(a) VALUES (E'it\\'s', $tag$a'$$b$tag$);"),
        "INSERT INTO \"My\".\"T\"(a) VALUES (?, ?)",
        "INSERT",
        "My.T",
    );
    check(
        &mysql("SELECT \"secret\", `a` FROM `db`.`t` # more\n WHERE c = 'a\\'b' -- x\n"),
        "SELECT ?, `a` FROM `db`.`t` WHERE c = ?",
        "SELECT",
        "db.t",
    );
    check(&mysql("/*!40101 SET NAMES utf8 */"), "SET NAMES utf8", "SET", "");
    check(
        &postgres("SELECT a /* out /* nested 's */ er */ FROM t"),
        "SELECT a FROM t",
        "SELECT",
        "t",
    );
    check(
        &postgres("SELECT '1'::int, N'x', U&'\\0041'"),
        "SELECT ?::int, ?, ?",
        "SELECT",
        "",
    );
}

#[test]
fn lists_collapse() {
    check(
        &postgres("SELECT 1 FROM t WHERE a IN (1, -2, 'x') AND b in ($1, $2)"),
        "SELECT ? FROM t WHERE a IN (?) AND b in ($1, $2)",
        "SELECT",
        "t",
    );
    check(
        &mysql("insert ignore into t values (1, now(), 'a') , (2, now(), 'b'),(3,now(),'c')"),
        "insert ignore into t values (?, now(), ?),(?,now(),?)",
        "INSERT",
        "t",
    );
}

#[test]
fn the_verb_is_found_behind_what_precedes_it() {
    check(&postgres("(SELECT 1)"), "(SELECT ?)", "SELECT", "");
    check(
        &postgres("WITH x AS (SELECT a FROM real_table), y AS (select 1) DELETE FROM t"),
        "WITH x AS (SELECT a FROM real_table), y AS (select ?) DELETE FROM t",
        "DELETE",
        "real_table",
    );
    check(&postgres(" ; /* c */ begin ;"), "; begin", "BEGIN", "");
    check(&postgres(""), "", "", "");
}

#[test]
fn the_collection_is_a_table_not_a_function_or_keyword() {
    for (sql, collection) in [
        ("SELECT extract(year FROM created) FROM orders", "orders"),
        ("SELECT a IS NOT DISTINCT FROM b FROM t2", "t2"),
        ("SELECT DISTINCT a FROM t3", "t3"),
        ("SELECT * FROM generate_series(1, 5) g JOIN real ON true", "real"),
        ("SELECT * FROM (SELECT * FROM inner_table) x", "inner_table"),
        ("UPDATE ONLY public.t SET a = 1 FROM other", "public.t"),
        ("DELETE FROM t USING u", "t"),
        ("CREATE TABLE IF NOT EXISTS s.t (a int)", "s.t"),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)", "t"),
        ("DROP TABLE t", "t"),
        ("TRUNCATE TABLE t", "t"),
        ("COPY t (a, b) FROM STDIN", "t"),
        ("COPY (SELECT * FROM q) TO STDOUT", "q"),
        ("MERGE INTO m USING s ON true", "m"),
        ("SELECT 1", ""),
        ("SHOW server_version", ""),
    ] {
        assert_eq!(postgres(sql).collection, collection, "{sql}");
    }
}

#[test]
fn statements_are_counted() {
    assert_eq!(postgres("BEGIN; UPDATE t SET a = 'x;y'; COMMIT").statements, 3);
    assert_eq!(postgres("SELECT 1;").statements, 1);
    assert_eq!(postgres(";;").statements, 0);
}

#[test]
fn cut_text_shows_no_part_of_a_literal() {
    let cut = |sql: &str| normalise(sql.as_bytes(), Dialect::PostgreSql, false, true).text;
    assert_eq!(
        cut("SELECT * FROM t WHERE a = 'secr"),
        "SELECT * FROM t WHERE a = ?…"
    );
    assert_eq!(cut("SELECT $ta"), "SELECT ?…");
    assert_eq!(cut("SELECT $a$ secret"), "SELECT ?…");
    assert_eq!(cut("SELECT 1 /* secr"), "SELECT ?…");
}

#[test]
fn comments_may_carry_trace_context() {
    let found =
        postgres("SELECT 1 /*traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/")
            .context;
    let context = found.unwrap();
    assert_eq!(
        (context.trace_id, context.span_id),
        (0x0af7651916cd43dd8448eb211c80319c, 0xb7ad6b7169203331)
    );
    assert_eq!(context.sampled, Some(true));
    assert!(postgres("SELECT 1 /*traceparent='00-xx'*/").context.is_none());
}

#[test]
fn literals_stay_where_asked() {
    assert_eq!(
        normalise(b"SELECT 'a',  1", Dialect::PostgreSql, true, false).text,
        "SELECT 'a', 1"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_survived(sql in proptest::collection::vec(any::<u8>(), 0..300), cut: bool) {
        for dialect in [Dialect::PostgreSql, Dialect::MySql, Dialect::Cql, Dialect::ClickHouse] {
            let statement = normalise(&sql, dialect, false, cut);
            prop_assert!(statement.text.len() <= TEXT_MAX_BYTES * 3 + 3);
        }
    }

    #[test]
    fn no_part_of_a_literal_is_left(secret in "[a-z' \\\\;/*-]{0,20}", end in 0usize..60) {
        let quoted = format!("SELECT 'ZZ{}' FROM t WHERE x = 'ZZ'", secret.replace('\\', "\\\\").replace('\'', "''"));
        let bytes = &quoted.as_bytes()[..end.min(quoted.len())];
        for dialect in [Dialect::PostgreSql, Dialect::MySql, Dialect::ClickHouse] {
            prop_assert!(!normalise(bytes, dialect, false, true).text.contains("ZZ"));
        }
    }
}
