#include "tests/integration/target/target_world.h"

#include <cstdlib>
#include <stdexcept>

#include <doctest/doctest.h>
#include <libpq-fe.h>

namespace millrace::test {
namespace {

std::string server_dsn() {
  const char* dsn = std::getenv("MILLRACE_TEST_DSN");
  if (dsn == nullptr) throw std::runtime_error("run this under tests/support/with_postgres.sh");
  return dsn;
}

}  // namespace

Db::Db(const std::string& dsn) : conn_(PQconnectdb(dsn.c_str())) {
  if (PQstatus(conn_) != CONNECTION_OK) throw std::runtime_error(PQerrorMessage(conn_));
  PQsetNoticeReceiver(
      conn_, [](void*, const PGresult*) {}, nullptr);
  run("SET extra_float_digits = 3; SET IntervalStyle = postgres; SET TimeZone = 'UTC'; SET "
      "DateStyle = ISO");
}

Db::~Db() { PQfinish(conn_); }

Table Db::run(const std::string& sql) {
  PGresult* result = PQexec(conn_, sql.c_str());
  const auto status = PQresultStatus(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    const std::string message = PQerrorMessage(conn_);
    PQclear(result);
    throw std::runtime_error(message + " in " + sql.substr(0, 500));
  }
  Table table;
  for (int i = 0; i < PQntuples(result); ++i) {
    auto& row = table.emplace_back();
    for (int c = 0; c < PQnfields(result); ++c) {
      row.push_back(PQgetisnull(result, i, c) != 0
                        ? "\\N"
                        : std::string(PQgetvalue(result, i, c),
                                      static_cast<size_t>(PQgetlength(result, i, c))));
    }
  }
  PQclear(result);
  return table;
}

std::string Db::copy(const std::string& query, const std::string& options) {
  PQclear(PQexec(conn_, ("COPY (" + query + ") TO STDOUT" + options).c_str()));
  std::string out;
  char* piece = nullptr;
  while (true) {
    const int size = PQgetCopyData(conn_, &piece, 0);
    if (size <= 0) break;
    out.append(piece, static_cast<size_t>(size));
    PQfreemem(piece);
  }
  PGresult* result = PQgetResult(conn_);
  const bool done = PQresultStatus(result) == PGRES_COMMAND_OK;
  PQclear(result);
  PQclear(PQgetResult(conn_));
  if (!done) throw std::runtime_error(PQerrorMessage(conn_));
  return out;
}

Table Db::rows(const std::string& table) {
  std::string literal = "'";
  for (const char c : table) literal += c == '\'' ? "''" : std::string(1, c);
  literal += "'::regclass";
  const std::string columns =
      one("SELECT string_agg(quote_ident(attname), ', ' ORDER BY attname) FROM pg_attribute "
          "WHERE attrelid = " +
          literal + " AND attnum > 0 AND NOT attisdropped AND attname <> '_millrace'");
  return run("SELECT " + columns + " FROM " + table + " t ORDER BY t::text");
}

World::World() {
  static int number = 0;
  database_ = "world_" + std::to_string(number++);
  Db server(server_dsn());
  server.run("CREATE DATABASE " + database_);
  dsn_ = server_dsn() + " dbname=" + database_;
  db_ = std::make_unique<Db>(dsn_);
  db_->run("CREATE SCHEMA src; CREATE SCHEMA dst");
  options.dsn = dsn_;
  options.pipeline = "test";
}

World::~World() {
  target.reset();
  db_.reset();
  Db server(server_dsn());
  server.run("DROP DATABASE " + database_ + " WITH (FORCE)");
}

TableSchemaPtr World::add(const std::string& name) {
  sink::TableMapping mapping;
  mapping.target_schema = "dst";
  mapping.target_table = name;
  return add(name, mapping);
}

TableSchemaPtr World::add(const std::string& name, sink::TableMapping mapping) {
  mapping.source_schema = "src";
  mapping.source_table = name;
  if (mapping.target_schema.empty()) mapping.target_schema = "dst";
  if (mapping.target_table.empty()) mapping.target_table = name;
  options.tables.push_back(mapping);
  shapes.push_back(shape_of(*db_, "src", name));
  return shapes.back();
}

void World::open() {
  target = open_target(options);
  const Status ready = target->setup(shapes, nullptr);
  REQUIRE_MESSAGE(ready, (ready ? "" : ready.error().describe()));
  sink::Applied origin;
  origin.watermark.timeline = 1;
  origin.watermark.end_lsn = Lsn{100};
  origin.system_identifier = "7000000000000000001";
  origin.token = {0};
  REQUIRE(target->set_origin(origin));
}

void World::copy(History& history, const TableSchemaPtr& shape) {
  for (const auto& row : db_->run("SELECT * FROM src." + quote_identifier(shape->name))) {
    std::vector<Value> values;
    for (const auto& value : row) values.push_back(value == "\\N" ? null() : text(value));
    history.insert(shape, values);
  }
}

Status World::apply(const History& history) {
  TRY_ASSIGN(const auto applied, target->applied());
  REQUIRE(applied);
  TRY(target->begin(*applied, after(*applied)));
  TRY(sink::apply_batch(*target, history.batch.changes()));
  return target->commit();
}

std::string World::apply_error(const History& history) {
  const Status status = apply(history);
  return status ? ""
                : std::string(to_string(status.error().code())) + ": " + status.error().describe();
}

TableSchemaPtr shape_of(Db& db, const std::string& schema, const std::string& name) {
  std::string table = "'";
  for (const char c : quote_identifier(schema) + "." + quote_identifier(name)) {
    table += c == '\'' ? "''" : std::string(1, c);
  }
  table += "'::regclass";
  TableSchema shape;
  shape.schema = schema;
  shape.name = name;
  const std::string identity = db.one("SELECT relreplident FROM pg_class WHERE oid = " + table);
  shape.identity = identity == "f" ? ReplicaIdentity::full : ReplicaIdentity::default_key;
  // As logicalrep_write_attrs and logicalrep_write_typ: a domain goes by its base type's name, and
  // pg_catalog by an empty one.
  for (const auto& row : db.run(
           "SELECT a.attname, a.atttypid, a.atttypmod, CASE WHEN n.nspname = 'pg_catalog' THEN '' "
           "ELSE n.nspname "
           "END, b.typname, coalesce(a.attnum = ANY (i.indkey), false) FROM pg_attribute a JOIN "
           "pg_type t ON "
           "t.oid = a.atttypid JOIN pg_type b ON b.oid = coalesce(nullif(t.typbasetype, 0), t.oid) "
           "JOIN "
           "pg_namespace n ON n.oid = b.typnamespace LEFT JOIN pg_index i ON i.indrelid = "
           "a.attrelid AND "
           "i.indisprimary WHERE a.attrelid = " +
           table +
           " AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum")) {
    Column column;
    column.name = row[0];
    column.type_oid = static_cast<uint32_t>(std::stoul(row[1]));
    column.type_modifier = std::stoi(row[2]);
    if (column.type_oid >= 16384) {
      column.type_schema = row[3];
      column.type_name = row[4];
    }
    column.in_key = row[5] == "t";
    shape.columns.push_back(column);
  }
  return seal_schema(std::move(shape));
}

std::unique_ptr<sink::Target> open_target(const postgres::Options& options) {
  auto made = postgres::make_target(options);
  REQUIRE(made);
  return std::move(*made);
}

sink::Applied after(const sink::Applied& applied) {
  sink::Applied next = applied;
  next.watermark.end_lsn.value += 1000;
  next.watermark.commit_lsn.value = next.watermark.end_lsn.value - 50;
  next.watermark.commit_time = {1763719200123456};
  next.manifest_offset += 1;
  return next;
}

}  // namespace millrace::test
