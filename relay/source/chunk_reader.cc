#include "relay/source/chunk_reader.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "relay/event/copy_binary.h"
#include "relay/event/copy_text.h"

namespace millrace::source {
namespace {

constexpr Millis kShapeKnownFor{2000};

// Types without a length: a cast to it never cuts a value off.
constexpr const char* kKeySql = R"(
    SELECT a.attname, format_type(a.atttypid, -1)
    FROM pg_class c
    JOIN pg_index i ON i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
      AND CASE c.relreplident WHEN 'i' THEN i.indisreplident
                              WHEN 'n' THEN false ELSE i.indisprimary END
    CROSS JOIN LATERAL unnest((i.indkey::int2[])[0:i.indnkeyatts - 1])
      WITH ORDINALITY k(number, place)
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
    WHERE c.oid = $1::oid ORDER BY k.place)";

std::string name_in_sql(const TableToRead& table) {
  // Children of a table that is no partitioned one are tables of the stream of their own.
  return (table.is_partitioned ? "" : "ONLY ") + quote_identifier(table.schema->schema) + "." +
         quote_identifier(table.schema->name);
}

std::string columns_in_sql(const TableSchema& schema) {
  std::string out;
  for (const Column& column : schema.columns) {
    if (!out.empty()) out += ", ";
    out += quote_identifier(column.name);
  }
  return out;
}

// (a, b), or a alone; with a prefix and a suffix to each.
std::string key_in_sql(const TableToRead& table, const std::string& before = {},
                       const std::string& after = {}) {
  std::string out;
  for (const TableToRead::KeyColumn& column : table.key) {
    if (!out.empty()) out += ", ";
    out.append(before).append(quote_identifier(column.name)).append(after);
  }
  return out;
}

// In the order of the table's columns.
std::vector<size_t> key_places(const TableToRead& table) {
  std::vector<size_t> out(table.key.size());
  for (const TableToRead::KeyColumn& column : table.key) out[column.value] = column.place;
  return out;
}

std::string key_values_in_sql(const TableToRead& table) {
  std::string out;
  for (const size_t place : key_places(table)) {
    out += (out.empty() ? "" : ", ") + quote_identifier(table.schema->columns[place].name);
  }
  return out;
}

// "… (cost=0.42..8.44 rows=120 width=0)": EXPLAIN's first line.
std::optional<uint64_t> planned_rows(std::string_view line) {
  constexpr std::string_view kRows = "rows=";
  const size_t at = line.find(kRows);
  if (at == std::string_view::npos) return std::nullopt;
  uint64_t rows = 0;
  const char* const from = line.data() + at + kRows.size();
  if (std::from_chars(from, line.data() + line.size(), rows).ec != std::errc()) return std::nullopt;
  return rows;
}

bool can_be_binary(const TableToRead& table) {
  const auto& columns = table.schema->columns;
  return std::all_of(columns.begin(), columns.end(),
                     [](const Column& column) { return copies_in_binary(column.type_oid); }) &&
         std::all_of(table.key.begin(), table.key.end(), [&](const TableToRead::KeyColumn& key) {
           return has_text_of_binary(columns[key.place].type_oid);
         });
}

// The first message has the head before its tuple; the last one is the end alone, or behind it.
bool append_tuple(std::string_view message, Piece& piece) {
  if (message.starts_with(kCopyBinaryHeader)) message.remove_prefix(kCopyBinaryHeader.size());
  if (message.empty() || message == kCopyBinaryEnd) return false;
  piece.copy += message;
  return true;
}

KeyValues key_of(const TableToRead& table, std::string_view text, bool binary) {
  if (binary) {
    KeyValues out;
    const std::string_view tuple = take_copy_tuple(text).value_or(std::string_view());
    for (const size_t place : key_places(table)) {
      const auto bytes = copy_field(tuple, place).value_or(std::string_view());
      out.push_back(text_of_binary(table.schema->columns[place].type_oid, bytes));
    }
    return out;
  }
  std::pmr::monotonic_buffer_resource arena;
  std::vector<Value> values;
  read_copy_line(take_copy_line(text), arena, values);
  KeyValues out;
  for (const size_t place : key_places(table)) out.emplace_back(values[place].text);
  return out;
}

}  // namespace

