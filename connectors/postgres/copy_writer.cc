#include "connectors/postgres/copy_writer.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "connectors/postgres/rows_sql.h"

namespace millrace::postgres {
namespace {

constexpr uint64_t kOnes = 0x0101010101010101ULL;
constexpr uint64_t kHighs = kOnes << 7;

// Sets the high bit of bytes below `limit` (at most 128); others' may be set too, above a true one.
constexpr uint64_t below(uint64_t word, uint8_t limit) {
  return (word - kOnes * limit) & ~word & kHighs;
}

// What COPY reads as something else: \ and the control characters up to CR, NUL among them.
bool is_special(char c) { return c == '\\' || (static_cast<uint8_t>(c) <= '\r'); }

bool has_special(std::string_view value) {
  while (value.size() >= sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, value.data(), sizeof word);
    if ((below(word, '\r' + 1) | below(word ^ (kOnes * '\\'), 1)) != 0) return true;
    value.remove_prefix(sizeof word);
  }
  return std::any_of(value.begin(), value.end(), is_special);
}

// False for a NUL byte.
bool append_escaped(std::string& text, std::string_view value) {
  for (const char c : value) {
    switch (c) {
      case '\0':
        return false;
      case '\\':
        text.append("\\\\");
        break;
      case '\t':
        text.append("\\t");
        break;
      case '\n':
        text.append("\\n");
        break;
      case '\r':
        text.append("\\r");
        break;
      default:
        text.push_back(c);
    }
  }
  return true;
}

}  // namespace

std::string copy_sql(const std::string& table, const std::vector<std::string>& columns) {
  return "COPY " + table + " (" + join(columns, ", ") + ") FROM STDIN";
}

Reply CopyWriter::begin(const std::string& sql) {
  text_.clear();
  first_ = true;
  return connection_.copy_begin(sql);
}

void CopyWriter::separate() {
  if (!first_) text_.push_back('\t');
  first_ = false;
}

void CopyWriter::add_null() {
  separate();
  text_.append("\\N");
}

bool CopyWriter::add(std::string_view value) {
  separate();
  if (has_special(value)) return append_escaped(text_, value);
  text_.append(value);
  return true;
}

void CopyWriter::add(const Version& version) {
  separate();
  constexpr const char* kDigits = "0123456789abcdef";
  std::array<char, 3 + 2 * sizeof(version.bytes)> out = {'\\', '\\', 'x'};
  size_t at = 3;
  for (const uint8_t byte : version.bytes) {
    out[at++] = kDigits[byte >> 4];
    out[at++] = kDigits[byte & 15];
  }
  text_.append(out.data(), out.size());
}

bool CopyWriter::end_row() {
  text_.push_back('\n');
  first_ = true;
  return text_.size() < kPieceBytes || send();
}

bool CopyWriter::send() {
  const bool sent = connection_.copy_put(text_);
  // A row of many megabytes does not keep its room.
  if (text_.capacity() > 16 * kPieceBytes) text_ = {};
  text_.clear();
  return sent;
}

Reply CopyWriter::finish() {
  if (!text_.empty()) send();
  return connection_.copy_end(nullptr);
}

Reply CopyWriter::abandon() {
  text_.clear();
  return connection_.copy_end("given up by the client");
}

}  // namespace millrace::postgres
