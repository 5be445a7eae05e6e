#include "connectors/postgres/setup.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "connectors/postgres/binding.h"
#include "connectors/postgres/catalog.h"
#include "connectors/postgres/schema_change.h"
#include "connectors/postgres/statements.h"

namespace millrace::postgres {
namespace {

constexpr const char* kAppliedTable =
    "CREATE TABLE IF NOT EXISTS millrace.applied (\n"
    "  pipeline text PRIMARY KEY,\n"
    "  epoch bigint NOT NULL,\n"
    "  timeline bigint NOT NULL,\n"
    "  end_lsn pg_lsn NOT NULL,\n"
    "  commit_lsn pg_lsn NOT NULL,\n"
    "  commit_time timestamptz NOT NULL,\n"
    "  system_identifier text NOT NULL,\n"
    "  token bigint NOT NULL,\n"
    "  manifest_offset bigint NOT NULL,\n"
    "  applied_at timestamptz NOT NULL DEFAULT clock_timestamp()\n"
    ")";

Result<bool> exists(Connection& connection, const std::string& sql, const std::string& name) {
  const Reply reply = connection.run(sql, {name});
  if (!reply.ok()) return fail(to_error(connection, reply, "reading the target's catalog"));
  return reply.rows() > 0;
}

Result<bool> has_schema(Connection& connection, const std::string& name) {
  return exists(connection, "SELECT 1 FROM pg_namespace WHERE nspname = $1::text", name);
}

Result<bool> has_metadata(Connection& connection, const std::string& table) {
  return exists(connection,
                "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE n.nspname = 'millrace' AND c.relname = $1::text",
                table);
}

Result<std::string> expression_type(Connection& connection, const Binding& binding,
                                    size_t expression) {
  const auto& mapped = binding.mapping.expressions[expression];
  const Reply row =
      connection.describe("SELECT (\n" + mapped.sql + "\n) FROM " + null_row_sql(binding));
  if (!row.ok()) {
    return fail(
        to_error(connection, row, "parsing the expression for column " + mapped.target_column)
            .at(binding.display()));
  }
  const Reply type =
      connection.run("SELECT format_type($1::oid, $2::int4)",
                     {std::to_string(row.type_oid(0)), std::to_string(row.type_modifier(0))});
  if (!type.ok()) return fail(to_error(connection, type, "reading a type's name"));
  return std::string(type.text(0, 0));
}

Result<std::string> create_table_sql(Connection& connection, const Binding& binding) {
  std::string columns;
  std::string keys;
  for (const Output& output : binding.outputs) {
    std::string type;
    if (output.expression >= 0) {
      TRY_ASSIGN(type,
                 expression_type(connection, binding, static_cast<size_t>(output.expression)));
    } else {
      const auto source = static_cast<size_t>(output.source);
      const Column& column = binding.source.columns[source];
      if (!binding.types[source].known) {
        return fail(
            Error(ErrorCode::bad_data,
                  fmt::format("the target has no type {}.{} for column {}",
                              quote_if_needed(column.type_schema),
                              quote_if_needed(column.type_name), quote_if_needed(column.name)),
                  "create the type in the target, or map the column to another one")
                .at(binding.display()));
      }
      type = binding.types[source].full_type;
    }
    columns += fmt::format("  {} {},\n", quote_identifier(output.column), type);
    if (output.key) keys += (keys.empty() ? "" : ", ") + quote_identifier(output.column);
  }
  if (binding.keyed) {
    columns += fmt::format("  {} bytea,\n  PRIMARY KEY ({})\n", kVersionColumn, keys);
  } else if (columns.size() >= 2) {
    columns.erase(columns.size() - 2, 1);  // the last comma
  }
  return "CREATE TABLE IF NOT EXISTS " + binding.table_sql() + " (\n" + columns + ")";
}

std::string add_version_sql(const std::string& table) {
  return fmt::format("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} bytea", table, kVersionColumn);
}

void find(std::vector<Error>& findings, const Binding& binding, std::string message,
          std::string hint) {
  findings.push_back(
      Error(ErrorCode::negative, std::move(message), std::move(hint)).at(binding.display()));
}

// What set-up will add is no blocker.
bool will_be_added(const Binding& binding, const Options& options) {
  return options.add_columns && binding.target.owned && !add_columns_sql(binding).empty();
}

// What is looked at last, for all tables together: that the statement by which rows are written
// parses.
struct Probe {
  std::string sql;
  const Binding* binding = nullptr;
  size_t place = 0;  // among the findings
};

struct SchemaRights {
  bool there = false, use = false, create = false;
  bool may_be_made = false;
};

// What check_tables() knows while it looks at one table after the other.
struct Checking {
  Connection& connection;
  const Options& options;
  std::vector<Error> findings;
  std::vector<Probe> probes;
  std::map<std::string, SchemaRights> schemas;  // each is asked for once
};

Result<SchemaRights> rights_on(Checking& checking, const std::string& schema) {
  const auto known = checking.schemas.find(schema);
  if (known != checking.schemas.end()) return known->second;
  const Reply reply = checking.connection.run(
      "SELECT n.oid IS NOT NULL, has_schema_privilege(n.oid, 'USAGE'), "
      "has_schema_privilege(n.oid, 'CREATE'), has_database_privilege(current_database(), "
      "'CREATE') FROM (SELECT) o LEFT JOIN pg_namespace n ON n.nspname = $1::text",
      {schema});
  if (!reply.ok()) {
    return fail(to_error(checking.connection, reply, "reading the target's schemas"));
  }
  const auto is = [&reply](int column) { return reply.text(0, column) == "t"; };
  const SchemaRights rights{is(0), is(1), is(2), is(3)};
  checking.schemas.emplace(schema, rights);
  return rights;
}

// The schema of a table that set-up is to make, or that is there. False: it can not be looked into.
Result<bool> check_schema(Checking& checking, const Binding& binding) {
  TRY_ASSIGN(const SchemaRights rights, rights_on(checking, binding.mapping.target_schema));
  const std::string schema = quote_identifier(binding.mapping.target_schema);
  const std::string& role = checking.connection.role();
  if (!rights.there) {
    if (!binding.mapping.create || rights.may_be_made) return true;
    find(checking.findings, binding,
         "the target's role " + role + " may not create the schema " + schema,
         "CREATE SCHEMA " + schema + " AUTHORIZATION " + role);
    return true;
  }
  std::string lacks = rights.use ? "" : "USAGE";
  if (!binding.exists && binding.mapping.create && !rights.create) {
    lacks += lacks.empty() ? "CREATE" : ", CREATE";
  }
  if (lacks.empty()) return true;
  find(checking.findings, binding,
       "the target's role " + role + " lacks " + lacks + " on the schema " + schema,
       "GRANT " + lacks + " ON SCHEMA " + schema + " TO " + role);
  return rights.use;
}

Status check_table(Checking& checking, const Binding& binding) {
  Connection& connection = checking.connection;
  const Options& options = checking.options;
  std::vector<Error>& findings = checking.findings;
  TRY_ASSIGN(const bool usable, check_schema(checking, binding));
  std::set<size_t> added;
  if (will_be_added(binding, options)) {
    for (const MissingColumn& missing : binding.missing) added.insert(missing.finding);
  }
  for (size_t i = 0; i < binding.findings.size(); ++i) {
    if (added.contains(i)) continue;
    findings.push_back(Error(binding.findings[i]).with_code(ErrorCode::negative));
  }
  if (!binding.exists) {
    if (!binding.mapping.create || !binding.findings.empty()) return {};
    const auto sql = create_table_sql(connection, binding);
    if (sql) return {};
    if (sql.error().code() == ErrorCode::retryable) return fail(sql.error());
    findings.push_back(Error(sql.error()).with_code(ErrorCode::negative));
    return {};
  }
  const std::string table = binding.table_sql();
  if (!binding.target.missing_privileges.empty()) {
    find(
        findings, binding,
        "the target's role " + connection.role() + " lacks " + binding.target.missing_privileges,
        "GRANT " + binding.target.missing_privileges + " ON " + table + " TO " + connection.role());
  }
  if (!usable || !binding.keyed || !binding.findings.empty()) return {};
  if (binding.target.find(kVersionColumn) != nullptr) {
    checking.probes.push_back({upsert_statements(binding).write.sql, &binding, findings.size()});
  } else if (!binding.target.owned) {
    find(findings, binding,
         "the version column is missing and the target's role " + connection.role() +
             " may not add it",
         "let the table's owner run: " + add_version_sql(table));
  }
  return {};
}

Status run_probes(Connection& connection, std::vector<Probe> probes, std::vector<Error>& findings) {
  std::vector<std::string> statements;
  statements.reserve(probes.size());
  for (Probe& probe : probes) statements.push_back(std::move(probe.sql));
  const auto replies = connection.prepare_all(statements);
  for (size_t i = probes.size(); i-- > 0;) {  // places in front of the insertion stay true
    const Reply& parsed = replies[i];
    if (parsed.ok()) continue;
    if (parsed.failure() == Failure::retryable) {
      return fail(to_error(connection, parsed, "checking"));
    }
    const auto place = findings.begin() + static_cast<std::ptrdiff_t>(probes[i].place);
    findings.insert(place,
                    Error(ErrorCode::negative, "rows do not fit the target: " + parsed.message(),
                          "map the column with an expression, or alter its type")
                        .at(probes[i].binding->display()));
  }
  return {};
}

// False: what stands in the schema millrace can not be looked at.
Result<bool> check_metadata(Connection& connection, std::vector<Error>& findings) {
  const Reply reply = connection.run(
      "SELECT pg_is_in_recovery(), to_regnamespace('millrace') IS NOT NULL, "
      "has_database_privilege(current_database(), 'CREATE'), (SELECT string_agg(p, ', ') FROM "
      // What set-up has made needs no CREATE any more.
      "pg_namespace n, unnest(ARRAY['USAGE', 'CREATE']) p WHERE n.nspname = 'millrace' AND NOT "
      "has_schema_privilege(n.oid, p) AND (p = 'USAGE' OR NOT EXISTS (SELECT 1 FROM pg_class c "
      "WHERE c.relnamespace = n.oid AND c.relname = 'applied'))), (SELECT string_agg(p, ', ') FROM "
      "pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) p WHERE c.relname = 'applied' AND "
      "c.relnamespace = to_regnamespace('millrace') AND NOT has_table_privilege(c.oid, p))");
  if (!reply.ok()) return fail(to_error(connection, reply, "checking the target"));
  if (reply.text(0, 0) == "t") {
    findings.emplace_back(ErrorCode::negative, "the target is a standby and takes no writes",
                          "target.dsn must name the primary (target_session_attrs=read-write)");
  }
  if (reply.text(0, 1) == "f" && reply.text(0, 2) == "f") {
    findings.emplace_back(
        ErrorCode::negative,
        "the target's role " + connection.role() + " may not create the schema millrace",
        "CREATE SCHEMA millrace AUTHORIZATION " + connection.role());
  }
  if (const std::string lacks(reply.text(0, 3)); !lacks.empty()) {
    findings.emplace_back(
        ErrorCode::negative,
        "the target's role " + connection.role() + " lacks " + lacks + " on the schema millrace",
        "GRANT " + lacks + " ON SCHEMA millrace TO " + connection.role());
    if (lacks.starts_with("USAGE")) return false;
  }
  if (const std::string lacks(reply.text(0, 4)); !lacks.empty()) {
    findings.emplace_back(
        ErrorCode::negative,
        "the target's role " + connection.role() + " lacks " + lacks + " on millrace.applied",
        "GRANT " + lacks + " ON millrace.applied TO " + connection.role());
  }
  return true;
}

// A schema that the role owns is one that it can fill.
SetupStep create_schema(const Connection& connection, const std::string& schema) {
  const std::string sql = "CREATE SCHEMA IF NOT EXISTS " + schema;
  return {sql, sql + " AUTHORIZATION " + connection.role()};
}

SetupStep create_table(const Connection& connection, const std::string& schema, std::string sql) {
  return {std::move(sql), "GRANT USAGE, CREATE ON SCHEMA " + schema + " TO " + connection.role()};
}

Result<std::vector<SetupStep>> metadata_steps(Connection& connection, const Options& options) {
  std::vector<SetupStep> steps;
  // CREATE SCHEMA IF NOT EXISTS asks for the privilege even where there is nothing to do.
  TRY_ASSIGN(const bool schema, has_schema(connection, "millrace"));
  if (!schema) steps.push_back(create_schema(connection, "millrace"));
  std::vector<std::string> made;
  TRY_ASSIGN(const bool table, has_metadata(connection, "applied"));
  if (!table) made.emplace_back(kAppliedTable);
  TRY_ASSIGN(auto history, setup_history_sql(connection));
  made.insert(made.end(), history.begin(), history.end());
  if (options.park) {
    TRY_ASSIGN(auto letters, setup_letters_sql(connection));
    made.insert(made.end(), letters.begin(), letters.end());
  }
  for (std::string& sql : made) {
    if (sql.starts_with("CREATE TABLE")) {
      steps.push_back(create_table(connection, "millrace", std::move(sql)));
    } else {
      steps.push_back({std::move(sql)});
    }
  }
  return steps;
}

}  // namespace

Result<std::vector<SetupStep>> setup_steps(Connection& connection, const Options& options,
                                           KnownTables& known,
                                           std::span<const TableSchemaPtr> source_tables) {
  TRY_ASSIGN(auto steps, metadata_steps(connection, options));
  std::set<std::string> created;
  TRY(known.read(source_tables));
  for (const TableSchemaPtr& source : source_tables) {
    const sink::TableMapping* mapping = known.mapping_of(*source);
    if (mapping == nullptr) continue;
    const Binding& binding = known.at(*source);
    if (binding.exists) {
      if (will_be_added(binding, options)) steps.push_back({add_columns_sql(binding)});
      if (binding.keyed && binding.target.find(kVersionColumn) == nullptr &&
          created.insert(binding.table_sql()).second) {
        steps.push_back({add_version_sql(binding.table_sql())});
      }
      continue;
    }
    if (!mapping->create || !created.insert(binding.table_sql()).second) continue;
    if (!binding.findings.empty()) return fail(binding.findings.front());
    const std::string schema = quote_identifier(mapping->target_schema);
    TRY_ASSIGN(const bool there, has_schema(connection, mapping->target_schema));
    if (!there && created.insert(mapping->target_schema).second) {
      steps.push_back(create_schema(connection, schema));
    }
    TRY_ASSIGN(auto create, create_table_sql(connection, binding));
    steps.push_back(create_table(connection, schema, std::move(create)));
  }
  return steps;
}

Result<std::vector<Error>> check_tables(Connection& connection, const Options& options,
                                        KnownTables& known,
                                        std::span<const TableSchemaPtr> source_tables) {
  Checking checking{connection, options, {}, {}, {}};
  std::vector<Error>& findings = checking.findings;
  TRY_ASSIGN(const bool readable, check_metadata(connection, findings));
  if (readable) TRY(check_history(connection, findings));
  if (readable && options.park) TRY(check_letters(connection, findings));
  TRY(known.read(source_tables));
  for (const TableSchemaPtr& source : source_tables) {
    if (known.mapping_of(*source) == nullptr) {
      findings.push_back(Error(ErrorCode::negative, "the config maps no such source table",
                               "add it under tables in the config")
                             .at("table " + display_name(*source)));
      continue;
    }
    TRY(check_table(checking, known.at(*source)));
  }
  TRY(run_probes(connection, std::move(checking.probes), findings));
  return std::move(findings);
}

Result<std::vector<SetupStep>> teardown_steps(Connection& connection, const Options& options) {
  std::vector<SetupStep> steps;
  std::set<std::string> seen;
  std::vector<TableName> names;
  for (const sink::TableMapping& mapping : options.tables) {
    names.push_back({mapping.target_schema, mapping.target_table});
  }
  TRY_ASSIGN(const auto tables, read_tables(connection, names));
  for (size_t i = 0; i < names.size(); ++i) {
    const auto& table = tables[i];
    const std::string name = quote_table(names[i].schema, names[i].table);
    if (!table || table->find(kVersionColumn) == nullptr || !seen.insert(name).second) continue;
    steps.push_back({fmt::format("ALTER TABLE {} DROP COLUMN IF EXISTS {}", name, kVersionColumn)});
  }
  TRY_ASSIGN(const bool schema, has_schema(connection, "millrace"));
  if (!schema) return steps;
  const Reply others = connection.run(
      "SELECT 1 FROM millrace.applied WHERE pipeline <> $1::text LIMIT 1", {options.pipeline});
  if (!others.ok() && others.sqlstate() != "42P01") {
    return fail(to_error(connection, others, "reading the applied positions"));
  }
  if (others.ok() && others.rows() > 0) {
    std::vector<std::string> ours{"applied"};
    for (const char* name : {"parked", "journal", "progress", "tombstone", "proof"}) {
      TRY_ASSIGN(const bool there, has_metadata(connection, name));
      if (there) ours.emplace_back(name);
    }
    for (const std::string& name : ours) {
      steps.push_back({"DELETE FROM millrace." + name +
                       " WHERE pipeline = " + connection.literal(options.pipeline)});
    }
  } else {
    steps.push_back({"DROP SCHEMA millrace CASCADE"});
  }
  return steps;
}

}  // namespace millrace::postgres