ChunkReader::ChunkReader(Options options) : options_(options), catalog_(std::move(options)) {}

// The planner is led to the key's index: a sort would read all that is left for every piece.
Result<Connection*> ChunkReader::connection() {
  if (!connection_ || !connection_->is_open()) {
    TRY_ASSIGN(connection_, Connection::open(options_));
    TRY(connection_->query("prepare to read rows",
                           "SELECT set_config(name, value, false) FROM (VALUES "
                           "('default_transaction_read_only', 'on'), ('enable_sort', 'off'), "
                           "('enable_seqscan', 'off'), ('enable_bitmapscan', 'off'), "
                           "('max_parallel_workers_per_gather', '0'), ('jit', 'off'), "
                           "('statement_timeout', '0')) AS s(name, value)"));
  }
  return &*connection_;
}

Result<Rows> ChunkReader::query(std::string_view doing, const std::string& sql) {
  TRY_ASSIGN(Connection* const source, connection());
  return source->query(doing, sql);
}

Result<TableToRead> ChunkReader::table(const std::string& name) {
  TRY_ASSIGN(Connection* const source, connection());
  TRY_ASSIGN(const Rows found, source->query("look for the table", R"(
    SELECT c.oid, n.nspname, c.relname, c.relkind = 'p'
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1))",
                                             {name}));
  if (found.count() == 0) return fail(ErrorCode::bad_data, "the source has no table " + name);
  TableToRead table;
  table.is_partitioned = found.boolean(0, 3);
  const TableSelector selector{{found.string(0, 1), found.string(0, 2)}, false};
  TRY_ASSIGN(Selection selection, catalog_.tables({&selector, 1}));
  if (selection.tables.size() != 1) {
    return fail(ErrorCode::bad_data, "the source has no table " + name);
  }
  table.schema = selection.tables.front().schema;
  TRY_ASSIGN(const Rows key, source->query("read the key", kKeySql, {found.string(0, 0)}));
  for (int i = 0; i < key.count(); ++i) {
    TableToRead::KeyColumn column{key.string(i, 0), key.string(i, 1), 0, 0};
    const auto& columns = table.schema->columns;
    const auto at = std::find_if(columns.begin(), columns.end(),
                                 [&](const Column& c) { return c.name == column.name; });
    if (at == columns.end()) {
      table.key.clear();  // a generated column does not travel, so nothing can be told apart by it
      break;
    }
    column.place = static_cast<size_t>(at - columns.begin());
    table.key.push_back(std::move(column));
  }
  for (TableToRead::KeyColumn& column : table.key) {
    column.value = static_cast<size_t>(
        std::count_if(table.key.begin(), table.key.end(),
                      [&](const TableToRead::KeyColumn& c) { return c.place < column.place; }));
  }
  return table;
}

Result<std::optional<uint64_t>> ChunkReader::estimate(const TableToRead& table,
                                                      const RowRange& range) {
  TRY_ASSIGN(Connection* const source, connection());
  // Before Postgres 14 a table that was never looked at has no pages and no rows.
  TRY_ASSIGN(const Rows rows, source->query("estimate the rows", R"(
    SELECT sum(c.reltuples)::bigint,
           bool_and(c.reltuples > 0 OR (c.reltuples = 0 AND pg_relation_size(c.oid) = 0))
    FROM pg_class c
    WHERE c.oid IN (SELECT relid FROM pg_partition_tree($1::oid::regclass) WHERE isleaf
                    UNION SELECT $1::oid) AND c.relkind = 'r')",
                                            {std::to_string(table.schema->relation_oid)}));
  if (rows.count() == 0 || rows.is_null(0, 0) || !rows.boolean(0, 1)) return std::nullopt;
  if (!range.after && !range.until && range.where.empty()) {
    return static_cast<uint64_t>(std::max<int64_t>(rows.integer(0, 0), 0));
  }
  TRY_ASSIGN(const std::string where, condition(table, range));
  TRY_ASSIGN(const Rows plan, source->query("estimate the rows",
                                            "EXPLAIN SELECT FROM " + name_in_sql(table) + where));
  return plan.count() > 0 ? planned_rows(plan.text(0, 0)) : std::nullopt;
}

