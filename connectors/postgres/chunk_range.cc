#include "connectors/postgres/chunk_range.h"

#include <algorithm>
#include <memory_resource>
#include <unordered_set>

#include "relay/event/copy_binary.h"
#include "relay/event/copy_text.h"

namespace millrace::postgres {
namespace {

// More are rather looked up by key.
constexpr uint64_t kTombstonesMax = 10'000;

// Parts of a key, which hold no NUL, one behind the other.
void append_part(std::string& key, std::string_view part) {
  key.append(part);
  key.push_back('\0');
}

// The fields at `places`, which rise, of a line of COPY's text.
void read_key(std::string_view line, const std::vector<size_t>& places, std::string& key) {
  key.clear();
  size_t field = 0;
  for (const size_t place : places) {
    for (; field < place; ++field) line.remove_prefix(std::min(line.find('\t') + 1, line.size()));
    const std::string_view text = line.substr(0, line.find('\t'));
    if (text.find('\\') == std::string_view::npos) {
      append_part(key, text);
      continue;
    }
    std::pmr::monotonic_buffer_resource arena;
    std::vector<Value> values;
    read_copy_line(text, arena, values);
    append_part(key, values.front().text);
  }
}

void read_binary_key(const TableSchema& table, std::string_view tuple,
                     const std::vector<size_t>& places, std::string& key) {
  key.clear();
  for (const size_t place : places) {
    const auto field = copy_field(tuple, place).value_or(std::string_view());
    append_part(key, text_of_binary(table.columns[place].type_oid, field));
  }
}

}  // namespace

Result<std::optional<std::vector<bool>>> taken_in_range(Connection& connection,
                                                        const RangeLook& look,
                                                        const sink::Chunk& chunk,
                                                        const Version& version) {
  const size_t width = look.places.size();
  if (width == 0 || !chunk.first_key || chunk.first_key->size() != width || !chunk.last_key ||
      chunk.last_key->size() != width) {
    return std::nullopt;
  }
  std::vector<std::string> texts = *chunk.first_key;
  texts.insert(texts.end(), chunk.last_key->begin(), chunk.last_key->end());
  texts.push_back("\\x" + to_hex(version));
  texts.push_back(std::to_string(chunk.rows + 1));
  texts.push_back(std::to_string(kTombstonesMax + 1));
  std::vector<const char*> params;
  params.reserve(texts.size());
  for (const std::string& text : texts) params.push_back(text.c_str());
  const Reply reply = connection.run_prepared(look.sql, params);
  if (!reply.ok()) return fail(to_error(connection, reply, "looking for rows that stand"));
  std::vector<bool> taken;
  if (reply.rows() == 0) return taken;
  std::unordered_set<std::string> keys;
  uint64_t stand = 0;
  std::string key;
  for (int row = 0; row < reply.rows(); ++row) {
    stand += reply.text(row, 0) == "t" ? 1 : 0;
    key.clear();
    for (size_t i = 0; i < width; ++i) append_part(key, reply.text(row, static_cast<int>(i) + 1));
    keys.insert(key);
  }
  const uint64_t dead = static_cast<uint64_t>(reply.rows()) - stand;
  if (stand > chunk.rows || dead > kTombstonesMax) return std::nullopt;
  taken.resize(chunk.rows);
  size_t number = 0;
  for (std::string_view rest = chunk.copy; !rest.empty() && number < taken.size(); ++number) {
    if (chunk.binary) {
      read_binary_key(*chunk.table, take_copy_tuple(rest).value_or(std::string_view()), look.places,
                      key);
    } else {
      read_key(take_copy_line(rest), look.places, key);
    }
    taken[number] = keys.contains(key);
  }
  return taken;
}

}  // namespace millrace::postgres
