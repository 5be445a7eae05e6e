#include "relay/event/compare.h"

#include <charconv>

namespace millrace::compare {
namespace {

constexpr size_t kValueCharacters = 100;

std::string number(size_t n) { return std::to_string(n); }

std::string joined(const std::vector<std::string>& parts, std::string_view between) {
  std::string out;
  for (const std::string& part : parts) {
    if (!out.empty()) out += between;
    out += part;
  }
  return out;
}

// r(k0 …, c0 …, m). The line ends are for SQL of the user's that ends in a comment.
std::string derived(const Side& side) {
  std::vector<std::string> columns;
  for (size_t i = 0; i < side.keys.size(); ++i)
    columns.push_back(side.keys[i] + " AS k" + number(i));
  for (size_t i = 0; i < side.columns.size(); ++i) {
    columns.push_back(side.columns[i] + " AS c" + number(i));
  }
  columns.push_back(side.mark + " AS m");
  std::string out = "(SELECT " + joined(columns, ", ") + " FROM " + side.from;
  if (!side.where.empty()) out += " WHERE (\n" + side.where + "\n)";
  return out + ") AS r";
}

std::string key_texts(const Side& side) {
  std::vector<std::string> out;
  for (size_t i = 0; i < side.keys.size(); ++i) out.push_back("r.k" + number(i) + "::text");
  return joined(out, ", ");
}

// (r.k1, r.k0): in the order of the index, so that it is walked.
std::string ordered_keys(const Side& side) {
  std::vector<std::string> out;
  for (const size_t i : side.order) out.push_back("r.k" + number(i));
  return joined(out, ", ");
}

std::string bound(const Side& side, size_t parameter) {
  std::vector<std::string> out;
  for (const size_t i : side.order) {
    out.push_back("($" + number(parameter) + "::text[])[" + number(i + 1) + "]::" + side.types[i]);
  }
  return joined(out, ", ");
}

// " WHERE …", with its parameters added.
std::string in_range(const Side& side, const Range& range, Query& query) {
  std::string out;
  const auto add = [&](const Key& key, const char* compares) {
    query.parameters.push_back(array_text(key));
    out += (out.empty() ? " WHERE (" : " AND (") + ordered_keys(side) + ") " + compares + " (" +
           bound(side, query.parameters.size()) + ")";
  };
  if (range.after) add(*range.after, ">");
  if (range.until) add(*range.until, "<=");
  return out;
}

uint64_t to_number(const std::optional<std::string>& text) {
  uint64_t out = 0;
  if (text) std::from_chars(text->data(), text->data() + text->size(), out);
  return out;
}

Key key_of(const std::vector<std::optional<std::string>>& values, size_t count) {
  Key key;
  for (size_t i = 0; i < count; ++i) key.push_back(values[i].value_or(""));
  return key;
}

}  // namespace

const TableShape::Column* TableShape::find(std::string_view column) const {
  for (const Column& one : columns) {
    if (one.name == column) return &one;
  }
  return nullptr;
}

std::string array_text(std::span<const std::string> values) {
  std::string out = "{";
  for (const std::string& value : values) {
    out += out.size() > 1 ? ",\"" : "\"";
    for (const char c : value) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  return out + "}";
}

// An umlaut has other bytes in another encoding.
Query probe_query() {
  return {
      "SELECT hashtextextended('millrace ' || chr(252) COLLATE \"C\", 0)::text || "
      "current_setting('server_encoding')",
      {}};
}

std::string SqlReader::hash(const std::string& text) const {
  if (hash_ == Hash::plain) return "hashtextextended(" + text + " COLLATE \"C\", 0)";
  return "('x' || left(md5(convert_to(" + text + ", 'UTF8')), 16))::bit(64)::bigint";
}

std::string SqlReader::row_hash(const Side& side) const {
  std::vector<std::string> columns;
  for (size_t i = 0; i < side.columns.size(); ++i) columns.push_back("r.c" + number(i));
  return hash("ROW(" + joined(columns, ", ") + ")::text");
}

Status SqlReader::probe(size_t table) {
  const Side& side = sides_[table];
  Query query{"SELECT " + row_hash(side) + ", r.m FROM " + derived(side) + " LIMIT 0", {}};
  TRY(runner_.run("look at the table", query));
  return {};
}

Result<std::optional<Key>> SqlReader::boundary(size_t table, const Range& range, uint64_t rows) {
  const Side& side = sides_[table];
  Query query;
  const std::string where = in_range(side, range, query);
  query.sql = "SELECT " + key_texts(side) + " FROM " + derived(side) + where + " ORDER BY " +
              ordered_keys(side) + " OFFSET " + std::to_string(rows - 1) + " LIMIT 1";
  TRY_ASSIGN(const Grid grid, runner_.run("find where a chunk ends", query));
  if (grid.empty()) return std::nullopt;
  return key_of(grid.front(), side.keys.size());
}

Result<uint64_t> SqlReader::count(size_t table, const Range& range) {
  const Side& side = sides_[table];
  Query query;
  const std::string where = in_range(side, range, query);
  query.sql = "SELECT count(*) FROM " + derived(side) + where;
  TRY_ASSIGN(const Grid grid, runner_.run("count rows", query));
  return to_number(grid[0][0]);
}

Result<Sum> SqlReader::sum(size_t table, const Range& range, const std::string& floor) {
  const Side& side = sides_[table];
  Query query;
  const std::string where = in_range(side, range, query);
  std::string changing = "0";
  if (!floor.empty()) {
    query.parameters.push_back(floor);
    changing = "count(*) FILTER (WHERE r.m COLLATE \"C\" >= $" + number(query.parameters.size()) +
               "::text)";
  }
  query.sql = "SELECT count(*), coalesce(sum(" + row_hash(side) + "), 0)::text, " + changing +
              " FROM " + derived(side) + where;
  TRY_ASSIGN(const Grid grid, runner_.run("sum a chunk", query));
  return Sum{to_number(grid[0][0]), grid[0][1].value_or(""), to_number(grid[0][2]), ""};
}

Result<Sum> SqlReader::whole(size_t table) {
  const Side& side = sides_[table];
  const Query query{"SELECT count(*), coalesce(sum(" + row_hash(side) + "), 0)::text, " +
                        "coalesce(sum(" + hash("r.m") + "), 0)::text FROM " + derived(side),
                    {}};
  TRY_ASSIGN(const Grid grid, runner_.run("sum a table", query));
  return Sum{to_number(grid[0][0]), grid[0][1].value_or(""), 0, grid[0][2].value_or("")};
}

Result<std::vector<Digest>> SqlReader::digests(size_t table, const Range& range) {
  const Side& side = sides_[table];
  Query query;
  const std::string where = in_range(side, range, query);
  query.sql =
      "SELECT " + key_texts(side) + ", " + row_hash(side) + ", r.m FROM " + derived(side) + where;
  TRY_ASSIGN(const Grid grid, runner_.run("read a chunk's rows", query));
  const size_t keys = side.keys.size();
  std::vector<Digest> out;
  out.reserve(grid.size());
  for (const auto& values : grid) {
    out.push_back({key_of(values, keys), values[keys].value_or(""), values[keys + 1].value_or("")});
  }
  return out;
}

// The keys come in one array, one after the other.
Result<std::vector<std::optional<Row>>> SqlReader::rows(size_t table, std::span<const Key> keys,
                                                        bool values) {
  const Side& side = sides_[table];
  std::vector<std::string> flat;
  for (const Key& key : keys) flat.insert(flat.end(), key.begin(), key.end());
  std::vector<std::string> matches, columns;
  for (const size_t i : side.order) {
    matches.push_back("r.k" + number(i) + " = ($1::text[])[e.n * " + number(side.keys.size()) +
                      " + " + number(i + 1) + "]::" + side.types[i]);
  }
  for (size_t i = 0; i < side.columns.size(); ++i) columns.push_back(hash("r.c" + number(i)));
  for (size_t i = 0; values && i < side.columns.size(); ++i) {
    columns.push_back("left(r.c" + number(i) + ", " + number(kValueCharacters) + ")");
  }
  const Query query{"SELECT e.n, r.m, " + joined(columns, ", ") + " FROM generate_series(0, " +
                        std::to_string(keys.size()) + " - 1) AS e(n) JOIN " + derived(side) +
                        " ON " + joined(matches, " AND "),
                    {array_text(flat)}};
  TRY_ASSIGN(const Grid grid, runner_.run("read rows by their keys", query));
  std::vector<std::optional<Row>> out(keys.size());
  for (const auto& found : grid) {
    const auto half = found.begin() + 2 + static_cast<std::ptrdiff_t>(side.columns.size());
    out[to_number(found[0])] =
        Row{{found.begin() + 2, half}, {half, found.end()}, found[1].value_or("")};
  }
  return out;
}

}  // namespace millrace::compare