Result<std::string> ChunkReader::tuple(const TableToRead& table, const KeyValues& key) {
  if (key.size() != table.key.size()) {
    return fail(ErrorCode::config,
                fmt::format("{} has a key of {} columns, not {}", display_name(*table.schema),
                            table.key.size(), key.size()));
  }
  TRY_ASSIGN(Connection* const source, connection());
  std::string out;
  for (const TableToRead::KeyColumn& column : table.key) {
    TRY_ASSIGN(const std::string literal, source->literal(key[column.value]));
    out += (out.empty() ? "" : ", ") + literal + "::" + column.type;
  }
  return "(" + out + ")";
}

Result<std::string> ChunkReader::condition(const TableToRead& table, const RowRange& range) {
  std::string out = " WHERE true";
  const std::string key = "(" + key_in_sql(table) + ")";
  if (range.after) {
    TRY_ASSIGN(const std::string after, tuple(table, *range.after));
    out += " AND " + key + " > " + after;
  }
  if (range.until) {
    TRY_ASSIGN(const std::string until, tuple(table, *range.until));
    out += " AND " + key + " <= " + until;
  }
  if (!range.where.empty()) out += " AND (" + range.where + "\n)";
  return out;
}

Result<std::optional<KeyValues>> ChunkReader::largest_key(const TableToRead& table,
                                                          const RowRange& range) {
  TRY_ASSIGN(const std::string where, condition(table, range));
  TRY_ASSIGN(Connection* const source, connection());
  TRY_ASSIGN(
      const Rows rows,
      source->query("look for the largest key",
                    fmt::format("SELECT {} FROM {}{} ORDER BY {} LIMIT 1", key_values_in_sql(table),
                                name_in_sql(table), where, key_in_sql(table, "", " DESC"))));
  if (rows.count() == 0) return std::nullopt;
  KeyValues out;
  for (size_t i = 0; i < table.key.size(); ++i) out.push_back(rows.string(0, static_cast<int>(i)));
  return out;
}

Result<bool> ChunkReader::copy(const TableToRead& table, const std::string& where,
                               const PieceLimits& limits, Piece& piece) {
  TRY_ASSIGN(Connection* const source, connection());
  size_t last_at = 0;
  bool whole = true;
  piece.binary = limits.binary && can_be_binary(table);
  TRY(source->copy_out(
      "read rows",
      fmt::format("COPY (SELECT {} FROM {}{} ORDER BY {} LIMIT {}) TO STDOUT{}",
                  columns_in_sql(*table.schema), name_in_sql(table), where, key_in_sql(table),
                  limits.rows, piece.binary ? " (FORMAT binary)" : ""),
      [&](std::string_view line) {
        const size_t at = piece.copy.size();
        if (!piece.binary) {
          piece.copy += line;
        } else if (!append_tuple(line, piece)) {
          return true;
        }
        last_at = at;
        ++piece.rows;
        whole = piece.copy.size() < limits.bytes;
        return whole;
      }));
  if (piece.rows == 0) return whole;
  const std::string_view all = piece.copy;
  piece.first_key = key_of(table, all, piece.binary);
  piece.last_key = key_of(table, all.substr(last_at), piece.binary);
  return whole;
}

Result<Piece> ChunkReader::read(const TableToRead& table, const RowRange& range,
                                const PieceLimits& limits) {
  TRY_ASSIGN(const std::string where, condition(table, range));
  Piece piece;
  TRY_ASSIGN(const bool whole, copy(table, where, limits, piece));
  piece.end = whole && piece.rows < limits.rows;
  return piece;
}

