// World: a fresh database with a schema `src` that plays the source and a schema `dst` that is the
// target.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "connectors/postgres/target.h"
#include "relay/event/change.h"
#include "relay/sink/apply_batch.h"
#include "tests/unit/sink/history.h"

struct pg_conn;

namespace millrace::test {

using sink::test::History;
using sink::test::null;
using sink::test::text;
using sink::test::unchanged;
using Table = std::vector<std::vector<std::string>>;

class Db {
 public:
  explicit Db(const std::string& dsn);
  ~Db();
  Db(const Db&) = delete;
  Db& operator=(const Db&) = delete;
  // NULL reads as "\N". Throws on an error: a test's own SQL is right.
  Table run(const std::string& sql);
  std::string one(const std::string& sql) { return run(sql).at(0).at(0); }
  // What COPY (query) TO STDOUT sends.
  std::string copy(const std::string& query, const std::string& options = "");
  // All rows of a table but the version column, in the order of their text.
  Table rows(const std::string& table);

 private:
  pg_conn* conn_;
};

class World {
 public:
  World();
  ~World();

  Db& db() { return *db_; }
  std::string dsn() const { return dsn_; }
  postgres::Options options;
  std::unique_ptr<sink::Target> target;
  std::vector<TableSchemaPtr> shapes;

  // The shape of src.<name> as pgoutput would describe it. Also maps it to dst.<name> when nothing
  // does.
  TableSchemaPtr add(const std::string& name);
  TableSchemaPtr add(const std::string& name, sink::TableMapping mapping);
  // setup, set_origin.
  void open();
  // Every row of src.<shape's name>, as inserts.
  void copy(History& history, const TableSchemaPtr& shape);
  // One transaction: begin, apply_batch, commit.
  Status apply(const History& history);
  std::string apply_error(const History& history);

 private:
  std::string database_;
  std::string dsn_;
  std::unique_ptr<Db> db_;
};

TableSchemaPtr shape_of(Db& db, const std::string& schema, const std::string& name);
std::unique_ptr<sink::Target> open_target(const postgres::Options& options);
// `applied` moved on by one step.
sink::Applied after(const sink::Applied& applied);

}  // namespace millrace::test
