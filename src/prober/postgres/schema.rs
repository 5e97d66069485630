//! The version of the schema: where the usual migration tools write it down, or what the operator's own query says.

use crate::config::probes::Schema;
use crate::prober::postgres::session::Answer;

/// Where a migration tool keeps its books: a table, the schema it is in where that is not found by the search path, a column
/// by which it is told from other tools' tables, and the question.
struct Books {
    table: &'static str,
    schema: &'static str,
    column: &'static str,
    question: &'static str,
}

const fn books(table: &'static str, column: &'static str, question: &'static str) -> Books {
    Books { table, schema: "", column, question }
}

/// The first that is found is taken.
const ALL_BOOKS: [Books; 14] = [
    // Rails, golang-migrate, dbmate, Ecto.
    books("schema_migrations", "version", "select max(version) from schema_migrations"),
    books(
        "_prisma_migrations",
        "migration_name",
        "select migration_name from _prisma_migrations where finished_at is not null and rolled_back_at is null \
         order by finished_at desc limit 1",
    ),
    books(
        "flyway_schema_history",
        "installed_rank",
        "select version from flyway_schema_history where success and version is not null \
         order by installed_rank desc limit 1",
    ),
    books(
        "databasechangelog",
        "orderexecuted",
        "select id from databasechangelog order by orderexecuted desc limit 1",
    ),
    // Several heads are several versions.
    books(
        "alembic_version",
        "version_num",
        "select string_agg(version_num, ', ' order by version_num) from alembic_version",
    ),
    books(
        "django_migrations",
        "app",
        "select app || '.' || name from django_migrations order by id desc limit 1",
    ),
    books("knex_migrations", "name", "select name from knex_migrations order by id desc limit 1"),
    Books {
        table: "__drizzle_migrations",
        schema: "drizzle",
        column: "hash",
        question: "select hash from drizzle.__drizzle_migrations order by created_at desc limit 1",
    },
    books(
        "goose_db_version",
        "version_id",
        "select version_id from goose_db_version where is_applied order by id desc limit 1",
    ),
    books("_sqlx_migrations", "version", "select max(version) from _sqlx_migrations where success"),
    books("SequelizeMeta", "name", "select max(name) from \"SequelizeMeta\""),
    books(
        "__EFMigrationsHistory",
        "MigrationId",
        "select max(\"MigrationId\") from \"__EFMigrationsHistory\"",
    ),
    // TypeORM, and Laravel.
    books("migrations", "timestamp", "select name from migrations order by timestamp desc, id desc limit 1"),
    books("migrations", "migration", "select migration from migrations order by id desc limit 1"),
];

/// The question that finds the tables which exist, are found by the search path and may be read.
pub(super) fn lookup() -> String {
    let rows: Vec<String> = ALL_BOOKS
        .iter()
        .enumerate()
        .map(|(at, books)| format!("({at}, '{}', '{}', '{}')", books.table, books.schema, books.column))
        .collect();
    format!(
        "select b.at from (values {}) as b(at, \"table\", schema, col) \
         join pg_class c on c.relname = b.\"table\" and c.relkind in ('r', 'p', 'v') \
         join pg_namespace n on n.oid = c.relnamespace \
         join pg_attribute a on a.attrelid = c.oid and a.attname = b.col and not a.attisdropped \
         where (case when b.schema = '' then pg_table_is_visible(c.oid) else n.nspname = b.schema end) \
         and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select') \
         order by b.at limit 1",
        rows.join(", ")
    )
}

/// The question to ask each round, from the answer to [`lookup`].
pub(super) fn found(answer: &Answer) -> Option<&'static str> {
    let at: usize = answer.sets.first()?.first()?.get(0)?.parse().ok()?;
    ALL_BOOKS.get(at).map(|books| books.question)
}

/// The operator's query as a single statement with a text as its only column, whatever type its first column has. To be
/// asked so that a second statement is refused.
pub(super) fn wrapped(schema: &Schema) -> Option<String> {
    let Schema::Query(sql) = schema else { return None };
    let sql = sql.trim().trim_end_matches(';');
    Some(format!("select v.value from (\n{sql}\n) as q, lateral json_each_text(row_to_json(q)) as v limit 1"))
}