Result<Piece> ChunkReader::read_keys(const TableToRead& table, const std::vector<KeyValues>& keys,
                                     std::vector<KeyValues>& absent) {
  std::string list;
  for (size_t i = 0; i < keys.size(); ++i) {
    TRY_ASSIGN(const std::string values, tuple(table, keys[i]));
    list += (i > 0 ? ", " : "") + values;
  }
  TRY_ASSIGN(Connection* const source, connection());
  TRY(source->query("read rows by key", "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"));
  Piece piece;
  const std::string key = "(" + key_in_sql(table) + ")";
  auto read = [&]() -> Status {
    const PieceLimits all{keys.size(), UINT64_MAX};
    TRY_ASSIGN([[maybe_unused]] const bool whole,
               copy(table, " WHERE " + key + " IN (" + list + ")", all, piece));
    const std::string row_is = "SELECT FROM " + name_in_sql(table) + " WHERE " + key + " = ";
    for (const KeyValues& wanted : keys) {
      TRY_ASSIGN(std::string one, tuple(table, wanted));
      one.insert(0, row_is);
      TRY_ASSIGN(const Rows found, source->query("read rows by key", one));
      if (found.count() == 0) absent.push_back(wanted);
    }
    return {};
  };
  auto done = read();
  if (source->is_open()) (void)source->query("read rows by key", "COMMIT");
  if (!done) return fail(std::move(done).error());
  piece.end = true;
  return piece;
}

Status ChunkReader::check(const TableToRead& table, const RowRange& range) {
  TRY_ASSIGN(const std::string where, condition(table, range));
  TRY_ASSIGN(Connection* const source, connection());
  auto tried =
      source->query("try the range", "SELECT FROM " + name_in_sql(table) + where + " LIMIT 0");
  if (tried) return {};
  Error error = std::move(tried).error();
  if (error.code() == ErrorCode::retryable) return fail(std::move(error));
  return fail(
      std::move(error).with_code(ErrorCode::config).at("table " + display_name(*table.schema)));
}

Result<std::optional<Row>> ChunkReader::row(const TableSchema& schema, Row key) {
  const SteadyTime clock = std::chrono::steady_clock::now();
  if (row_shape_ != schema.fingerprint || clock >= row_table_until_) {
    row_shape_ = 0;
    TRY_ASSIGN(row_table_, table(display_name(schema)));
    row_shape_ = schema.fingerprint;
    row_table_until_ = clock + kShapeKnownFor;
  }
  const TableToRead& now = row_table_;
  TRY_ASSIGN(Connection* const source, connection());
  std::string columns;
  std::string where;
  for (size_t i = 0; i < schema.columns.size(); ++i) {
    const Column& column = schema.columns[i];
    const auto& there = now.schema->columns;
    const bool known = std::any_of(there.begin(), there.end(),
                                   [&](const Column& c) { return c.name == column.name; });
    columns += (i > 0 ? ", " : "") + (known ? quote_identifier(column.name) : "NULL");
    if (!column.in_key || i >= key.size()) continue;
    TRY_ASSIGN(const std::string literal, source->literal(key[i].text));
    where +=
        (where.empty() ? " WHERE " : " AND ") + quote_identifier(column.name) + " = " + literal;
  }
  if (where.empty()) {
    return fail(ErrorCode::fatal, display_name(schema) + " has no key to read a row by");
  }
  TRY_ASSIGN(row_, source->query("read a row", "SELECT " + columns + " FROM " + name_in_sql(now) +
                                                   where + " LIMIT 1"));
  if (row_->count() == 0) return std::nullopt;
  values_.clear();
  for (size_t i = 0; i < schema.columns.size(); ++i) {
    const int at = static_cast<int>(i);
    values_.push_back(row_->is_null(0, at) ? Value{} : Value{ValueKind::text, row_->text(0, at)});
  }
  return Row(values_);
}

}  // namespace millrace::source
